import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/** A VXLAN forwarding entry: frames for this MAC go to that VTEP. */
export interface FdbEntry {
  readonly kind: 'fdb';
  readonly mac: Mac;
  readonly destination: Ip;
  readonly device: string;
  readonly permanent: boolean;
  /** Of which of the device's networks, where it has several (`vnifilter`). */
  readonly vni?: number;
  /** The outer packets leave by this device, whatever the routes say; absent where the routes decide. */
  readonly via?: string;
}

const ofVni = (vni: number | undefined): string => (vni === undefined ? '' : ` src_vni ${vni}`);
const by = (via: string | undefined): string => (via === undefined ? '' : ` via ${via}`);

const format = ({ mac, device, destination, permanent, vni, via }: FdbEntry): string =>
  `${mac} dev ${device} dst ${formatIp(destination)}${ofVni(vni)}${by(via)} self${permanent ? ' permanent' : ''}`;

export const FDB = kindOf<FdbEntry>({
  name: 'fdb',
  rank: 3,
  key: ({ mac, device, vni }) => `fdb ${mac} dev ${device}${ofVni(vni)}`,
  sharesSlot: (a, b) => a.mac === b.mac && a.device === b.device && a.vni === b.vni,
  hash: ({ mac }) => mac,
  differences: (wanted, found) =>
    new Differences()
      .field('dst', wanted.destination, found.destination, formatIp)
      .field('permanent', wanted.permanent, found.permanent)
      // That there is none is wanted, too.
      .field('via', wanted.via ?? 'any', found.via ?? 'any').texts,
  isAsWanted: (wanted, found) =>
    wanted.destination === found.destination &&
    wanted.permanent === found.permanent &&
    wanted.via === found.via,
  isTarget: (found, named) => found.destination === named.destination,
  deviceOf: ({ device }) => device,
  devicesNeeded: ({ device, via }) => (via === undefined ? [device] : [device, via]),
  format,
  command: (verb, entry) =>
    verb === 'remove'
      ? `bridge fdb del ${format({ ...entry, permanent: false })}`
      : `bridge fdb ${verb} ${format(entry)}`,
});
