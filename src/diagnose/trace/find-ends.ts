import { containerCalled, type RunningContainer } from '#src/diagnose/facts/containers.ts';
import { findInside } from '#src/diagnose/trace/find-inside.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsAddress, formatIp, formatPrefix, type Ip, type Prefix, parseIp } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { findSegments } from '#src/tenant/found-segments.ts';

/** A container in one network, or an address that somebody wrote. JSON, in the answer to `POST /v1/find`. */
export interface FoundEnd {
  /** As it is written: dotted, or with colons. */
  readonly address: string;
  readonly name?: string;
  /** Docker's name of the network; absent for an address that was written. */
  readonly network?: string;
  /** The number of a Docker network of weft; absent in flannel's. */
  readonly tenant?: number;
  /** The public IP of the host that found it; absent for this host. */
  readonly host?: string;
}

/** What is wished of two containers that have more than one way between them. */
export interface PairWish {
  /** One of IPv6. Default: of IPv4, where there is one. */
  readonly ipv6: boolean;
}

/** Two ends in one network. */
export interface FoundPair {
  readonly from: FoundEnd;
  readonly to: FoundEnd;
  readonly tenant: number | undefined;
}

export interface FindComponents {
  readonly host: LocalHost;
  /** Those that Docker runs here; `undefined` without Docker. */
  readonly containers: readonly RunningContainer[] | undefined;
  /** Asks all peers for a container. */
  readonly askPeers: (name: string) => Promise<readonly FoundEnd[]>;
}

/**
 * What two words mean: containers by name or ID, here or on a peer, or addresses.
 *
 * @throws {WeftError} `no-such-container`, with those that are known; `trace-outside` for an address that is none of the
 *   network; `trace-networks` for containers that share no network.
 */
export async function findPair(
  components: FindComponents,
  words: readonly [string, string],
  wish: PairWish = { ipv6: false },
): Promise<FoundPair> {
  const [froms, tos] = await Promise.all([findEnds(components, words[0]), findEnds(components, words[1])]);
  const pairs = froms.flatMap((from) => tos.flatMap((to) => pairOf(from, to) ?? []));
  const refusals = new Map<FoundPair, WeftError | undefined>(
    pairs.map((pair) => [pair, refusalOf(components.host, pair)]),
  );
  const good = pairs.filter((pair) => refusals.get(pair) === undefined);
  const chosen =
    good.find(({ from }) => from.address.includes(':') === wish.ipv6) ?? (wish.ipv6 ? undefined : good[0]);
  if (chosen !== undefined) return chosen;
  if (good.length > 0) throw noIpv6(words);
  const [first] = pairs;
  const refusal = first && refusals.get(first);
  if (refusal !== undefined) throw refusal;
  const of = (ends: readonly FoundEnd[]) => ends.map(({ network }) => network).join(', ');
  throw new WeftError(
    'trace-networks',
    `there is no way from ${words[0]} to ${words[1]}: they share no network`,
    {
      remedy: `one is in ${of(froms)}, the other in ${of(tos)}: choose two of one network`,
      exitCode: CAN_NOT_LOOK,
    },
  );
}

/** `undefined` for ends that are in two networks. */
function pairOf(from: FoundEnd, to: FoundEnd): FoundPair | undefined {
  const tenant = from.tenant ?? to.tenant;
  const isOne = from.network === undefined || to.network === undefined || from.network === to.network;
  const isOneTenant = (from.tenant ?? tenant) === (to.tenant ?? tenant);
  return isOne && isOneTenant ? { from, to, tenant } : undefined;
}

/** Why no packet goes from one end to the other by the network. */
function refusalOf(host: LocalHost, { from, to, tenant }: FoundPair): WeftError | undefined {
  const outside = tenant === undefined ? (outsideOf(host, from) ?? outsideOf(host, to)) : undefined;
  if (outside !== undefined || from.address.includes(':') === to.address.includes(':')) return outside;
  return new WeftError(
    'trace-address',
    `there is no way from ${from.address} to ${to.address}: they are of two families`,
    { remedy: 'write both addresses in IPv4, or both in IPv6', exitCode: CAN_NOT_LOOK },
  );
}

const noIpv6 = ([from, to]: readonly [string, string]): WeftError =>
  new WeftError('trace-address', `there is no way of IPv6 from ${from} to ${to}`, {
    remedy:
      'leave --ipv6 away; or one of them has no address of IPv6, and the network must have "EnableIPv6"',
    exitCode: CAN_NOT_LOOK,
  });

