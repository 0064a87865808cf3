import type { Command, CommandContext, Subcommand } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import { type Cell, formatTable } from '#src/cli/format-table.ts';
import { addInstalledFlags } from '#src/cli/installed-flags.ts';
import { takeWords } from '#src/cli/registry-command.ts';
import { WeftError } from '#src/lib/errors.ts';
import { addEnvironment, type Flag, formatUsage, type OptionsOf, optionsOf } from '#src/lib/go-flags.ts';
import type { Logger } from '#src/lib/log.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
import type { KnownKey, KnownKeys } from '#src/network/known-keys.ts';
import { networkOf } from '#src/network/signed-lease.ts';
import { shownSubnet } from '#src/network/trust-policy.ts';
import { trustLines } from '#src/network/trusted-keys.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { KnownKeysFile } from '#src/node/known-keys-file.ts';
import { artefactsOf, namedNetwork } from '#src/node/network-id.ts';
import { readNodeKey } from '#src/node/node-key.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';
import { until } from '#src/sys/until.ts';

const COMMAND_FLAGS = {
  network: {
    kind: 'string',
    default: '',
    environment: false,
    description: 'the `name` of one network, where the daemon serves several',
  },
  json: { kind: 'bool', default: false, environment: false, description: 'print JSON (show)' },
} as const satisfies Readonly<Record<string, Flag>>;
/** As other commands about this host, it takes the daemon's command line. */
const FLAGS = { ...FLANNELD_FLAGS, ...COMMAND_FLAGS };
/** Those that matter to it. */
const SHOWN_FLAGS = {
  ...COMMAND_FLAGS,
  'etcd-prefix': FLANNELD_FLAGS['etcd-prefix'],
  'state-dir': FLANNELD_FLAGS['state-dir'],
  'trust-file': FLANNELD_FLAGS['trust-file'],
};

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  show: { about: "this host's key, and the keys that hold subnets, as this host knows them" },
  key: {
    about: "this host's key alone; a host that has none gets one, and signs its leases from its next start",
  },
  forget: {
    takes: 'SUBNET|KEY',
    about: 'let another key have a subnet: of a host that is gone, or got a new key',
  },
  allow: {
    takes: 'KEY SUBNET|any',
    about: 'add a line to the file of --trust-file: this key may hold this subnet',
  },
};

const USAGE = [
  'weft trust COMMAND [flags]: whose leases this host uses, see --trust of flanneld',
  ...Object.entries(SUBCOMMANDS).map(
    ([name, { takes = '', about }]) => `  ${`${name} ${takes}`.padEnd(20)} ${about}`,
  ),
].join('\n');

interface Call {
  readonly options: OptionsOf<typeof FLAGS>;
  readonly words: readonly string[];
  readonly files: Files;
  readonly output: CommandContext['output'];
  readonly width: number;
  readonly signal: AbortSignal;
}

type Context = Pick<CommandContext, 'output' | 'screen' | 'environment' | 'signal'>;

export const TRUST: Command = { shape: { flags: SHOWN_FLAGS, subcommands: SUBCOMMANDS }, run: trustCommand };

/** `weft trust WORDS`: the exit code. */
async function trustCommand(words: readonly string[], context: Context): Promise<number> {
  const { output, environment, signal, screen } = context;
  const parsed = parseWords(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    output.complain(
      parsed.outcome === 'help' ? `${USAGE}\n${formatUsage(SHOWN_FLAGS)}` : `weft trust: ${parsed.message}`,
    );
    return parsed.outcome === 'help' ? 0 : 2;
  }
  const typed = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = optionsOf(FLAGS, await addInstalledFlags(systemFiles, typed.given));
  const [name = '', ...rest] = parsed.rest;
  const run = Object.hasOwn(RUN, name) ? RUN[name] : undefined;
  if (run === undefined) {
    const hint = didYouMean(name, Object.keys(SUBCOMMANDS), '"weft trust --help" lists them');
    output.complain(name === '' ? USAGE : `weft trust: there is no command ${name}; ${hint}`);
    return 2;
  }
  const { width } = screen;
  return run({ options, words: rest, files: systemFiles, output, width, signal });
}

