import type { Eye } from '#src/diagnose/trace/eye.ts';
import type { Finding } from '#src/diagnose/trace/hop.ts';
import { decisionText, isFromOtherTable } from '#src/diagnose/trace/step-texts.ts';
import { type FilterWay, packetDrop, type SeenFilters } from '#src/firewall/packet-drops.ts';
import type { Carried, Packet } from '#src/firewall/packet-walk.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { formatIp, type Ip, isIpv4, type Prefix, prefixOf } from '#src/lib/ip.ts';
import type { Route } from '#src/state/object.ts';
import { formatObject } from '#src/state/object.ts';

/** A packet that comes in by a device of this host, to be passed on. */
export interface Forwarded {
  readonly from: Ip;
  readonly to: Ip;
  /** The device that it comes in by. */
  readonly by: string;
  /** The kernel's decision on it. */
  readonly decision: RouteDecision;
  /** Its decision on a packet of the host itself to the same address, of which no source is checked. */
  readonly plain: RouteDecision;
  /** sysctls of {@link forwardingSysctls}, by path. */
  readonly sysctls: ReadonlyMap<string, string | undefined>;
}

/** What decides whether this host passes packets on that come in by a device. */
export const forwardingSysctls = (by: string, to: Ip): readonly string[] =>
  isIpv4(to)
    ? [
        'net/ipv4/ip_forward',
        `net/ipv4/conf/${by}/forwarding`,
        'net/ipv4/conf/all/rp_filter',
        `net/ipv4/conf/${by}/rp_filter`,
      ]
    : // IPv6 has one switch for the host, and checks no source.
      ['net/ipv6/conf/all/forwarding'];

/** The present values of those. */
export async function readForwarding(
  eye: Eye,
  by: string,
  to: Ip,
): Promise<ReadonlyMap<string, string | undefined>> {
  return new Map(
    await Promise.all(forwardingSysctls(by, to).map(async (path) => [path, await eye.sysctl(path)] as const)),
  );
}

/** The switches of the kernel: whether the host is a router, and whether it takes the packet's source. */
export function forwardingStep(
  { from, to, by, decision, plain, sysctls }: Forwarded,
  arrives: boolean,
): Finding {
  const [forward = '', ofDevice = forward] = forwardingSysctls(by, to);
  const step = {
    id: arrives ? 'arrival-forwarding' : 'forwarding',
    about: `the host passes on what comes in by ${by}, like a router`,
    command: `ip route get ${formatIp(to)} from ${formatIp(from)} iif ${by}`,
    expected: `forwarding on, and ${formatIp(from)} accepted as a source`,
    found: forwardingSysctls(by, to).flatMap((path) => {
      const value = sysctls.get(path);
      return value === undefined ? [] : [`${path.replaceAll('/', '.')} = ${value}`];
    }),
  } as const;
  if (sysctls.get(ofDevice) === '0') {
    const isOff = sysctls.get(forward) === '0';
    const remedy = `sysctl -w ${(isOff ? forward : ofDevice).replaceAll('/', '.')}=1`;
    return { ...step, ok: false, remedy };
  }
  // Where a rule takes the address elsewhere, the source is refused by the same rule: that is the route's hop.
  const isTaken = plain.outcome === 'refused' || isFromOtherTable(plain);
  if (decision.outcome === 'refused' && SOURCE_REFUSED.includes(decision.errno) && !isTaken) {
    const found = [...step.found, decisionText(decision)];
    const remedy = `the way back to ${formatIp(from)} does not lead by ${by}: see "ip route get ${formatIp(from)}", or loosen the check: sysctl -w net.ipv4.conf.${by}.rp_filter=2 net.ipv4.conf.all.rp_filter=2`;
    return { ...step, found, ok: false, remedy };
  }
  return { ...step, ok: true };
}

/**
 * fib_validate_source in net/ipv4/fib_frontend.c: the reverse path leads elsewhere, or the source is this host's own. Since
 * Linux 6.13 both are EINVAL.
 */
export const SOURCE_REFUSED = ['EXDEV', 'EINVAL'];