/** The exit code of a trace that could not look. */
export const CAN_NOT_LOOK = 2;

async function findEnds(components: FindComponents, word: string): Promise<readonly FoundEnd[]> {
  const ip = parseIp(word);
  if (ip !== undefined) return [await endAt(components.host, formatIp(ip))];
  const here = await localEnds(components, word);
  if (here.length > 0) return here;
  const there = await components.askPeers(word);
  if (there.length > 0) return there;
  const known = components.containers?.map(({ name }) => name) ?? [];
  const what =
    components.containers === undefined
      ? `there is no Docker here that could say where the container ${word} is, and no host that answers knows it`
      : `no container is called ${word}, here or on a peer that answers`;
  throw new WeftError('no-such-container', what, {
    remedy: `write its address${known.length === 0 ? '' : `, or choose one of this host's: ${known.slice(0, 20).join(', ')}`}`,
    exitCode: CAN_NOT_LOOK,
  });
}

/** A container of this host, once for each network that it is in. */
export async function localEnds(
  { host, containers = [] }: Pick<FindComponents, 'host' | 'containers'>,
  word: string,
): Promise<FoundEnd[]> {
  const container = containerCalled(containers, word);
  if (container === undefined) return [];
  const { name } = container;
  const all = [...container.addresses].flatMap(([network, addresses]) =>
    addresses.map((address) => ({ address, network, name })),
  );
  const ends = all.map(async (end): Promise<FoundEnd[]> => {
    const tenant = await tenantAt(host, end.address);
    // Of Docker's networks only ways of IPv4 are traced.
    if (tenant !== undefined && end.address.includes(':')) return [];
    return [{ ...end, ...(tenant !== undefined && { tenant }) }];
  });
  return (await Promise.all(ends)).flat();
}

/** An address, with the Docker network of weft that it is in, if it is a container's of this host. */
async function endAt(host: LocalHost, address: string): Promise<FoundEnd> {
  const tenant = await tenantAt(host, address);
  if (tenant !== undefined && address.includes(':')) throw tenantIpv6(address);
  return { address, ...(tenant !== undefined && { tenant }) };
}

async function tenantAt(host: LocalHost, address: string): Promise<number | undefined> {
  const ip = parseIp(address);
  return ip === undefined || networkWith(host, ip) !== undefined ? undefined : await tenantWith(host, ip);
}

/** The range of the network that the address is in. */
const networkWith = ({ known }: LocalHost, ip: Ip): Prefix | undefined =>
  known && valuesOf<Prefix, Prefix>(known.networks).find((network) => containsAddress(network, ip));

/** For an address of a Docker network of weft's. */
export const tenantIpv6 = (address: string): WeftError =>
  new WeftError(
    'trace-address',
    `cannot trace ${address}: of Docker's networks only ways of IPv4 are traced`,
    {
      exitCode: CAN_NOT_LOOK,
    },
  );

/** The number of the Docker network whose container here has the address. */
export async function tenantWith(
  { tenants, namespaces }: LocalHost,
  address: Ip,
): Promise<number | undefined> {
  if (tenants === undefined) return undefined;
  const found = await findSegments(tenants.kernel);
  for (const vni of found.vnis) {
    const wiring = found.wiringOf(vni);
    const ports = wiring === undefined ? [] : found.devicesIn(wiring);
    const { inside } = await findInside(tenants, ports, address, namespaces);
    if (inside !== undefined) return vni;
  }
  return undefined;
}

function outsideOf(host: LocalHost, { address }: FoundEnd): WeftError | undefined {
  const { known, name } = host;
  const ip = parseIp(address);
  if (known === undefined || ip === undefined) {
    return new WeftError('trace-no-network', `nothing is known of a network on ${name}`, {
      remedy: 'start flanneld; --etcd-prefix and --state-dir must be those of the daemon',
      exitCode: CAN_NOT_LOOK,
    });
  }
  if (networkWith(host, ip) !== undefined) return undefined;
  const network = valuesOf<Prefix, Prefix>(known.networks).map(formatPrefix).join(' and ');
  return new WeftError(
    'trace-outside',
    `${address} is not in the network ${network}: its packets do not take the overlay`,
    {
      remedy: `"ip route get ${address}" shows the way that they take`,
      exitCode: CAN_NOT_LOOK,
    },
  );
}
