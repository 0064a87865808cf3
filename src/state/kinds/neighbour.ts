import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** A permanent ARP or ND entry. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly ip: Ip;
  readonly mac: Mac;
  readonly device: string;
  /** NUD_PERMANENT. Other states are the kernel's own business: they are only ever found, never wanted. */
  readonly permanent: boolean;
}

const format = ({ ip, mac, device, permanent }: Neighbour): string =>
  `${formatIp(ip)} lladdr ${mac} dev ${device}${permanent ? ' nud permanent' : ''}`;

export const NEIGHBOUR = kindOf<Neighbour>({
  name: 'neighbour',
  rank: 5,
  key: ({ ip, device }) => `neighbour ${formatIp(ip)} dev ${device}`,
  sharesSlot: (a, b) => a.ip === b.ip && a.device === b.device,
  hash: ({ ip }) => addressHash(ip),
  differences: (wanted, found) =>
    new Differences()
      .field('lladdr', wanted.mac, found.mac)
      .field('permanent', wanted.permanent, found.permanent).texts,
  isAsWanted: (wanted, found) => wanted.mac === found.mac && wanted.permanent === found.permanent,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, neighbour) =>
    verb === 'remove'
      ? `ip neigh del ${format({ ...neighbour, permanent: false })}`
      : `ip neigh ${verb} ${format(neighbour)}`,
});
