import type { Command, CommandContext } from '#src/cli/command.ts';
import { INNER_USAGE, LAB_FLAGS, LAB_USAGE, type LabCommandName } from '#src/cli/lab-flags.ts';
import { labWalk } from '#src/cli/lab-walk.ts';
import { type LabComponents, systemLabComponents } from '#src/lab/components.ts';
import { sendEchoes } from '#src/lab/echo-sender.ts';
import { FAULTS, faultCalled } from '#src/lab/faults.ts';
import { Lab } from '#src/lab/lab.ts';
import { parseLabTenants } from '#src/lab/lab-tenant.ts';
import { raiseNetwork } from '#src/lab/network.ts';
import { containerCalled, pingAll } from '#src/lab/reach.ts';
import { rehearse } from '#src/lab/rehearsal.ts';
import { runRelay } from '#src/lab/relay.ts';
import { statusOf } from '#src/lab/status.ts';
import { underlayFor } from '#src/lab/underlay.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type FlagTable, formatUsage, type OptionsOf, optionsOf, parseFlags } from '#src/lib/go-flags.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
import { attachedCommand } from '#src/sys/attached-command.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemIcmp } from '#src/sys/icmp-socket.ts';
import { programPath } from '#src/sys/program-path.ts';
import { systemRandom } from '#src/sys/random.ts';

interface LabCommandContext extends Pick<CommandContext, 'output' | 'signal' | 'folder'> {
  /** Commands that run parts of this program in a host. Their paths depend on the machine. */
  readonly programs: { readonly flanneld: readonly string[]; readonly weft: readonly string[] };
  /** Runs a command on this terminal and returns its exit code. */
  readonly attach: (argv: readonly [string, ...string[]]) => Promise<number>;
}

type Options<Name extends LabCommandName> = OptionsOf<(typeof LAB_FLAGS)[Name]>;
type Run<Name extends LabCommandName> = (
  options: Options<Name>,
  words: readonly string[],
  context: LabCommandContext,
) => Promise<number>;

export const LAB: Command = {
  shape: {
    subcommands: Object.fromEntries(
      Object.entries(LAB_USAGE).map(([name, [takes, about]]) => [
        name,
        { takes, about, flags: LAB_FLAGS[name as LabCommandName] },
      ]),
    ),
  },
  run(words, context) {
    const programs = { flanneld: [programPath('flanneld')], weft: [programPath('weft')] };
    return labCommand(words, { ...context, programs, attach: attachedCommand });
  },
};

/** `weft lab WORDS`: the exit code. */
async function labCommand(words: readonly string[], context: LabCommandContext): Promise<number> {
  const [name = '', ...rest] = words;
  if (!isCommand(name)) {
    const isAsked = name === '' || isHelp(name);
    const hint = didYouMean(name, Object.keys(LAB_USAGE), '"weft lab --help" lists them');
    context.output.complain(isAsked ? usage() : `weft lab: there is no command ${name}; ${hint}`);
    return isAsked ? 0 : 2;
  }
  return runCommand(name, rest, context);
}

async function runCommand<Name extends LabCommandName>(
  name: Name,
  words: readonly string[],
  context: LabCommandContext,
): Promise<number> {
  const table: (typeof LAB_FLAGS)[Name] & FlagTable = LAB_FLAGS[name];
  const parsed = parseFlags(table, words);
  if (parsed.outcome !== 'parsed') {
    if (parsed.outcome === 'invalid') context.output.complain(`weft lab ${name}: ${parsed.message}`);
    context.output.complain(usageOf(name, table));
    return parsed.outcome === 'invalid' ? 2 : 0;
  }
  const run: Run<Name> = COMMANDS[name];
  return run(optionsOf(table, parsed.given), parsed.rest, context);
}

