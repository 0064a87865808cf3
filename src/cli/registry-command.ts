import { askRegistry } from '#src/cli/ask-registry.ts';
import type { Command, CommandContext, Subcommand } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import { addRunningFlags } from '#src/cli/running-flags.ts';
import { WeftError } from '#src/lib/errors.ts';
import {
  addEnvironment,
  type Flag,
  type FlagTable,
  formatUsage,
  type OptionsOf,
  optionsOf,
} from '#src/lib/go-flags.ts';
import type { Logger } from '#src/lib/log.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import type { Networks } from '#src/registry/networks.ts';
import { openNetworks } from '#src/registry/open-networks.ts';
import { openRecordFolders } from '#src/registry/open-record-folders.ts';
import type { OpenRegistryComponents, OpenRegistryOptions } from '#src/registry/open-registry.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemProcessList } from '#src/sys/process-list.ts';
import { systemRandom } from '#src/sys/random.ts';

export type RegistryCommandContext = Pick<CommandContext, 'output' | 'screen' | 'environment' | 'signal'>;

/** Commands that work on the registry alone, whatever runs on this host. */
export interface RegistryCommands<Flags extends Readonly<Record<string, Flag>>> {
  /** `weft network` */
  readonly title: string;
  /** What its subcommands are about. */
  readonly about: string;
  readonly subcommands: Readonly<Record<string, Subcommand>>;
  readonly flags: Flags;
  readonly run: (
    call: RegistryCall<OptionsOf<Flags>>,
    context: RegistryCommandContext,
  ) => Promise<number> | undefined;
}

export interface RegistryCall<Options> {
  readonly command: string;
  /** Those behind the command that are no flags. */
  readonly words: readonly string[];
  readonly options: Options & FlanneldOptions;
}

/** The flags that name the registry: those of flanneld. */
const ETCD_FLAGS = Object.fromEntries(
  Object.entries(FLANNELD_FLAGS).filter(([name]) => name.startsWith('etcd-')),
) satisfies FlagTable;

export const registryCommand = <const Flags extends Readonly<Record<string, Flag>>>(
  commands: RegistryCommands<Flags>,
): Command => ({
  shape: { flags: { ...ETCD_FLAGS, ...commands.flags }, subcommands: commands.subcommands },
  run: (words, context) => runRegistryCommand(commands, words, context),
});

/**
 * Runs one of the commands: the exit code. All of flanneld's flags are accepted, so that a command takes the daemon's command
 * line; those about the registry count.
 */
async function runRegistryCommand<const Flags extends Readonly<Record<string, Flag>>>(
  { title, about, subcommands, flags, run }: RegistryCommands<Flags>,
  words: readonly string[],
  context: RegistryCommandContext,
): Promise<number> {
  const { output, environment } = context;
  const [command = '', ...rest] = words;
  const help = `${usageOf(title, about, subcommands)}\n${formatUsage({ ...ETCD_FLAGS, ...flags })}`;
  if (command === '' || /^--?h(elp)?$/.test(command)) {
    output.complain(help);
    return command === '' ? 2 : 0;
  }
  const table = { ...FLANNELD_FLAGS, ...flags };
  const parsed = parseWords(table, rest);
  if (parsed.outcome !== 'parsed') {
    output.complain(parsed.outcome === 'help' ? help : `${title} ${command}: ${parsed.message}`);
    return parsed.outcome === 'help' ? 0 : 2;
  }
  const typed = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const given = await addRunningFlags({ processes: systemProcessList, files: systemFiles }, typed.given);
  const options = optionsOf(table, given) as OptionsOf<Flags> & FlanneldOptions;
  const code = run({ command, words: parsed.rest, options }, context);
  if (code !== undefined) return code;
  const hint = didYouMean(command, Object.keys(subcommands), `"${title} --help" lists them`);
  output.complain(`${title}: there is no command ${command}; ${hint}`);
  return 2;
}

const TAKES_WIDTH = 20;

const usageOf = (title: string, about: string, subcommands: Readonly<Record<string, Subcommand>>): string =>
  [
    `${title} COMMAND [flags]: ${about}`,
    ...Object.entries(subcommands).map(
      ([name, { takes = '', about }]) => `  ${`${name} ${takes}`.padEnd(TAKES_WIDTH)}  ${about}`,
    ),
  ].join('\n');

/** The words that a command needs, and no more. Throws WeftError `usage`. */
export function takeWords(words: readonly string[], count: number, usage: string): readonly string[] {
  if (words.length === count) return words;
  throw new WeftError('usage', `"${usage}" takes ${count} words, not ${words.length}`);
}

/** Works with flannel's networks below the prefix. */
export const withNetworks = <T>(
  options: FlanneldOptions,
  context: Pick<RegistryCommandContext, 'signal'>,
  use: (networks: Networks, signal: AbortSignal) => Promise<T>,
): Promise<T> => withOpened(options, context, openNetworks, use);

/** Works with the records of tenants below the prefix. */
export const withFolders = <T>(
  options: FlanneldOptions,
  context: Pick<RegistryCommandContext, 'signal'>,
  use: (folders: RecordFolders, signal: AbortSignal) => Promise<T>,
): Promise<T> => withOpened(options, context, openRecordFolders, use);

function withOpened<O extends { close(): Promise<void> }, T>(
  options: FlanneldOptions,
  { signal }: Pick<RegistryCommandContext, 'signal'>,
  open: (
    components: OpenRegistryComponents & { readonly logger: Logger },
    options: OpenRegistryOptions,
    signal: AbortSignal,
  ) => Promise<O>,
  use: (opened: O, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return askRegistry({ signal, failure: 'no answer from the registry' }, async (logger, ended) => {
    const components = { clock: systemClock, files: systemFiles, random: systemRandom, logger };
    const opened = await open(components, registryOptions(options), ended);
    try {
      return await use(opened, ended);
    } finally {
      await opened.close();
    }
  });
}
