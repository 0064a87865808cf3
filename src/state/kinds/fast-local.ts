import { formatIpv4, type Ipv4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** A container of this host whose packets may go fast. */
export interface FastLocal {
  readonly kind: 'fast-local';
  /** The network's VXLAN device: see `FastPath`. */
  readonly set: string;
  readonly ip: Ipv4;
  /** The host's end of the container's veth pair. Packets with this source are believed from there only. */
  readonly device: string;
  /** The MAC of the container's end. */
  readonly mac: Mac;
}

const format = ({ set, ip, device, mac }: FastLocal): string =>
  `${formatIpv4(ip)} in ${set} lladdr ${mac} dev ${device}`;

export const FAST_LOCAL = kindOf<FastLocal>({
  name: 'fast-local',
  rank: 10,
  key: ({ set, ip }) => `fast-local ${formatIpv4(ip)} in ${set}`,
  sharesSlot: (a, b) => a.ip === b.ip && a.set === b.set,
  hash: ({ ip }) => addressHash(ip),
  differences: (wanted, found) =>
    new Differences().field('lladdr', wanted.mac, found.mac).field('dev', wanted.device, found.device).texts,
  isAsWanted: (wanted, found) => wanted.mac === found.mac && wanted.device === found.device,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, object) => `# no program does this: fast path ${verb} container ${format(object)}`,
});
