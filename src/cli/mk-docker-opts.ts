import { parseArgs, parseEnv } from 'node:util';
import { MK_DOCKER_OPTS_USAGE } from '#src/cli/mk-docker-opts-usage.ts';
import {
  askForDoors,
  type DockerdConfig,
  daemonJsonOf,
  doorOptions,
  hasDoors,
  otherFwmark,
  readDockerdConfig,
} from '#src/docker/docker-doors.ts';
import {
  DEFAULT_DOCKER_FWMARK,
  DOCKER_FWMARK_VARIABLE,
  parseDockerFwmark,
} from '#src/docker/docker-fwmark.ts';
import { ipv6Faults, ipv6Options } from '#src/docker/docker-ipv6.ts';
import {
  formatDockerOptions,
  handWritten,
  oversizedMtus,
  type Variables,
} from '#src/docker/docker-options.ts';
import { hasGatewayRoute } from '#src/docker/route-table.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatPrefix, masked, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { type CommandRunner, systemCommands } from '#src/sys/command.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';

/**
 * flannel's mk-docker-opts.sh: the same options, output and exit codes, so that a unit that calls
 * it needs no change. As in flannel, a missing subnet.env is no failure: Docker then starts on its
 * own network, and stderr says so.
 */
async function mkDockerOpts(
  argv: readonly string[],
  environment: Variables,
  { files, commands }: { readonly files: Files; readonly commands: CommandRunner },
): Promise<void> {
  const { f: subnetFile, d: dockerFile, i, c, k: key, m, ...own } = readArguments(argv);
  const text = await files.read(subnetFile).catch((cause) => {
    throw new WeftError('docker-options', `could not read ${subnetFile}: ${messageOf(cause)}`, {
      remedy: 'name the file that flanneld writes with -f',
      cause,
    });
  });
  const variables: Variables = { ...environment, ...(text !== undefined && parseEnv(text)) };
  if (text === undefined) {
    say(`there is no ${subnetFile}: dockerd gets no options for the overlay; start flanneld first`);
  } else if (!variables.FLANNEL_SUBNET && !variables.FLANNEL_IPV6_SUBNET) {
    say(`${subnetFile} has no FLANNEL_SUBNET: dockerd gets no --bip; is it the file that flanneld writes?`);
  } else if (variables.FLANNEL_IPV6_SUBNET && !own.ipv6) {
    say(`the network has IPv6 too, which dockerd's bridge gets with --ipv6 only`);
  }
  for (const mtu of oversizedMtus(environment, key, variables.FLANNEL_MTU)) {
    say(
      `--mtu=${mtu} is set by hand, but a packet in the overlay has at most ${variables.FLANNEL_MTU} bytes: larger ones would be lost; remove it`,
    );
  }
  const options = formatDockerOptions(variables, {
    individual: i || !c,
    combined: c || !i ? key : undefined,
    ipMasq: !m,
    further: await further({ variables, environment, key, own }, { files, commands }),
  });
  try {
    await files.writeAtomically(dockerFile, options);
  } catch (cause) {
    throw new WeftError('docker-options', `could not write ${dockerFile}: ${messageOf(cause)}`, {
      remedy: 'make its folder writable, or choose another with -d',
      cause,
    });
  }
  const subnet = parsePrefix4(variables.FLANNEL_SUBNET ?? '');
  if (subnet !== undefined && hasGatewayRoute((await files.read('/proc/net/route')) ?? '', subnet)) {
    const network = formatPrefix(masked(subnet));
    throw new WeftError('docker-options', `Your routing table already contains the subnet: ${network}`, {
      remedy: `it leads to a gateway, where dockerd's bridge will be: see "ip route show ${network}"`,
    });
  }
}

interface Further {
  readonly variables: Variables;
  /** Without those of subnet.env. */
  readonly environment: Variables;
  readonly key: string;
  readonly own: { readonly 'docker-version': string; readonly ipv6: boolean };
}

