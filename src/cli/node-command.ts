import type { Output } from '#src/cli/terminal.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import {
  addEnvironment,
  type Flag,
  type FlagTable,
  formatUsage,
  optionsOf,
  parseFlags,
} from '#src/lib/go-flags.ts';
import { type LoggerSource, silentLogger } from '#src/lib/log.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { serviceManager } from '#src/sys/systemd-notify.ts';

export interface NodeCommandContext {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

const JSON_FLAG = {
  json: { kind: 'bool', default: false, environment: false, description: 'print JSON' },
} as const satisfies Readonly<Record<string, Flag>>;
const ALL_FLAG = {
  all: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'all networks of this host (cleanup)',
  },
} as const satisfies Readonly<Record<string, Flag>>;
/** flanneld's flags: these commands take the same description of the host as the daemon. */
const FLAGS = { ...FLANNELD_FLAGS, ...JSON_FLAG, ...ALL_FLAG };

type Options = FlanneldOptions & { readonly json: boolean; readonly all: boolean };
type Run = (options: Options, words: readonly string[], context: NodeCommandContext) => Promise<number>;

/** The commands about this host, with what `weft` says of each. */
export const NODE_COMMANDS = {
  status: 'what the flanneld on this host knows: subnet, peers, troubles',
  plan: "what a start of flanneld would change on this host, as commands; takes flanneld's flags",
  cleanup: 'remove what flanneld made on this host for one network, or with --all for every one',
  release: "give this host's lease back, or the one named: weft release 10.0.65.0/24",
} as const;
export type NodeCommandName = keyof typeof NODE_COMMANDS;

/** How long a command waits for the registry; the daemon would wait for ever. */
const PATIENCE_MS = 10_000;

/** `weft NAME WORDS`: the exit code. */
export async function nodeCommand(
  name: NodeCommandName,
  words: readonly string[],
  context: NodeCommandContext,
): Promise<number> {
  const parsed = parseFlags(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    if (parsed.outcome === 'invalid') context.output.complain(`weft ${name}: ${parsed.message}`);
    else context.output.complain(`weft ${name}: ${NODE_COMMANDS[name]}\n${formatUsage(FLAGS as FlagTable)}`);
    return parsed.outcome === 'invalid' ? 2 : 0;
  }
  const { given } = addEnvironment(FLAGS, parsed.given, ENVIRONMENT_PREFIX, context.environment);
  return RUN[name](optionsOf(FLAGS, given), parsed.rest, context);
}

const RUN: Readonly<Record<NodeCommandName, Run>> = {
  async status(options, _words, { output }) {
    const { askNode } = await import('#src/observe/local-api.ts');
    const { socketPath } = await import('#src/node/remembered.ts');
    const path = socketPath(options.stateDir, options.etcdPrefix);
    const status = await askNode(path);
    if (status === undefined || status === 'silent') {
      const what =
        status === 'silent'
          ? 'flanneld holds its socket but does not answer'
          : 'no flanneld serves this network';
      throw new WeftError('not-running', `${what} on this host (${path})`, {
        remedy:
          'look at "systemctl status flanneld"; --etcd-prefix and --state-dir must be those of the daemon',
      });
    }
    for (const line of options.json ? [JSON.stringify(status, undefined, 2)] : formatStatus(status))
      output.print(line);
    return status.ready ? 0 : 1;
  },

  async plan(options, _words, context) {
    const { planStart } = await import('#src/node/plan-start.ts');
    const components = await openHost(context);
    try {
      const { registry, commands, transactions } = await withRegistry(options, context, (opened, signal) =>
        planStart(components, options, opened, signal),
      );
      if (options.json) {
        context.output.print(JSON.stringify({ registry, commands, transactions }, undefined, 2));
        return 0;
      }
      for (const text of registry) context.output.print(`# registry: ${text}`);
      for (const command of commands) context.output.print(command);
      for (const { command, input } of transactions) {
        context.output.print(`${command.join(' ')} <<'END'\n${input.trimEnd()}\nEND`);
      }
      if (commands.length + transactions.length === 0)
        context.output.print('# nothing to change: the host is as wanted');
      return 0;
    } finally {
      components.kernel.close();
    }
  },

  async cleanup(options, _words, context) {
    const { cleanHost } = await import('#src/node/clean-host.ts');
    const components = await openHost(context);
    try {
      const done = await cleanHost(components, options, context.signal);
      for (const text of done) context.output.print(text);
      if (done.length === 0)
        context.output.print(
          options.all
            ? 'nothing to clean up'
            : 'nothing to clean up for this network; --all removes every one',
        );
      return 0;
    } finally {
      components.kernel.close();
    }
  },

  async release(options, [subnet, ...more], context) {
    if (more.length > 0) throw new WeftError('usage', `one lease at a time, not ${more.length + 1}`);
    const { releaseLease } = await import('#src/membership/release-lease.ts');
    const { readNodeIdentity } = await import('#src/node/identity.ts');
    const { systemFiles } = await import('#src/sys/files.ts');
    if (subnet === undefined) await refuseWhileRunning(options);
    const whose =
      subnet === undefined
        ? { node: await readNodeIdentity({ files: systemFiles, log: silentLogger }, options.stateDir) }
        : { subnet };
    const record = await withRegistry(options, context, ({ registry }, signal) =>
      releaseLease(registry, whose, signal),
    );
    context.output.print(`released ${record.name}: ${record.value}`);
    return 0;
  },
};

