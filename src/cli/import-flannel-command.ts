import type { Command, CommandContext } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import { formatConfig } from '#src/cli/import-flannel/format-config.ts';
import { type ImportedFlannel, importFlannel } from '#src/cli/import-flannel/import-flannel.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatUsage, type OptionsOf, optionsOf, variableOf } from '#src/lib/go-flags.ts';
import { escapeControls } from '#src/lib/go-values.ts';
import { ENVIRONMENT_PREFIX } from '#src/node/flanneld-flags.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';

const FLAGS = {
  output: {
    kind: 'string',
    default: '',
    description: 'write the config to this `file`, with mode 0600, and not to standard output',
  },
  force: { kind: 'bool', default: false, description: 'replace that file if it is there' },
  json: {
    kind: 'bool',
    default: false,
    description: 'print settings and notes as JSON, without secrets, and not the config',
  },
  unit: {
    kind: 'string',
    default: '',
    description: 'the `unit` to convert, where several start flannel',
  },
} as const;

const HELP = `Usage: weft import-flannel [flags]
  Reads the flannel that is installed on this host, and prints its settings as /etc/weft/flanneld.conf. What can not be taken
  over, and what to do before weft takes flannel's place, goes to standard error. Exits 3 where there is no flannel.
  weft import-flannel --output=/etc/weft/flanneld.conf
`;

/** There is no flannel to convert. */
const EXIT_NONE = 3;

async function run(words: readonly string[], { output }: CommandContext): Promise<number> {
  const parsed = parseWords(FLAGS, words);
  if (parsed.outcome === 'help') {
    output.complain(HELP + formatUsage(FLAGS));
    return 0;
  }
  if (parsed.outcome === 'invalid') throw new WeftError('usage', parsed.message, { exitCode: 2 });
  const [stray] = parsed.rest;
  if (stray !== undefined) throw new WeftError('usage', `it takes no words, not "${stray}"`, { exitCode: 2 });
  const options = optionsOf(FLAGS, parsed.given);
  const found = await importFlannel(
    { files: systemFiles, folders: systemFolders },
    options.unit === '' ? undefined : options.unit,
  );
  if (found === undefined) {
    output.complain(
      'weft import-flannel: there is no flannel on this host: no unit starts flanneld, and no package of it has left its settings',
    );
    return EXIT_NONE;
  }
  const complain = (line: string): void => output.complain(escapeControls(line));
  complain(`flannel of ${found.name}: ${found.settings.length} settings`);
  for (const line of [...found.choices, ...found.notes]) complain(`  ${line}`);
  for (const line of found.before) complain(`  before: ${line}`);
  for (const line of found.docker) complain(`  docker: ${line}`);
  if (options.output !== '') await write(formatConfig(found), options);
  if (options.json) output.print(JSON.stringify(jsonOf(found), undefined, 2));
  else if (options.output === '') output.print(formatConfig(found).trimEnd());
  return 0;
}

async function write(text: string, { output, force }: OptionsOf<typeof FLAGS>): Promise<void> {
  try {
    if (!force && (await systemFiles.read(output)) !== undefined)
      throw new WeftError('import-exists', `${output} is there already`, {
        remedy: 'compare it with what is printed without --output, or replace it with --force',
      });
    await systemFiles.writeAtomically(output, text, 0o600);
  } catch (cause) {
    if (cause instanceof WeftError) throw cause;
    throw new WeftError('import-write', `could not write ${output}: ${messageOf(cause)}`, {
      remedy: 'name another file with --output',
      cause,
    });
  }
}

const jsonOf = ({ name, files, settings, choices, notes, before, docker }: ImportedFlannel) => ({
  name,
  files,
  settings: settings.map(({ flag, values, source, isSecret }) => ({
    variable: variableOf(ENVIRONMENT_PREFIX, flag),
    values: isSecret ? ['***'] : values.map(hideUserInfo),
    source,
  })),
  choices,
  notes,
  before,
  docker,
});

const hideUserInfo = (url: string): string => url.replaceAll(/\/\/[^/,]*@/g, '//***@');

export const IMPORT_FLANNEL: Command = { shape: { flags: FLAGS }, run };
