import { formatIpv4, formatPrefix, type Ipv4, type Prefix4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** A peer of the fast path: packets to its subnet may go fast, and packets from it only when they come from its VTEP. */
export interface FastPeer {
  readonly kind: 'fast-peer';
  /** The network's VXLAN device: see `FastPath`. */
  readonly set: string;
  readonly subnet: Prefix4;
  /** The peer's outer address. */
  readonly vtep: Ipv4;
  /** The MAC of the peer's VXLAN device. */
  readonly mac: Mac;
}

const format = ({ set, subnet, vtep, mac }: FastPeer): string =>
  `${formatPrefix(subnet)} in ${set} lladdr ${mac} dst ${formatIpv4(vtep)}`;

export const FAST_PEER = kindOf<FastPeer>({
  name: 'fast-peer',
  rank: 10,
  key: ({ set, subnet }) => `fast-peer ${formatPrefix(subnet)} in ${set}`,
  sharesSlot: (a, b) =>
    a.subnet.address === b.subnet.address && a.subnet.length === b.subnet.length && a.set === b.set,
  hash: ({ subnet }) => addressHash(subnet.address),
  differences: (wanted, found) =>
    new Differences().field('lladdr', wanted.mac, found.mac).field('dst', wanted.vtep, found.vtep, formatIpv4)
      .texts,
  isAsWanted: (wanted, found) => wanted.mac === found.mac && wanted.vtep === found.vtep,
  deviceOf: () => undefined,
  format,
  command: (verb, object) => `# no program does this: fast path ${verb} peer ${format(object)}`,
});