const COMMANDS: { readonly [Name in LabCommandName]: Run<Name> } = {
  async up(options, _words, { output, signal, programs }) {
    const components = systemLabComponents();
    const started = components.clock.monotonic();
    const onStep = (step: string) => {
      if (!options.json) output.progress(step);
    };
    const { name, store, backend, docker } = options;
    const hosts = Number(options.hosts);
    if (options.network.length > 0 && !docker) {
      throw new WeftError('usage', "--network is a network of Docker's, and the lab has no Docker", {
        remedy: 'add --docker',
      });
    }
    const tenants = parseLabTenants(options.network, hosts);
    const underlay = options.underlay === 'auto' ? underlayFor(hosts) : options.underlay;
    const lab = await Lab.create(components, { name, hosts, underlay, signal, onStep });
    try {
      await raiseNetwork(lab, {
        ...{ store, backend, docker, tenants, onStep },
        members: options.members === '3' ? 3 : 1,
        containers: Number(options.containers),
        network: '10.0.0.0/16',
        flanneld: options.flanneld === '' ? programs.flanneld : [options.flanneld],
        weft: programs.weft,
      });
    } catch (error) {
      await lab.down();
      throw error;
    }
    const seconds = ((components.clock.monotonic() - started) / 1000).toFixed(1);
    if (options.json)
      output.print(JSON.stringify({ lab: name, seconds: Number(seconds), hosts: await statusOf(lab) }));
    else output.print(`lab ${name} is up: ${hosts} hosts in ${seconds} s`);
    return 0;
  },

  async exec({ name }, [target = '', ...command], { output, signal, attach, folder }) {
    const lab = await openLab(name, signal);
    const argv = command[0] === '--' ? command.slice(1) : command;
    if (argv.length === 0) {
      output.complain(usageOf('exec', LAB_FLAGS.exec));
      return 2;
    }
    const machine = target.includes('/') ? await containerCalled(lab, target) : lab.host(target);
    // Where the host has that folder too; a host is entered at /.
    const here = ['sh', '-c', 'cd "$0" 2>/dev/null; exec "$@"', folder];
    return attach(machine.enter([...here, ...argv]));
  },

  async ping({ name, json }, networks, { output, signal }) {
    const lab = await openLab(name, signal);
    const { pings, crossings } = await pingAll(lab, {
      networks,
      onResult: ({ from, to, ms }) => {
        if (!json) output.print(`${from} -> ${to}  ${ms === undefined ? 'no answer' : `${ms} ms`}`);
      },
    });
    const answered = pings.filter((result) => result.ms !== undefined).length;
    const isIsolated = crossings.every(({ arrived }) => arrived === 0);
    if (json) {
      output.print(JSON.stringify([...pings, ...crossings]));
    } else {
      output.print(`${answered} of ${pings.length} answered`);
      for (const { from, to, sent, arrived } of crossings)
        output.print(`from ${from} to ${to}: ${arrived} of ${sent} arrived`);
    }
    return answered === pings.length && answered > 0 && isIsolated ? 0 : 1;
  },

  async walk({ name, json }, names, { output, signal }) {
    return labWalk(await openLab(name, signal), { names, json }, output);
  },

  async status({ name, json }, _words, { output, signal }) {
    const hosts = await statusOf(await openLab(name, signal));
    if (json) {
      output.print(JSON.stringify(hosts));
      return 0;
    }
    for (const host of hosts) {
      const programs = host.programs.map((it) => `${it.name} ${it.running ? it.pid : 'ended'}`).join(', ');
      const overlay = host.subnet === undefined ? '' : `  ${host.subnet}, ${host.peers} peers`;
      output.print(`${host.name.padEnd(8)}${host.address.padEnd(16)}${programs}${overlay}`);
      const width = Math.max(6, ...host.containers.map((container) => container.name.length));
      for (const { name, address, network } of host.containers)
        output.print(`  ${name.padEnd(width)}  ${address.padEnd(16)}${network ?? ''}`.trimEnd());
    }
    return hosts.every((host) => host.programs.every((program) => program.running)) ? 0 : 1;
  },

  async ui({ name, ...options }, _words, { output, signal, programs }) {
    const { serveUi } = await import('#src/cli/serve-ui.ts');
    const { labPlace } = await import('#src/lab/ui-place.ts');
    return serveUi(labPlace(await openLab(name, signal), programs.weft), options, { output, signal });
  },

  async break({ name, host, for: lastsMs, json }, [faultName], { output, signal, programs }) {
    if (faultName === undefined) {
      for (const fault of FAULTS) output.print(`${fault.name.padEnd(20)}${fault.about}`);
      return 0;
    }
    const fault = faultCalled(faultName);
    const lab = await openLab(name, signal);
    if (!json) output.progress(`${fault.name}: ${fault.about}`);
    const relay = [...programs.weft, 'lab', 'relay'];
    const report = await rehearse(lab, fault, { host, lastsMs, relay });
    if (json) {
      output.print(JSON.stringify(report));
    } else {
      const mended = report.mendedMs === undefined ? 'as before' : `mended within ${report.mendedMs} ms`;
      const { lost, sent } = report.traffic ?? { lost: 0, sent: 0 };
      output.print(
        `${fault.name}: ${report.mended ? mended : 'not mended'}, ${lost} of ${sent} packets lost`,
      );
    }
    return report.mended ? 0 : 1;
  },

  async down({ name }, _words, { output }) {
    await Lab.remove(systemLabComponents(), { name });
    output.print(`lab ${name} is gone`);
    return 0;
  },

  async relay({ listen, to, delayMs }, _words, { signal }) {
    const options = { listen: endpointOf(listen), to: endpointOf(to), delayMs, signal };
    await runRelay(systemLabComponents(), options);
    return 0;
  },

  async echoes({ perSecond }, [to = ''], { output, signal }) {
    const components = {
      clock: systemClock,
      icmp: systemIcmp,
      identifier: Math.floor(systemRandom() * 65_536),
    };
    await sendEchoes(components, { to, perSecond, signal, print: (line) => output.print(line) });
    return 0;
  },
};

const openLab = (
  name: string,
  signal: AbortSignal,
  components: LabComponents = systemLabComponents(),
): Promise<Lab> => Lab.open(components, { name, signal });

function endpointOf(text: string): { host: string; port: number } {
  const [, host, port] = /^([\d.]+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || port === undefined)
    throw new WeftError('lab-relay', `"${text}" is not address:port`);
  return { host, port: Number(port) };
}

const isCommand = (name: string): name is LabCommandName => Object.hasOwn(LAB_FLAGS, name);
const isHelp = (name: string): boolean => /^--?h(elp)?$/.test(name);

function usage(): string {
  const lines = Object.entries(LAB_USAGE).map(
    ([name, [takes, about]]) => `  ${`${name} ${takes}`.padEnd(34)}${about}`,
  );
  return `Usage: weft lab COMMAND [FLAG]…\n${lines.join('\n')}\nFlags of a command: weft lab COMMAND --help`;
}

function usageOf(name: LabCommandName, table: FlagTable): string {
  const [takes, about] = { ...LAB_USAGE, ...INNER_USAGE }[name];
  return `Usage: weft lab ${name} [FLAG]… ${takes}\n${about}\n${formatUsage(table)}`.trimEnd();
}