/** The host's routes lead the packet where they should. `wanted`: the route that should do it. */
export function routeStep(
  { from, to, by, decision, plain }: Forwarded,
  { about, wanted, expected, id, device = wanted?.device, isOnLink = false, nobody }: RouteExpectation,
): Finding {
  const step = {
    id,
    about,
    command: `ip route get ${formatIp(to)} from ${formatIp(from)} iif ${by}`,
    found: [decisionText(decision)],
    expected: expected ?? (wanted === undefined ? '' : formatObject(wanted)),
  };
  if (nobody !== undefined) {
    const found = [`no host of the network has a lease for ${formatIp(to)}`, ...step.found];
    return { ...step, found, expected: 'a subnet that a host has leased', ok: false, remedy: nobody };
  }
  const isWay =
    decision.outcome === 'way' &&
    decision.type === 'unicast' &&
    (device === undefined || decision.device === device) &&
    (!(isOnLink || wanted !== undefined) || decision.via === wanted?.via);
  if (isWay) return { ...step, ok: true };
  if (isFromOtherTable(decision) || isFromOtherTable(plain)) {
    return {
      ...step,
      ok: false,
      remedy:
        'a policy rule takes the packet to another table: see "ip rule show"; remove it, or except the network',
    };
  }
  if (wanted === undefined) {
    const remedy = `something is in the way of ${step.expected}: see "ip route show" and "ip addr show"`;
    return { ...step, ok: false, remedy };
  }
  const remedy = `ip route replace ${formatObject(wanted)}; flanneld does that by itself when it runs`;
  return { ...step, ok: false, remedy };
}

export interface RouteExpectation {
  readonly id: 'route' | 'arrival-route';
  readonly about: string;
  readonly wanted: Route | undefined;
  /** In place of the wanted route's own text. */
  readonly expected?: string;
  /** In place of the wanted route's. */
  readonly device?: string;
  /** The address is behind the device itself, and no gateway is on the way. */
  readonly isOnLink?: boolean;
  /** What to do where no host has the address. */
  readonly nobody?: string;
}

/** A packet at the packet filter. */
export interface Filtered {
  readonly from: Ip;
  readonly to: Ip;
  readonly by: string;
  readonly out: string;
  readonly state: 'new' | 'established';
  readonly carries?: Carried;
  readonly filters: SeenFilters;
}

/** The packet filter's rules let the packet pass; those that ask for what is not known are passed over. */
export function filterStep(
  id: 'forward-filter' | 'output-filter' | 'input-filter' | 'arrival-filter',
  about: string,
  { from, to, by, out, state, carries, filters }: Filtered,
): Finding {
  const way = WAYS[id];
  const packet: Packet = {
    ...{ by, out, state, mark: 0, from: hostOf(from), to: hostOf(to) },
    ...(carries !== undefined && { carries }),
  };
  // A ping stands for all packets, unless rules decide by what is in them.
  const drop =
    packetDrop(filters, packet, way) ??
    (carries === undefined
      ? packetDrop(filters, { ...packet, carries: { protocol: isIpv4(to) ? 'icmp' : 'icmpv6' } }, way)
      : undefined);
  const [fromTo, devices] = [
    `${formatIp(from)} > ${formatIp(to)}`,
    `${by || 'the host'} > ${out || 'the host'}`,
  ];
  const step = { id, about, expected: 'no rule that drops the packet' };
  if (drop === undefined) {
    return {
      ...step,
      command: 'nft list ruleset; iptables-save',
      found: [`no rule is known to drop ${fromTo}, ${devices}`],
      ok: true,
    };
  }
  return {
    ...step,
    command: drop.command,
    found: [`${drop.place}: ${drop.rule}`, `drops ${fromTo} on ${devices}`],
    ok: false,
    remedy: `remove that rule, or accept the packet before it${carries === undefined ? '' : `: ${carries.protocol} port ${carries.port}`}`,
  };
}

const hostOf = (ip: Ip): Prefix => prefixOf(ip, isIpv4(ip) ? 32 : 128);

const WAYS = {
  'forward-filter': 'forward',
  'arrival-filter': 'forward',
  'output-filter': 'output',
  'input-filter': 'input',
} as const satisfies Record<string, FilterWay>;
