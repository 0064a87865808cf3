import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/** A forwarding entry of a bridge: frames for this MAC go out by that device. A MAC has one entry in each bridge, and
 * in each VLAN of one that filters them. */
export interface BridgeFdbEntry {
  readonly kind: 'bridge-fdb';
  readonly mac: Mac;
  readonly bridge: string;
  /** The device in the bridge by which frames go out. */
  readonly device: string;
  /** In which of the bridge's VLANs, where it filters them. */
  readonly vlan?: number;
  /** NUD_NOARP: put there, and not learnt. The entry of a device's own MAC is found as not static. */
  readonly static: boolean;
}

const inVlan = (vlan: number | undefined): string => (vlan === undefined ? '' : ` vlan ${vlan}`);

const format = ({ mac, bridge, device, vlan, static: isStatic }: BridgeFdbEntry): string =>
  `${mac} dev ${device} master ${bridge}${inVlan(vlan)}${isStatic ? ' static' : ''}`;

/** As `bridge` takes it: it finds the bridge by the device. */
const words = ({ mac, device, vlan }: BridgeFdbEntry): string => `${mac} dev ${device} master${inVlan(vlan)}`;

export const BRIDGE_FDB = kindOf<BridgeFdbEntry>({
  name: 'bridge-fdb',
  rank: 4,
  key: ({ mac, bridge, vlan }) => `bridge-fdb ${mac} master ${bridge}${inVlan(vlan)}`,
  sharesSlot: (a, b) => a.mac === b.mac && a.bridge === b.bridge && a.vlan === b.vlan,
  hash: ({ mac }) => mac,
  differences: (wanted, found) =>
    new Differences().field('dev', wanted.device, found.device).field('static', wanted.static, found.static)
      .texts,
  isAsWanted: (wanted, found) => wanted.device === found.device && wanted.static === found.static,
  isTarget: (found, named) => found.device === named.device,
  deviceOf: ({ device }) => device,
  devicesNeeded: ({ device, bridge }) => [device, bridge],
  format,
  command: (verb, entry) =>
    verb === 'remove' ? `bridge fdb del ${words(entry)}` : `bridge fdb ${verb} ${words(entry)} static`,
});
