import type { Docker } from '#src/lab/docker.ts';
import type { Lab } from '#src/lab/lab.ts';
import { addressOf, type LabTenant } from '#src/lab/lab-tenant.ts';
import { formatIpv4, formatPrefix } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';

const START_MS = 30_000;

export interface RaiseTenantsOptions {
  readonly tenants: readonly LabTenant[];
  /** The registry's, where flanneld looks too. */
  readonly endpoints: readonly string[];
  /** Command that runs weft. */
  readonly weft: readonly string[];
  readonly onStep: (step: string) => void;
}

/**
 * Makes tenants in the registry as a user does, waits until the Docker of every host has them, and starts a container for
 * each on each host: `NAME-h1` … `dockers`: one for each host, in their order.
 */
export async function raiseTenants(
  lab: Lab,
  dockers: readonly Docker[],
  { tenants, endpoints, weft, onStep }: RaiseTenantsOptions,
): Promise<void> {
  if (tenants.length === 0) return;
  onStep(`networks ${tenants.map(({ name }) => name).join(', ')}, and their containers`);
  for (const { name, subnet } of tenants) {
    const flags = [`--subnet=${formatPrefix(subnet)}`, `--etcd-endpoints=${endpoints.join(',')}`];
    await lab.store.must([...weft, 'network', 'create', name, ...flags]);
  }
  await Promise.all(dockers.map((docker, at) => joinAll(docker, tenants, at + 1)));
  onStep('ways between their containers');
  for (const docker of dockers) await waysOf(docker, (dockers.length - 1) * tenants.length);
}

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
