import { parseEnv } from 'node:util';
import { askForDoors, doorOptions, readDockerdConfig } from '#src/docker/docker-doors.ts';
import { DEFAULT_DOCKER_FWMARK, parseDockerFwmark } from '#src/docker/docker-fwmark.ts';
import { dockerOptions } from '#src/docker/docker-options.ts';
import { bridgeOptionsOf, makeBridge, makeContainer } from '#src/lab/container.ts';
import { Docker } from '#src/lab/docker.ts';
import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { LabTenant } from '#src/lab/lab-tenant.ts';
import { raiseTenants } from '#src/lab/raise-tenants.ts';
import { peersOf } from '#src/lab/status.ts';
import type { Store } from '#src/lab/store.ts';
import { WeftError } from '#src/lib/errors.ts';
import { until } from '#src/sys/until.ts';

export type StoreKind = 'embedded' | 'etcd';

export interface NetworkOptions {
  readonly store: StoreKind;
  /** Of etcd. The embedded store has one. */
  readonly members: 1 | 3;
  /** Containers on each host. */
  readonly containers: number;
  /** Real Docker containers instead of plain namespaces. */
  readonly docker: boolean;
  /** Networks of Docker's driver `weft`; only with `docker`. */
  readonly tenants: readonly LabTenant[];
  /** The network's backend by flannel's name: `vxlan`, `host-gw`. */
  readonly backend: string;
  /** Of the whole overlay; each host gets a /24. */
  readonly network: string;
  /** Command that runs flanneld. */
  readonly flanneld: readonly string[];
  /** Command that runs weft, for the embedded store. */
  readonly weft: readonly string[];
  readonly onStep?: (step: string) => void;
}

const PREFIX = '/coreos.com/network';
const START_MS = 30_000;
/** Hosts that start at the same time. More would only wait for each other. */
const AT_ONCE = 4;

/** Joins a lab's hosts to one network: starts the registry, flanneld on each host, and containers. */
export async function raiseNetwork(lab: Lab, options: NetworkOptions): Promise<void> {
  const { onStep = () => {}, backend, tenants, weft } = options;
  refuseBackend(backend, lab);
  refuseTenants(options, lab);
  onStep(`${options.store} store on ${lab.store.name}`);
  const { endpoints } = await startStore(lab, options);
  const waiting = [...lab.hosts];
  const dockers = new Map<Host, Docker>();
  const work = async (): Promise<void> => {
    for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) {
      onStep(`flanneld and ${options.containers} containers on ${host.name}`);
      const docker = await raiseHost(lab, host, endpoints, options);
      if (docker !== undefined) dockers.set(host, docker);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  onStep('routes between all hosts');
  await routesOf(lab);
  const inOrder = lab.hosts.map((host) => dockers.get(host)).filter((docker) => docker !== undefined);
  await raiseTenants(lab, inOrder, { tenants, endpoints, weft, onStep });
}

const NOT_IN_A_LAB: Readonly<Record<string, string>> = {
  alloc: 'it carries no packets',
  extension: 'it needs commands of an operator',
  udp: 'a host has no route for each peer, by which a lab knows that its hosts are joined',
};

/** A backend that would start and carry nothing between the lab's hosts, or without a sign of it. */
function refuseBackend(backend: string, { name, underlay }: Lab): void {
  const reason = NOT_IN_A_LAB[backend];
  if (reason !== undefined) {
    throw new WeftError('lab-backend', `the lab ${name} cannot use the backend ${backend}: ${reason}`, {
      remedy: 'use --backend=vxlan or --backend=host-gw',
    });
  }
  if (backend === 'host-gw' && underlay === 'l3') {
    throw new WeftError('lab-backend', `the lab ${name} cannot use host-gw: a router is between its hosts`, {
      remedy: 'use --underlay=l2, or --backend=vxlan',
    });
  }
}

function refuseTenants({ tenants, docker }: NetworkOptions, { name }: Lab): void {
  const [first] = tenants;
  if (first === undefined || docker) return;
  throw new WeftError('lab-network', `the lab ${name} cannot have the network ${first.name} without Docker`, {
    remedy: 'use --docker',
  });
}

/** Starts the store, with the network's config in it. */
async function startStore(lab: Lab, options: NetworkOptions): Promise<Store> {
  const { store: kind, members, weft, network, backend } = options;
  if (kind === 'embedded' && members > 1) {
    throw new WeftError('lab-store', `the embedded store cannot have ${members} members`, {
      remedy: 'use --store=etcd',
    });
  }
  const store =
    kind === 'embedded' ? await EmbeddedStore.start(lab.store, weft) : await Etcd.start(lab, { members });
  const config = { Network: network, SubnetLen: 24, Backend: { Type: backend } };
  await store.put(`${PREFIX}/config`, JSON.stringify(config));
  return store;
}

async function raiseHost(
  lab: Lab,
  host: Host,
  endpoints: readonly string[],
  { flanneld, docker, containers, tenants }: NetworkOptions,
): Promise<Docker | undefined> {
  const flags = [
    ...[`--etcd-endpoints=${endpoints.join(',')}`, '--ip-masq=true', `--iface=${host.address}`],
    ...(tenants.length > 0 ? ['--docker-driver=on'] : []),
  ];
  const daemon = await host.start('flanneld', [...flanneld, ...flags]);
  const subnetEnv = await until(
    async () => {
      const text = await host.read('/run/flannel/subnet.env');
      if (text !== undefined || daemon.isAlive()) return text;
      const last = (await daemon.log()).trim().split('\n').at(-1);
      throw new WeftError('lab-flanneld', `flanneld ended on ${host.name}: ${last}`);
    },
    { what: `subnet.env on ${host.name}`, timeoutMs: START_MS, signal: host.signal },
  );
  const names = Array.from({ length: containers }, (_, n) => `c${n + 1}`);
  const bridge = bridgeOptionsOf(subnetEnv);
  if (!docker) {
    await makeBridge(host, bridge);
    for (const name of names) await makeContainer(host, name);
    return undefined;
  }
  const dockerd = await Docker.start(host, {
    options: await dockerdOptions(host, subnetEnv),
    cgroup: lab.cgroup,
  });
  await dockerd.buildImage();
  for (const name of names) await dockerd.run(name);
  return dockerd;
}

/** What mk-docker-opts writes for the dockerd in this host's PATH. */
async function dockerdOptions(host: Host, subnetEnv: string): Promise<string[]> {
  const mark = parseDockerFwmark(DEFAULT_DOCKER_FWMARK);
  const { doors } = await askForDoors(host);
  const further = doors && 'mark' in mark ? doorOptions(mark.mark, readDockerdConfig('', undefined)) : {};
  return dockerOptions(parseEnv(subnetEnv), { ipMasq: true, further }).map(([, option]) => option);
}

/** Waits until every host has a route to every other's subnet. */
async function routesOf(lab: Lab): Promise<void> {
  const wanted = lab.hosts.length - 1;
  for (const host of lab.hosts) {
    await until(async () => (await peersOf(lab, host)) === wanted, {
      what: `routes to ${wanted} hosts on ${host.name}`,
      timeoutMs: START_MS,
      signal: host.signal,
    });
  }
}
