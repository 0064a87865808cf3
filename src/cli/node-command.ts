import type { Command, CommandContext } from '#src/cli/command.ts';
import { COMMANDS } from '#src/cli/commands.ts';
import { addInstalledFlags } from '#src/cli/installed-flags.ts';
import { withRegistry } from '#src/cli/with-registry.ts';
import { WeftError } from '#src/lib/errors.ts';
import {
  addEnvironment,
  type Flag,
  type FlagTable,
  formatUsage,
  type OptionsOf,
  optionsOf,
  parseFlags,
} from '#src/lib/go-flags.ts';
import { type LoggerSource, silentLogger } from '#src/lib/log.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { artefactsOf, type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import { systemFiles } from '#src/sys/files.ts';
import { serviceManager } from '#src/sys/systemd-notify.ts';

type NodeCommandContext = Pick<CommandContext, 'output' | 'environment' | 'signal'>;

const COMMAND_FLAGS = {
  json: { kind: 'bool', default: false, environment: false, description: 'print JSON' },
  network: {
    kind: 'string',
    default: '',
    environment: false,
    description: 'the `name` of one network, where the daemon serves several',
  },
  all: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'all networks of this host (cleanup)',
  },
  script: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'print a shell script that does it later, without weft (cleanup)',
  },
} as const satisfies Readonly<Record<string, Flag>>;
/** flanneld's flags: these commands take the same description of the host as the daemon. */
const FLAGS = { ...FLANNELD_FLAGS, ...COMMAND_FLAGS };

type Options = OptionsOf<typeof FLAGS>;
interface Given {
  readonly options: Options;
  readonly words: readonly string[];
  /** The network that was asked for; `undefined` when no flag or variable names one. */
  readonly id: NetworkId | undefined;
}
type Run = (given: Given, context: NodeCommandContext) => Promise<number>;

type NodeCommandName = 'plan' | 'cleanup' | 'release';

/** `weft NAME WORDS`: the exit code. */
async function nodeCommand(
  name: NodeCommandName,
  words: readonly string[],
  context: NodeCommandContext,
): Promise<number> {
  const parsed = parseFlags(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    if (parsed.outcome === 'invalid') context.output.complain(`weft ${name}: ${parsed.message}`);
    else
      context.output.complain(`weft ${name}: ${COMMANDS[name]?.about}\n${formatUsage(FLAGS as FlagTable)}`);
    return parsed.outcome === 'invalid' ? 2 : 0;
  }
  const typed = addEnvironment(FLAGS, parsed.given, ENVIRONMENT_PREFIX, context.environment);
  const given = await addInstalledFlags(systemFiles, typed.given);
  const options = optionsOf(FLAGS, given);
  const isNamed = options.network !== '' || given.has('etcd-prefix');
  return RUN[name]({ options, words: parsed.rest, id: isNamed ? idOf(options) : undefined }, context);
}

const idOf = ({ etcdPrefix, network }: Options): NetworkId =>
  network === '' ? { prefix: etcdPrefix } : namedNetwork(etcdPrefix, network);

const RUN: Readonly<Record<NodeCommandName, Run>> = {
  async plan({ options }, context) {
    const { planHost } = await import('#src/cli/plan-host.ts');
    const components = await openHost(context);
    try {
      const plans = await planHost(components, options, context);
      const { output } = context;
      if (options.json) {
        const [registry, commands, transactions] = [
          plans.flatMap((plan) => plan.registry),
          plans.flatMap((plan) => plan.commands),
          plans.flatMap((plan) => plan.transactions),
        ];
        output.print(JSON.stringify({ registry, commands, transactions }, undefined, 2));
        return 0;
      }
      for (const { title, registry, commands, transactions } of plans) {
        for (const text of registry) output.print(`# ${title}: ${text}`);
        for (const command of commands) output.print(command);
        for (const { command, input } of transactions)
          output.print(`${command.join(' ')} <<'END'\n${input.trimEnd()}\nEND`);
      }
      if (plans.every(({ commands, transactions }) => commands.length + transactions.length === 0))
        output.print('# nothing to change: the host is as wanted');
      return 0;
    } finally {
      components.kernel.close();
      components.close?.();
    }
  },

  async cleanup({ options }, context) {
    const components = await openHost(context);
    try {
      const request = { options, what: options.all ? 'all' : idOf(options) } as const;
      if (options.script) {
        const { cleanScript } = await import('#src/node/clean-script.ts');
        context.output.print(await cleanScript(components, request, context.signal));
        return 0;
      }
      const { cleanHost } = await import('#src/node/clean-host.ts');
      const done = await cleanHost(components, request, context.signal);
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
      components.close?.();
    }
  },

  async release({ options, words: [subnet, ...more] }, context) {
    const id = idOf(options);
    if (more.length > 0) throw new WeftError('usage', `one lease at a time, not ${more.length + 1}`);
    const { releaseLease } = await import('#src/membership/release-lease.ts');
    const { leasesUnder } = await import('#src/registry/ipv6-leases.ts');
    const { readNodeIdentity } = await import('#src/node/identity.ts');
    if (subnet === undefined) await refuseWhileRunning(options, id);
    const whose =
      subnet === undefined
        ? { node: await readNodeIdentity({ files: systemFiles, log: silentLogger }, options.stateDir) }
        : { subnet };
    const record = await withRegistry(
      { ...options, etcdPrefix: id.prefix },
      context,
      ({ registry, config }, signal) => {
        // A lease of IPv4 is in its folder, whatever the config says.
        const isV4 = subnet !== undefined && !subnet.includes(':');
        return releaseLease(isV4 ? registry : leasesUnder(registry, config), whose, signal);
      },
    );
    context.output.print(`released ${record.name}: ${record.value}`);
    return 0;
  },
};

const command = (name: NodeCommandName): Command => ({
  shape: { flags: FLAGS },
  run: (words, context) => nodeCommand(name, words, context),
});

/** The commands about this host. */
export const NODE: Readonly<Record<NodeCommandName, Command>> = {
  plan: command('plan'),
  cleanup: command('cleanup'),
  release: command('release'),
};

/** A flanneld whose lease is released claims it again. */
async function refuseWhileRunning(options: FlanneldOptions, id: NetworkId): Promise<void> {
  const { askNode } = await import('#src/observe/ask-status.ts');
  if ((await askNode(artefactsOf(id, options).socket)) === undefined) return;
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
): Promise<ReturnType<typeof import('#src/node/run-host.ts').hostComponents>> {
  const { hostComponents } = await import('#src/node/run-host.ts');
  return hostComponents(
    logSource(context),
    serviceManager({}, () => {}),
  );
}
