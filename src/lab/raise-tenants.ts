import type { Docker } from '#src/lab/docker.ts';
import { addressOf, type LabTenant } from '#src/lab/lab-tenant.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIpv4, formatPrefix } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';

const SOCKET = '/run/docker/plugins/weft.sock';
const START_MS = 30_000;

/**
 * Makes tenants as a user does, on one host, waits until the Docker of every host has them, and starts a container for each
 * on each host: `NAME-h1` … `dockers`: one for each host, in their order, with the driver at work.
 */
export async function raiseTenants(
  dockers: readonly Docker[],
  tenants: readonly LabTenant[],
  onStep: (step: string) => void,
): Promise<void> {
  const [first] = dockers;
  if (first === undefined || tenants.length === 0) return;
  onStep(`networks ${tenants.map(({ name }) => name).join(', ')}, made on ${first.host.name}`);
  await driverOf(first);
  for (const tenant of tenants) await first.must(creationOf(tenant));
  await Promise.all(dockers.map((docker, at) => joinAll(docker, tenants, at + 1)));
  onStep('ways between their containers');
  for (const docker of dockers) await waysOf(docker, (dockers.length - 1) * tenants.length);
}

/** A network of Docker's has the name in the driver's options too, for no call of the plugin protocol has it. */
const creationOf = ({ name, subnet }: LabTenant): string[] => [
  ...['network', 'create', '-d', 'weft', '--ipam-driver', 'weft'],
  ...['-o', `weft.network=${name}`, '--ipam-opt', `weft.network=${name}`],
  ...['--subnet', formatPrefix(subnet), name],
];

async function joinAll(docker: Docker, tenants: readonly LabTenant[], number: number): Promise<void> {
  const { host } = docker;
  for (const { name, subnet } of tenants) {
    await until(async () => (await host.run(['docker', 'network', 'inspect', name])).code === 0, {
      what: `network ${name} on ${host.name}`,
      timeoutMs: START_MS,
      intervalMs: 100,
      signal: host.signal,
    });
    const address = formatIpv4(addressOf(subnet, number));
    await docker.run(`${name}-${host.name}`, undefined, ['--network', name, '--ip', address]);
  }
}

async function driverOf({ host }: Docker): Promise<void> {
  const daemon = await host.daemon('flanneld');
  const serves = async (): Promise<boolean> => {
    if ((await host.run(['test', '-S', SOCKET])).code === 0) return true;
    if (daemon?.isAlive()) return false;
    const last = (await daemon?.log())?.trim().split('\n').at(-1);
    throw new WeftError('lab-flanneld', `flanneld ended on ${host.name}: ${last}`);
  };
  await until(serves, { what: `Docker's driver on ${host.name}`, timeoutMs: START_MS, signal: host.signal });
}

/** Waits until the host has a way to this number of containers on other hosts. */
async function waysOf({ host }: Docker, wanted: number): Promise<void> {
  const ways = async (): Promise<number> => {
    const { stdout } = await host.run(['bridge', '-n', 'weft', 'fdb', 'show']);
    return stdout.split('\n').filter((line) => / dst /.test(line)).length;
  };
  await until(async () => (await ways()) >= wanted, {
    what: `ways to ${wanted} containers on ${host.name}`,
    timeoutMs: START_MS,
    intervalMs: 100,
    signal: host.signal,
  });
}