const RUN: Readonly<Record<string, (call: Call) => Promise<number>>> = {
  async show(call) {
    takeWords(call.words, 0, 'weft trust show');
    const { options, files, output, width } = call;
    const key = await keyOf(call, false);
    const known = [...(await knownFile(call).read()).all()].sort((a, b) => compare(a.name, b.name));
    const text = await files.read(options.trustFile);
    const trusted = text === undefined ? [] : trustLines(text, options.trustFile);
    if (options.json) {
      const keys = known.map(({ key: of, name, goneAt }) => ({
        key: of,
        lease: name,
        ...(goneAt && { goneAt }),
      }));
      output.print(JSON.stringify({ ...(key !== undefined && { key }), known: keys }, undefined, 2));
      return 0;
    }
    output.print(
      `own key     ${key ?? 'none: "weft trust key" makes one, and so does flanneld --trust=first-use'}`,
    );
    output.print(`known keys  ${known.length} of the network ${idOf(call).prefix}`);
    const rows: Cell[][] = known.map((it) => [shownSubnet(it.name), it.key, stateOf(it)]);
    if (rows.length > 0)
      for (const line of formatTable([['SUBNET', 'KEY', 'LEASE'], ...rows], { width }))
        output.print(`  ${line}`);
    if (text !== undefined) output.print(`trust file  ${options.trustFile}: ${trusted.length} lines`);
    return 0;
  },

  async key(call) {
    takeWords(call.words, 0, 'weft trust key');
    call.output.print((await keyOf(call, true)) ?? '');
    return 0;
  },

  async forget(call) {
    const [what = ''] = takeWords(call.words, 1, 'weft trust forget SUBNET|KEY');
    const { files, output, signal } = call;
    const file = knownFile(call);
    const known = await file.read();
    const found = find(known, what);
    const { socket, forgetFile } = artefactsOf(idOf(call), call.options);
    if ((await askNode(socket)) === undefined) {
      // Nobody else writes the file now.
      for (const { key } of found) known.forget(key);
      await file.write(known);
    } else {
      const asked = (await files.read(forgetFile)) ?? '';
      await files.writeAtomically(
        forgetFile,
        `${asked}${found.map(({ key }) => `${key}\n`).join('')}`,
        0o600,
      );
      const isTaken = async (): Promise<boolean> => (await files.read(forgetFile)) === undefined;
      await until(isTaken, { what: 'flanneld to take the file', timeoutMs: TAKEN_WITHIN_MS, signal }).catch(
        () => {
          signal.throwIfAborted();
          throw new WeftError('trust-forget', `flanneld has not taken ${forgetFile} yet`, {
            remedy: 'it does so as soon as it runs with --trust=first-use or --trust=allow-list',
          });
        },
      );
    }
    for (const { key, name } of found) output.print(`forgot the key ${key}, which held ${shownSubnet(name)}`);
    return 0;
  },

  async allow(call) {
    const words = takeWords(call.words, 2, 'weft trust allow KEY SUBNET');
    const { options, files, output } = call;
    const { trustFile } = options;
    const line = words.join(' ');
    // What is wrong by itself is refused before anything is written.
    trustLines(line, 'what was given');
    const text = (await files.read(trustFile)) ?? HEAD;
    trustLines(text, trustFile);
    const lines = text.split('\n').map((it) => it.replace(/#.*/, '').trim().split(/\s+/).join(' '));
    if (lines.includes(line)) {
      output.print(`${trustFile} has that line already`);
      return 0;
    }
    const ended = text === '' || text.endsWith('\n') ? text : `${text}\n`;
    await files.writeAtomically(trustFile, `${ended}${line}\n`);
    output.print(`added to ${trustFile}: ${line}`);
    return 0;
  },
};

const HEAD = `# Keys of hosts, and the subnets that each may hold: KEY SUBNET, or KEY any. For flanneld --trust=allow-list.
`;
/** The daemon looks each second. */
const TAKEN_WITHIN_MS = 10_000;

const idOf = ({ options: { etcdPrefix, network } }: Pick<Call, 'options'>) =>
  network === '' ? { prefix: etcdPrefix } : namedNetwork(etcdPrefix, network);

function knownFile(call: Call): KnownKeysFile {
  const id = idOf(call);
  return new KnownKeysFile(call, artefactsOf(id, call.options).knownKeysFile, networkOf(id.prefix));
}

async function keyOf({ options, files, output }: Call, makes: boolean): Promise<string | undefined> {
  const say = (text: string): void => output.complain(text);
  const log: Logger = { info: () => {}, warning: say, error: say, verbose: () => {} };
  return (await readNodeKey({ files, log }, { stateDir: options.stateDir, makes }))?.publicKey;
}

/** The keys that are meant by a subnet or by a key's beginning. */
function find(known: KnownKeys, what: string): KnownKey[] {
  const all = [...known.all()];
  const bySubnet = all.filter(({ name }) => name === what || shownSubnet(name).split(' and ').includes(what));
  const found =
    bySubnet.length > 0 || what.length < SHORTEST_KEY
      ? bySubnet
      : all.filter(({ key }) => key.startsWith(what));
  const which = found.length === 0 ? 'no key' : 'more than one key';
  if (found.length === 1) return found;
  throw new WeftError(
    'trust-forget',
    `nothing was forgotten: ${which} is known by ${JSON.stringify(what.slice(0, 60))}`,
    {
      remedy:
        '"weft trust show" lists the subnets and the keys; name a subnet, or a key by its first letters',
    },
  );
}

const SHORTEST_KEY = 4;

function stateOf({ goneAt }: KnownKey): string {
  return goneAt === undefined ? 'there' : `none since ${new Date(goneAt).toISOString()}`;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
