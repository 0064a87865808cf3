import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';
import type { Operation } from '#src/state/operation.ts';

/** A device of a bridge that filters VLANs, or the bridge itself, is in this VLAN. */
export interface BridgeVlan {
  readonly kind: 'bridge-vlan';
  readonly device: string;
  /** 1 to 4094 (IEEE 802.1Q). */
  readonly vlan: number;
  /** Frames come in and go out without a tag. */
  readonly untagged: boolean;
  /** The VNI of its frames in a tunnel: the device has `vlan_tunnel on`. */
  readonly vni?: number;
  /** Only in what is wanted, for the command: the device is the bridge itself. */
  readonly self?: true;
}

const place = ({ device, vlan, self }: BridgeVlan): string =>
  `dev ${device} vid ${vlan}${self ? ' self' : ''}`;

function format(entry: BridgeVlan): string {
  const { untagged, vni } = entry;
  return `${place(entry)}${untagged ? ' pvid untagged' : ''}${vni === undefined ? '' : ` tunnel_info id ${vni}`}`;
}

const isAsWanted = (wanted: BridgeVlan, found: BridgeVlan): boolean =>
  wanted.untagged === found.untagged && wanted.vni === found.vni;

/** The kernel gives a VLAN that is there other flags, and a VNI, but refuses to change the VNI that it has. */
function operations(wanted: BridgeVlan, found: BridgeVlan | undefined): Operation<BridgeVlan>[] {
  const add: Operation<BridgeVlan> = { verb: 'add', object: wanted };
  return found?.vni === undefined ? [add] : [{ verb: 'remove', object: found }, add];
}

export const BRIDGE_VLAN = kindOf<BridgeVlan>({
  name: 'bridge-vlan',
  rank: 2,
  key: ({ device, vlan }) => `bridge-vlan ${vlan} dev ${device}`,
  sharesSlot: (a, b) => a.vlan === b.vlan && a.device === b.device,
  hash: ({ device, vlan }) => `${vlan} ${device}`,
  differences: (wanted, found) =>
    new Differences()
      .field('untagged', wanted.untagged, found.untagged)
      .field('tunnel id', wanted.vni ?? 'none', found.vni ?? 'none').texts,
  isAsWanted,
  operations,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, entry) => (verb === 'remove' ? `bridge vlan del ${place(entry)}` : commandOfAdd(entry)),
});

/** `bridge` has the VLAN and its VNI in two commands. */
function commandOfAdd(entry: BridgeVlan): string {
  const { device, vlan, untagged, vni } = entry;
  const add = `bridge vlan add ${place(entry)}${untagged ? ' pvid untagged' : ''}`;
  return vni === undefined
    ? add
    : `${add} && bridge vlan add dev ${device} vid ${vlan} tunnel_info id ${vni}`;
}
