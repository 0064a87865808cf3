import type { AskApi, NetworksRequest } from '#src/cli/ask-networks.ts';
import type { Command, CommandContext } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import { type WatchComponents, watchScreen } from '#src/cli/watch-screen.ts';
import { WeftError } from '#src/lib/errors.ts';
import {
  addEnvironment,
  type Flag,
  type FlagTable,
  type FlagValue,
  formatUsage,
  type OptionsOf,
  optionsOf,
} from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import type { HostEvent } from '#src/observe/api.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { type Folders, systemFolders } from '#src/sys/folders.ts';
import { systemProcessList } from '#src/sys/process-list.ts';

/** A command that shows what this host knows, and changes nothing. */
export interface LookCommand<Flags extends FlagTable> {
  readonly name: string;
  /** The words that it takes, as `[WORD…]`; empty for none. */
  readonly takes: string;
  /** Lines of its help, after the first: what its words and its columns mean. */
  readonly help: readonly string[];
  /** Words that may stand for {@link takes}, for completion. */
  readonly words?: readonly string[];
  readonly flags: Flags;
  /** Those of flanneld's flags that matter to it, beside the places of the daemon. */
  readonly nodeFlags?: FlagTable;
  /** It takes what is not given from the flanneld that runs on this host. */
  readonly asRunning?: true;
  run(call: LookCall<OptionsOf<Flags>>, context: LookContext): Promise<number>;
}

export interface LookCall<Options> extends NetworksRequest {
  readonly options: Options & FlanneldOptions & OptionsOf<typeof LOOK_FLAGS>;
  readonly words: readonly string[];
}

export interface LookContext extends Pick<CommandContext, 'output' | 'screen' | 'signal'> {
  readonly ask: AskApi;
  readonly follow: FollowEvents;
  readonly clock: Clock;
  readonly folders: Pick<Folders, 'list'>;
}

/** Follows a daemon's events; see observe/api-client.ts. */
export type FollowEvents = (
  socket: string,
  options: { readonly after?: number },
  signal: AbortSignal,
) => AsyncIterable<HostEvent>;

/** What all of them take. */
export const LOOK_FLAGS = {
  json: {
    kind: 'bool',
    default: false,
    environment: false,
    description:
      "print JSON: the local API's answer, or a list of them where the daemon serves several networks",
  },
  network: {
    kind: 'string',
    default: '',
    environment: false,
    description: 'the `name` of one network, where the daemon serves several',
  },
} as const satisfies Readonly<Record<string, Flag>>;

export const WATCH_FLAG = {
  watch: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'again each second until Ctrl-C; in a pipe, each time when something changed',
  },
} as const satisfies FlagTable;

/** Where the daemon keeps its socket. */
const PLACE_FLAGS = {
  'etcd-prefix': FLANNELD_FLAGS['etcd-prefix'],
  'state-dir': FLANNELD_FLAGS['state-dir'],
} as const satisfies FlagTable;

/** All of flanneld's flags are accepted, so that a command takes the daemon's command line. */
export function lookCommand<const Flags extends FlagTable>(look: LookCommand<Flags>): Command {
  const shown = { ...PLACE_FLAGS, ...LOOK_FLAGS, ...look.nodeFlags, ...look.flags };
  const table = { ...FLANNELD_FLAGS, ...LOOK_FLAGS, ...look.flags };
  return {
    shape: { flags: shown, ...(look.words !== undefined && { words: look.words }) },
    async run(words, context) {
      const { output, environment } = context;
      const parsed = parseWords(table, words);
      if (parsed.outcome !== 'parsed') {
        const isHelp = parsed.outcome === 'help';
        const usage = `Usage: weft ${look.name} [flags] ${look.takes}`.trimEnd();
        output.complain(
          isHelp
            ? [usage, ...look.help, formatUsage(shown)].join('\n')
            : `weft ${look.name}: ${parsed.message}`,
        );
        return isHelp ? 0 : 2;
      }
      if (look.takes === '' && parsed.rest.length > 0)
        throw new WeftError('usage', `it takes no words, not "${parsed.rest[0]}"`, { exitCode: 2 });
      const { given } = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
      const all = look.asRunning ? await withRunning(given) : given;
      const options = optionsOf(table, all) as LookCall<OptionsOf<Flags>>['options'];
      const isNamed = options.network !== '' || given.has('etcd-prefix');
      const call = { options, words: parsed.rest, id: isNamed ? idOf(options) : undefined };
      return look.run(call, await systemLookContext(context));
    },
  };
}

async function withRunning(given: ReadonlyMap<string, FlagValue>): Promise<ReadonlyMap<string, FlagValue>> {
  const { addRunningFlags } = await import('#src/cli/running-flags.ts');
  return addRunningFlags({ processes: systemProcessList, files: systemFiles }, given);
}

const idOf = ({
  etcdPrefix,
  network,
}: Pick<FlanneldOptions, 'etcdPrefix'> & { readonly network: string }): NetworkId =>
  network === '' ? { prefix: etcdPrefix } : namedNetwork(etcdPrefix, network);

async function systemLookContext({ output, screen, signal }: CommandContext): Promise<LookContext> {
  const { askApi, followEvents } = await import('#src/observe/api-client.ts');
  return {
    output,
    screen,
    signal,
    ask: askApi,
    follow: followEvents,
    clock: systemClock,
    folders: systemFolders,
  };
}

/** What a command shows, in both forms. */
export interface Shown<T> {
  /** The command, as `weft peers`. */
  readonly title: string;
  ask(): Promise<T>;
  lines(value: T): readonly string[];
  json(value: T): unknown;
  /** See `Watched.essence`. */
  essence(value: T): unknown;
}

/** Shows it once, or with `watch` until the command is ended. Returns what was shown last. */
export async function show<T>(
  shown: Shown<T>,
  { json, watch }: { readonly json: boolean; readonly watch: boolean },
  context: WatchComponents & { readonly signal: AbortSignal },
): Promise<T | undefined> {
  const { output, signal, screen } = context;
  if (!watch) {
    const value = await shown.ask();
    if (json) output.print(JSON.stringify(shown.json(value), undefined, 2));
    else for (const line of shown.lines(value)) output.print(line);
    return value;
  }
  // One value a line, for programs that read line by line.
  const lines = json ? (value: T) => [JSON.stringify(shown.json(value))] : shown.lines;
  const place = json ? { ...screen, isTerminal: false } : screen;
  await watchScreen({ ...shown, lines }, { ...context, screen: place }, signal);
  return undefined;
}