/** A flanneld whose lease is released claims it again. */
async function refuseWhileRunning({ stateDir, etcdPrefix }: FlanneldOptions): Promise<void> {
  const { askNode } = await import('#src/observe/local-api.ts');
  const { socketPath } = await import('#src/node/remembered.ts');
  if ((await askNode(socketPath(stateDir, etcdPrefix))) === undefined) return;
  throw new WeftError('running', 'flanneld runs on this host, and would claim the lease again', {
    remedy: 'stop it first: systemctl stop flanneld',
  });
}

/** Warnings and errors go to the terminal. Other log lines are dropped. */
function logSource({ output }: NodeCommandContext): LoggerSource {
  const complain = (message: string): void => output.complain(message);
  return () => ({ ...silentLogger, warning: complain, error: complain });
}

async function openHost(
  context: NodeCommandContext,
): Promise<ReturnType<typeof import('#src/node/run-agent.ts').hostComponents>> {
  const { hostComponents } = await import('#src/node/run-agent.ts');
  return hostComponents(
    logSource(context),
    serviceManager({}, () => {}),
  );
}

type Opened = import('#src/registry/open-registry.ts').OpenedRegistry;

async function withRegistry<T>(
  options: FlanneldOptions,
  context: NodeCommandContext,
  use: (opened: Opened, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { openRegistry } = await import('#src/registry/open-registry.ts');
  const { registryOptions } = await import('#src/node/registry-options.ts');
  const { systemClock } = await import('#src/sys/clock.ts');
  const { systemFiles } = await import('#src/sys/files.ts');
  const { systemRandom } = await import('#src/sys/random.ts');
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PATIENCE_MS)]);
  let last = 'it did not answer';
  const remember = (message: string): void => {
    last = message;
  };
  const log = { ...silentLogger, warning: remember };
  const components = { clock: systemClock, files: systemFiles, random: systemRandom, logger: log };
  try {
    const opened = await openRegistry(components, registryOptions(options), signal);
    try {
      return await use(opened, signal);
    } finally {
      await opened.registry.close();
    }
  } catch (error) {
    if (context.signal.aborted || !signal.aborted) throw error;
    throw new WeftError('registry', `no network config after ${PATIENCE_MS / 1000} s: ${last}`, {
      cause: messageOf(error),
    });
  }
}

function formatStatus({
  ready,
  troubles,
  network,
  registry,
  peers,
  kernel,
  version,
  node,
}: NodeStatus): string[] {
  const age =
    registry.ageSeconds === undefined ? 'never heard' : `certain ${registry.ageSeconds.toFixed(1)} s ago`;
  return [
    `weft ${version}, node ${node}: ${ready ? 'ready' : 'NOT READY'}`,
    ...troubles.map((trouble) => `  trouble    ${trouble}`),
    ...(network === undefined
      ? []
      : [
          `  subnet     ${network.subnet} of ${network.network} (${network.backend}, MTU ${network.mtu})`,
          `  underlay   ${network.underlay}, public IP ${network.publicIp}`,
        ]),
    `  registry   ${registry.description}: ${registry.state}, ${age}`,
    `  peers      ${peers.accepted}${network?.routes === 'linear' ? ', each route with a metric of its own' : ''}`,
    ...peers.quarantined.map(({ lease, reason }) => `  ignored    ${lease}: ${reason}`),
    `  kernel     ${kernel.wanted - kernel.failing.length} of ${kernel.wanted} objects as wanted, ${kernel.repairs} repairs since the start`,
    ...kernel.failing.map(({ key, reason }) => `  failing    ${key}: ${reason}`),
  ];
}
