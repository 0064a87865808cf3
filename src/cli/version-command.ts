import type { Command, CommandContext } from '#src/cli/command.ts';
import { FLANNEL, FORMATS, formatVersion, readRunning } from '#src/cli/version-facts.ts';
import { BUILD } from '#src/lib/build.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type FlagTable, formatUsage, optionsOf, parseFlags } from '#src/lib/go-flags.ts';
import { VERSION } from '#src/lib/version.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { readInstalled, readRuntime } from '#src/sys/runtime.ts';

const FLAGS = {
  'state-dir': FLANNELD_FLAGS['state-dir'],
  json: { kind: 'bool', default: false, environment: false, description: 'print JSON' },
} as const satisfies FlagTable;

/** `weft version`: 0, also where another version of flanneld runs: `weft self-check` finds that wrong. */
export const VERSION_COMMAND: Command = { shape: { flags: FLAGS }, run: versionCommand };

async function versionCommand(
  words: readonly string[],
  { output }: Pick<CommandContext, 'output'>,
): Promise<number> {
  const parsed = parseFlags(FLAGS, words);
  if (parsed.outcome === 'invalid') throw new WeftError('usage', parsed.message, { exitCode: 2 });
  if (parsed.outcome === 'help') {
    output.complain(
      [
        'Usage: weft version [flags]',
        '  What is installed here: version, commit, what it runs on, the formats that it reads and writes. It also says',
        '  when the flanneld of this host runs in another version, as it does after an upgrade without a restart.',
        formatUsage(FLAGS),
      ].join('\n'),
    );
    return 0;
  }
  if (parsed.rest.length > 0)
    throw new WeftError('usage', `it takes no words, not "${parsed.rest[0]}"`, { exitCode: 2 });
  const { stateDir, json } = optionsOf(FLAGS, parsed.given);
  const facts = {
    ...(BUILD ?? { version: VERSION }),
    installed: readInstalled(),
    runtime: await readRuntime(),
    formats: FORMATS,
    flannel: FLANNEL,
    running: await readRunning({ folders: systemFolders }, { stateDir, version: VERSION }),
  };
  if (json) output.print(JSON.stringify(facts, undefined, 2));
  else for (const line of formatVersion(facts)) output.print(line);
  return 0;
}