interface Host {
  readonly files: Files;
  readonly commands: CommandRunner;
}

/** The options that flannel's script does not have, for a network that has a subnet on this host. */
async function further(
  { variables, environment, key, own }: Further,
  { files, commands }: Host,
): Promise<Record<string, string>> {
  const { FLANNEL_SUBNET: subnet4, FLANNEL_IPV6_SUBNET: subnet6 } = variables;
  if (!subnet4 && !subnet6) return {};
  const words = handWritten(environment, key);
  const config = readDockerdConfig(words, await files.read(daemonJsonOf(words)).catch(() => undefined));
  const opened = await doors(own['docker-version'], environment, { config, commands });
  if (!own.ipv6) return opened;
  if (subnet6 && parsePrefix6(subnet6) === undefined) {
    throw new WeftError('docker-options', `Invalid value of FLANNEL_IPV6_SUBNET: ${subnet6}`, {
      remedy:
        'it is an IPv6 address and a length, such as fd00:10:5:7::1/64, in the file that flanneld writes',
    });
  }
  for (const fault of ipv6Faults(subnet6, config)) say(fault);
  return { ...opened, ...ipv6Options(subnet6, config) };
}

/** The options for Docker's own doors, and what to say of them on stderr. */
async function doors(
  version: string,
  environment: Variables,
  { config, commands }: { readonly config: DockerdConfig; readonly commands: CommandRunner },
): Promise<Record<string, string>> {
  const read = parseDockerFwmark(environment[DOCKER_FWMARK_VARIABLE] ?? DEFAULT_DOCKER_FWMARK);
  if ('problem' in read) {
    throw new WeftError(
      'docker-options',
      `Invalid value of ${DOCKER_FWMARK_VARIABLE}: ${environment[DOCKER_FWMARK_VARIABLE]}`,
      { remedy: read.problem },
    );
  }
  if (read.mark === 0) return {};
  if (version !== 'auto') {
    if (hasDoors(version) !== true) return {};
  } else {
    const { doors: known, problem } = await askForDoors(commands);
    if (problem !== undefined) {
      say(
        `dockerd --help gave no answer (${problem}): no options for Docker 29; name it with --docker-version=29`,
      );
    }
    if (!known) return {};
  }
  const other = otherFwmark(read.mark, config);
  if (other !== undefined) say(`${other}: Docker drops the overlay's packets; make them equal`);
  return doorOptions(read.mark, config);
}

function readArguments(argv: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const value = (fallback: string) => ({ type: 'string', default: fallback }) as const;
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        f: { ...value('/run/flannel/subnet.env'), short: 'f' },
        d: { ...value('/run/docker_opts.env'), short: 'd' },
        k: { ...value('DOCKER_OPTS'), short: 'k' },
        i: { ...flag, short: 'i' },
        c: { ...flag, short: 'c' },
        m: { ...flag, short: 'm' },
        h: { ...flag, short: 'h' },
        '?': { ...flag, short: '?' },
        'docker-version': value('auto'),
        ipv6: flag,
      },
      allowPositionals: true,
    });
    if (values.h || values['?']) throw new UsageError();
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(values.k))
      throw new UsageError(`-k ${values.k} is no variable's name`);
    const version = values['docker-version'];
    if (version !== 'auto' && hasDoors(version) === undefined)
      throw new UsageError(`--docker-version=${version} is no version of Docker, such as 20.10 or 29`);
    return values;
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(messageOf(error));
  }
}

class UsageError extends Error {}

const say = (line: string): void => void process.stderr.write(`mk-docker-opts: ${line}\n`);

async function run(): Promise<void> {
  try {
    await mkDockerOpts(process.argv.slice(2), process.env, { files: systemFiles, commands: systemCommands });
  } catch (error) {
    if (messageOf(error) !== '') say(messageOf(error));
    if (error instanceof UsageError) process.stderr.write(MK_DOCKER_OPTS_USAGE);
    process.exitCode = 1;
  }
}

void run();
