import { kindOf } from '#src/state/kind.ts';

/**
 * What a bridge does with frames of one device in it (IFLA_BRPORT_* of linux/if_link.h). The kernel makes it when the
 * device is put into a bridge, and only fields that are set are wanted of it.
 */
export interface BridgePort {
  readonly kind: 'bridge-port';
  readonly device: string;
  /** Only in what was found: BR_STATE_* of linux/if_bridge.h. 3 is forwarding, 4 blocking. */
  readonly state?: number;
  /** Source addresses of what comes in become forwarding entries. */
  readonly learning?: boolean;
  /** ARP and ND for what is behind the device are answered from the bridge's neighbours, and not sent to it. */
  readonly neighSuppress?: boolean;
  /** Frames to a MAC without an entry go out here, too. */
  readonly flood?: boolean;
  readonly mcastFlood?: boolean;
  readonly bcastFlood?: boolean;
  /** Only frames from a MAC that has an entry on this device come in (Linux 5.18). */
  readonly locked?: boolean;
  /** A frame's VLAN and the VNI of its tunnel follow from each other. */
  readonly vlanTunnel?: boolean;
  /** A frame may go out where it came in. */
  readonly hairpin?: boolean;
  /** No frames to other devices that are isolated. */
  readonly isolated?: boolean;
}

export type BridgePortFlag = Exclude<keyof BridgePort, 'kind' | 'device' | 'state'>;

/** Each with iproute2's name for it. */
const FLAGS: readonly (readonly [flag: BridgePortFlag, name: string])[] = [
  ['learning', 'learning'],
  ['neighSuppress', 'neigh_suppress'],
  ['flood', 'flood'],
  ['mcastFlood', 'mcast_flood'],
  ['bcastFlood', 'bcast_flood'],
  ['locked', 'locked'],
  ['hairpin', 'hairpin'],
  ['isolated', 'isolated'],
  ['vlanTunnel', 'vlan_tunnel'],
];

const onOff = (value: boolean | undefined): string => (value ? 'on' : 'off');

/** A flag that this kernel does not have is left alone. */
const differs = (flag: BridgePortFlag, wanted: BridgePort, found: BridgePort): boolean =>
  wanted[flag] !== undefined && found[flag] !== undefined && wanted[flag] !== found[flag];

function format(port: BridgePort): string {
  const words = ['dev', port.device];
  for (const [flag, name] of FLAGS) if (port[flag] !== undefined) words.push(name, onOff(port[flag]));
  return words.join(' ');
}

export const BRIDGE_PORT = kindOf<BridgePort>({
  name: 'bridge-port',
  rank: 1,
  isRemovable: false,
  key: ({ device }) => `bridge-port ${device}`,
  sharesSlot: (a, b) => a.device === b.device,
  hash: ({ device }) => device,
  differences: (wanted, found) =>
    FLAGS.filter(([flag]) => differs(flag, wanted, found)).map(
      ([flag, name]) => `${name}: ${onOff(found[flag])}, wanted ${onOff(wanted[flag])}`,
    ),
  isAsWanted: (wanted, found) => !FLAGS.some(([flag]) => differs(flag, wanted, found)),
  // A port in use is locked when the MAC behind it has its entry: its frames would be dropped in between.
  stage: ({ object }, found) => (found?.locked === false && object.locked === true ? 'last' : 'made'),
  // With the flag go the VNIs of all VLANs of the device (nbp_vlan_tunnel_info_flush of net/bridge/br_vlan_tunnel.c).
  takesAlong: (found, now) =>
    found?.vlanTunnel === true && now?.vlanTunnel === false ? ['bridge-vlan'] : undefined,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, port) =>
    verb === 'remove' ? `# nothing removes the flags of ${port.device}` : `bridge link set ${format(port)}`,
});
