import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { Store } from '#src/lab/store.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines, type Engine } from './docker-engines.ts';
import { TenantHost } from './docker-tenant-host.ts';
import { PREFIX, WEFT } from './flanneld.ts';
import { cannotRun, type Owner, testLab, wholeFile } from './test-lab.ts';

/** The UDP port of the tenants' VXLAN, `--tenant-port`. */
export const TENANT_PORT = 8473;

export type TenantStore = 'etcd v2' | 'etcd v3' | 'embedded';

export interface TenantHostsOptions {
  /** Default 2. */
  readonly hosts?: number;
  /** Of the hosts, one after the other and again from the first; default Debian's. */
  readonly engines?: readonly [Engine, ...Engine[]];
  /** Default `etcd v3`. */
  readonly store?: TenantStore;
  /** Added to flanneld's flags. */
  readonly flags?: readonly string[];
  /** Added to the command line of dockerd. */
  readonly dockerOptions?: readonly string[];
  /** Added to what daemon.json holds. */
  readonly dockerConfig?: Readonly<Record<string, unknown>>;
}

export interface Tenants {
  readonly lab: Lab;
  readonly store: Store;
  /** The API in which the tenants' keys are. */
  readonly api: 2 | 3;
  readonly hosts: readonly TenantHost[];
}

/** Why tests of tenants can't run here; `false` when they can. */
export const cannotRunTenants = (...programs: string[]): string | false =>
  cannotRun('dockerd', 'docker', 'busybox', 'etcd', 'etcdctl', 'ping', 'tcpdump', 'nft', ...programs) ||
  dockerEngines().debian.skip;

/**
 * Hosts with Docker and its driver `weft`, and no flannel network:
 *
 *     store .190     h1 .191 flanneld, dockerd     h2 .192 flanneld, dockerd     …
 */
export async function tenantHosts(t: Owner, options: TenantHostsOptions = {}): Promise<Tenants> {
  const { hosts: count = 2, engines = [dockerEngines().debian], store: kind = 'etcd v3' } = options;
  const lab = await testLab(t, { hosts: count });
  const store = kind === 'embedded' ? await EmbeddedStore.start(lab.store, [WEFT]) : await Etcd.start(lab);
  const hosts = await Promise.all(
    lab.hosts.map(async (host, n) => {
      const engine = engines[n % engines.length] ?? engines[0];
      // Engine 29 with nftables leaves forwarding to the administrator, and does not start without it.
      await host.must(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
      const flags = [
        `--etcd-endpoints=${store.endpoints.join(',')}`,
        `--etcd-prefix=${PREFIX}`,
        `--iface=${host.address}`,
        '--watch-networks',
        '--docker-driver=on',
        '--state-dir=/var/lib/weft',
        ...(kind === 'etcd v2' ? ['--etcd-api=v2'] : []),
        ...(options.flags ?? []),
      ];
      return TenantHost.start(host, flags, {
        options: options.dockerOptions ?? [],
        cgroup: lab.cgroup,
        programs: engine.programs,
        config: { ...engine.config, ...options.dockerConfig },
      });
    }),
  );
  return { lab, store, api: kind === 'etcd v2' ? 2 : 3, hosts };
}

/**
 * Hosts for all tests of a file; made before the first and taken away after the last. `prepare` runs once they are there: a
 * second `before` of the file would not wait for the first.
 */
export function sharedTenants(
  skip: string | false,
  options: TenantHostsOptions = {},
  prepare: (tenants: Tenants) => Promise<void> = async () => {},
): () => Tenants {
  let tenants: Tenants | undefined;
  wholeFile(skip, async (owner) => {
    tenants = await tenantHosts(owner, options);
    await prepare(tenants);
  });
  return () => {
    if (tenants === undefined) throw new Error('the hosts were not made');
    return tenants;
  };
}

/** The first two hosts. */
export function twoOf({ hosts }: Tenants): [TenantHost, TenantHost] {
  const [one, two] = hosts;
  if (one === undefined || two === undefined) throw new Error('there are not two hosts');
  return [one, two];
}

/** The first three hosts. */
export function threeOf(tenants: Tenants): [TenantHost, TenantHost, TenantHost] {
  const third = tenants.hosts[2];
  if (third === undefined) throw new Error('there are not three hosts');
  return [...twoOf(tenants), third];
}

export interface TenantWords {
  /** Without one the cluster chooses. */
  readonly subnet?: string;
  readonly vni?: number;
  /** Further words of `docker network create`. */
  readonly words?: readonly string[];
}

/** The words after `docker` that make a tenant, or join it on one host. */
export function creationOf(name: string, { subnet, vni, words = [] }: TenantWords = {}): string[] {
  const driver = ['-d', 'weft', '--ipam-driver', 'weft'];
  const identity = ['-o', `weft.network=${name}`, '--ipam-opt', `weft.network=${name}`];
  return [
    ...['network', 'create', ...driver, ...identity],
    ...(subnet === undefined ? [] : ['--subnet', subnet]),
    ...(vni === undefined ? [] : ['-o', `weft.vni=${vni}`]),
    ...words,
    name,
  ];
}

/** Makes a tenant on the first host and waits until Docker has it on all. */
export async function createTenant(tenants: Tenants, name: string, words: TenantWords = {}): Promise<void> {
  const [one] = twoOf(tenants);
  await orWithLog(one, one.must(creationOf(name, words)));
  for (const host of tenants.hosts) await orWithLog(host, waitForNetwork(host, name));
}

/** A failure that only the driver's log explains. */
async function orWithLog<T>(host: TenantHost, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const log = (await host.flanneldLog()).split('\n').slice(-LOG_LINES).join('\n');
    throw new Error(`${error instanceof Error ? error.message : error}; flanneld of ${host.name}:\n${log}`);
  }
}
const LOG_LINES = 30;

export async function waitForNetwork(host: TenantHost, name: string): Promise<void> {
  await until(async () => (await host.network(name)) !== undefined, {
    what: `network ${name} on ${host.name}`,
    // Docker makes one after the other.
    timeoutMs: 60_000,
    intervalMs: 100,
    signal: host.host.signal,
  });
}

let made = 0;
/** The name of a tenant that no other test of the file has. */
export const newName = (): string => `tenant${++made}`;
