import { type Container, containersOf } from '#src/lab/container.ts';
import type { Lab } from '#src/lab/lab.ts';
import { FLANNEL } from '#src/lab/lab-tenant.ts';
import { WeftError } from '#src/lib/errors.ts';

/** Pings that run at once. */
const AT_ONCE = 4;

export interface PingResult {
  readonly from: string;
  readonly to: string;
  /** Round-trip time in milliseconds; `undefined` when there was no answer in two seconds. */
  readonly ms: number | undefined;
}

/** What came from one tenant to the containers of another. */
export interface Crossing {
  readonly from: string;
  readonly to: string;
  /** Echo requests that containers of the one sent, also to addresses that only the other one has. */
  readonly sent: number;
  /** Echo requests that containers of the other received meanwhile. */
  readonly arrived: number;
}

export interface ReachOptions {
  /** Only these, by name: tenants, and `flannel`. Without any: all. */
  readonly networks?: readonly string[];
  readonly onResult?: (result: PingResult) => void;
}

export interface Reach {
  readonly pings: readonly PingResult[];
  readonly crossings: readonly Crossing[];
}

/**
 * One ping between each two containers of a network on different hosts, in both directions; and what arrives in other tenants
 * meanwhile, as their containers' kernels count it: the same address may be in several. Nobody else may ping meanwhile.
 */
export async function pingAll(
  lab: Lab,
  { networks = [], onResult = () => {} }: ReachOptions,
): Promise<Reach> {
  const all = Map.groupBy(await allContainers(lab), networkOf);
  const unknown = networks.find((name) => !all.has(name));
  if (unknown !== undefined) {
    throw new WeftError('no-such-network', `lab ${lab.name} has no containers in a network ${unknown}`, {
      remedy: `choose from ${[...all.keys()].join(', ')}`,
    });
  }
  const chosen = [...all].filter(([name]) => networks.length === 0 || networks.includes(name));
  const pings: PingResult[] = [];
  const crossings: Crossing[] = [];
  for (const [network, containers] of chosen) {
    const others =
      network === FLANNEL ? [] : [...all].filter(([name]) => name !== network && name !== FLANNEL);
    const before = await Promise.all(others.map(([, it]) => echoRequestsAt(it)));
    const pairs = containers.flatMap((from) =>
      containers.filter((to) => to.host !== from.host).map((to) => [from, to] as const),
    );
    pings.push(...(await pingPairs(pairs, onResult)));
    const strange = strangePairs(
      containers,
      others.flatMap(([, it]) => it),
    );
    await pingPairs(strange, () => {});
    for (const [at, [name, it]] of others.entries()) {
      const arrived = (await echoRequestsAt(it)) - (before[at] ?? 0);
      crossings.push({ from: network, to: name, sent: pairs.length + strange.length, arrived });
    }
  }
  return { pings, crossings };
}

type Pair = readonly [from: Container, to: Container];

async function pingPairs(
  pairs: readonly Pair[],
  onResult: (result: PingResult) => void,
): Promise<PingResult[]> {
  const waiting = [...pairs];
  const results: PingResult[] = [];
  const work = async (): Promise<void> => {
    for (let pair = waiting.shift(); pair !== undefined; pair = waiting.shift()) {
      const result = await pingOnce(pair[0], pair[1]);
      results.push(result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}

/** From one container of a tenant to the addresses that it does not have itself. */
function strangePairs(containers: readonly Container[], others: readonly Container[]): Pair[] {
  const [from] = containers;
  const own = new Set(containers.map(({ address }) => address));
  return from === undefined ? [] : others.filter(({ address }) => !own.has(address)).map((to) => [from, to]);
}

/** How many ICMP echo requests the containers have received since they were started (Linux, net/ipv4/proc.c). */
async function echoRequestsAt(containers: readonly Container[]): Promise<number> {
  const counts = await Promise.all(
    containers.map(async (container) => echoRequestsIn(await container.must(['cat', '/proc/net/snmp']))),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The column InType8 of the two lines `IcmpMsg:`, which the kernel leaves out as long as it is 0. */
function echoRequestsIn(snmp: string): number {
  const [names, values] = snmp.split('\n').filter((line) => line.startsWith('IcmpMsg:'));
  const column = names?.split(' ').indexOf('InType8') ?? -1;
  return column < 0 ? 0 : Number(values?.split(' ')[column]);
}

export async function pingOnce(from: Container, to: Container): Promise<PingResult> {
  const { stdout } = await from.run(['ping', '-n', '-c1', '-W2', to.address]);
  const ms = /time=([\d.]+) ms/.exec(stdout)?.[1];
  return { from: from.name, to: to.name, ms: ms === undefined ? undefined : Number(ms) };
}

/** Those of flannel's network first. */
export async function allContainers(lab: Lab): Promise<Container[]> {
  const all = (await Promise.all(lab.hosts.map((host) => containersOf(host)))).flat();
  return all.sort((a, b) => Number(a.network !== undefined) - Number(b.network !== undefined));
}

export const networkOf = ({ network = FLANNEL }: Container): string => network;

/** A container by its full name, `h1/c1`; throws `no-such-container`. */
export async function containerCalled(lab: Lab, name: string): Promise<Container> {
  const all = await allContainers(lab);
  const found = all.find((container) => container.name === name);
  if (found !== undefined) return found;
  throw new WeftError('no-such-container', `lab ${lab.name} has no container ${name}`, {
    remedy: `choose one of ${all.map((it) => it.name).join(', ')}`,
  });
}
