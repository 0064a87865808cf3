import { formatIpv4, type Ipv4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/**
 * The settings of one network's fast path. With them its BPF maps are made, and they go with them: a network without
 * settings has no fast path.
 */
export interface FastPath {
  readonly kind: 'fast-path';
  /** The network's VXLAN device. Its name is the name of the whole set: settings, peers, containers and hooks. */
  readonly set: string;
  /** The device by which the outer packets come and go. */
  readonly underlay: string;
  /** This host's VTEP address: the source of outer packets. */
  readonly vtep: Ipv4;
  /** The VXLAN device's own MAC: the source of inner frames. */
  readonly mac: Mac;
  readonly vni: number;
  /** UDP port of the peers and of this host. */
  readonly port: number;
  /**
   * Milliseconds. A flow goes fast while a packet of it went through the host's rules less than this ago. 0 switches the
   * fast path off with the next packet, and everything else stays.
   */
  readonly freshMs: number;
  /** Whether TCP goes fast. Without nf_conntrack_tcp_be_liberal=1 it must not. */
  readonly tcp: boolean;
  /** Another number makes every flow go through the host's rules once more: the rules have changed. */
  readonly generation: number;
}

const format = ({ set, underlay, vtep, mac, vni, port, freshMs, tcp, generation }: FastPath): string =>
  `${set} via ${underlay} local ${formatIpv4(vtep)} address ${mac} id ${vni} dstport ${port} ` +
  `fresh ${freshMs} ms${tcp ? '' : ' notcp'} generation ${generation}`;

export const FAST_PATH = kindOf<FastPath>({
  name: 'fast-path',
  rank: 9,
  key: ({ set }) => `fast-path ${set}`,
  sharesSlot: (a, b) => a.set === b.set,
  hash: ({ set }) => set,
  differences: (wanted, found) =>
    new Differences()
      .field('via', wanted.underlay, found.underlay)
      .field('local', wanted.vtep, found.vtep, formatIpv4)
      .field('address', wanted.mac, found.mac)
      .field('id', wanted.vni, found.vni)
      .field('dstport', wanted.port, found.port)
      .field('fresh ms', wanted.freshMs, found.freshMs)
      .field('tcp', wanted.tcp, found.tcp)
      .field('generation', wanted.generation, found.generation).texts,
  // The maps outlive the device, but what they know of it is its ifindex.
  deviceOf: ({ set }) => set,
  devicesNeeded: ({ set, underlay }) => [set, underlay],
  format,
  command: (verb, object) => `# no program does this: fast path ${verb} ${format(object)}`,
});
