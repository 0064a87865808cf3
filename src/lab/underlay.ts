import { formatIpv4, type Ipv4, ipv4 } from '#src/lib/ip.ts';

/** `l2`: all hosts on one bridge. `l3`: each host in a subnet of its own, a router between them. */
export type UnderlayKind = 'l2' | 'l3';

/**
 * On one link each host learns the link address of each other one, in a table that all namespaces of the machine share
 * and that ends at 1,024 by default (net.ipv4.neigh.default.gc_thresh3): 33 hosts fill it. Behind a router each
 * learns one.
 */
const MAX_HOSTS_ON_L2 = 30;

/** The default underlay for this number of hosts. */
export const underlayFor = (hosts: number): UnderlayKind => (hosts <= MAX_HOSTS_ON_L2 ? 'l2' : 'l3');

export interface UnderlayPlan {
  readonly kind: UnderlayKind;
  /** Address of the place with number 0. */
  readonly base: Ipv4;
  readonly mtu: number;
}

/** A host's place on the underlay: its address, and the `ip -batch` lines that connect it. */
export interface Place {
  readonly address: string;
  /** For the namespace of the bridge or router. */
  readonly wire: readonly string[];
  /** For the host's namespace. */
  readonly host: readonly string[];
}

/**
 * The `ip -batch` lines that make the bridge, which is the hosts' default gateway as well:
 *
 *     l2   h1 .191 ── br0 ── .192 h2          one /16, base 172.16.70.190
 *     l3   h1 .71.190 ── .71.1 router .72.1 ── .72.190 h2          a /24 each
 */
export function underlayLines(plan: UnderlayPlan): string[] {
  if (plan.kind === 'l3') return ['link set lo up'];
  const gateway = formatIpv4(gatewayOf(plan.base));
  return [
    'link set lo up',
    `link add br0 mtu ${plan.mtu} type bridge`,
    `addr add ${gateway}/16 dev br0`,
    'link set br0 up',
  ];
}

/** Where the host with this number goes: base + number in one /16, or the same last byte in a /24 further on. */
export function placeOf(plan: UnderlayPlan, name: string, number: number, namespace: string): Place {
  const address = ipv4(plan.base + (plan.kind === 'l2' ? number : number * 256));
  const text = formatIpv4(address);
  const gateway = formatIpv4(gatewayOf(plan.kind === 'l2' ? plan.base : address));
  return {
    address: text,
    wire: [
      `link add ${name} mtu ${plan.mtu} type veth peer name eth0 mtu ${plan.mtu} netns ${namespace}`,
      plan.kind === 'l2' ? `link set ${name} master br0` : `addr add ${gateway}/24 dev ${name}`,
      `link set ${name} up`,
    ],
    host: [
      `addr add ${text}/${plan.kind === 'l2' ? 16 : 24} dev eth0`,
      'link set eth0 up',
      `route add default via ${gateway}`,
    ],
  };
}

const gatewayOf = (address: Ipv4): Ipv4 => ipv4(((address >>> 8) << 8) + 1);
