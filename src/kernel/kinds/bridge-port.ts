import { attributes, bool, i32, struct, text, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec } from '#src/kernel/kind-codec.ts';
import { linkListOf } from '#src/kernel/kinds/link.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { BRIDGE_PORT, type BridgePort } from '#src/state/kinds/bridge-port.ts';
import type { Verb } from '#src/state/operation.ts';

/** struct ifinfomsg */
const HEADER = struct({ family: u8, pad: u8, type: u16, index: i32, flags: u32, change: u32 });

/** By the flags' names in {@link BridgePort}. */
const FLAGS = attributes({
  state: [k.IFLA_BRPORT_STATE, u8],
  hairpin: [k.IFLA_BRPORT_MODE, bool],
  learning: [k.IFLA_BRPORT_LEARNING, bool],
  flood: [k.IFLA_BRPORT_UNICAST_FLOOD, bool],
  mcastFlood: [k.IFLA_BRPORT_MCAST_FLOOD, bool],
  bcastFlood: [k.IFLA_BRPORT_BCAST_FLOOD, bool],
  neighSuppress: [k.IFLA_BRPORT_NEIGH_SUPPRESS, bool],
  vlanTunnel: [k.IFLA_BRPORT_VLAN_TUNNEL, bool],
  isolated: [k.IFLA_BRPORT_ISOLATED, bool],
  locked: [k.IFLA_BRPORT_LOCKED, bool],
});

/** Of family AF_BRIDGE. */
const MESSAGE = new MessageLayout(
  HEADER,
  attributes({ name: [k.IFLA_IFNAME, text], flags: [k.IFLA_PROTINFO, FLAGS] }),
);

/** The message about a device itself has the same flags. */
const DEVICE_MESSAGE = new MessageLayout(
  HEADER,
  attributes({
    name: [k.IFLA_IFNAME, text],
    info: [
      k.IFLA_LINKINFO,
      attributes({ kind: [k.IFLA_INFO_SLAVE_KIND, text], flags: [k.IFLA_INFO_SLAVE_DATA, FLAGS] }),
    ],
  }),
);

/** `bridge link show`. The kernel knows no filter here: one port is read from its device. */
const portDump = (): Request => MESSAGE.request(k.RTM_GETLINK, k.NLM_F_DUMP, { family: k.AF_BRIDGE }, {});

/** `bridge link set dev DEVICE learning off …` */
function portRequest(verb: Verb, port: BridgePort, names: DeviceNames): Request | 'unsupported' | undefined {
  if (verb !== 'replace') return 'unsupported';
  const index = names.indexOf(port.device);
  if (index === undefined) return undefined;
  return MESSAGE.request(k.RTM_SETLINK, 0, { family: k.AF_BRIDGE, index }, { flags: port });
}

/** An RTM_NEWLINK or RTM_DELLINK of AF_BRIDGE; `undefined` for those about the bridge itself. */
function readPort(message: Message): BridgePort | undefined {
  const read = MESSAGE.read(message);
  if (read === undefined || read.header.family !== k.AF_BRIDGE) return undefined;
  const { name, flags } = read.values;
  // A device that leaves its bridge has no flags any more.
  if (name === undefined || (flags === undefined && message.type !== k.RTM_DELLINK)) return undefined;
  return portOf(name, flags);
}

/** The answer to {@link linkListOf}; `undefined` for a device that is in no bridge. */
function readDevice(message: Message): BridgePort | undefined {
  const { name, info } = DEVICE_MESSAGE.read(message)?.values ?? {};
  return name === undefined || info?.kind !== 'bridge' ? undefined : portOf(name, info.flags);
}

function portOf(device: string, flags: Readonly<Record<string, unknown>> = {}): BridgePort {
  const { unknown: _, ...known } = flags;
  return { kind: 'bridge-port', device, ...(known as Partial<BridgePort>) };
}

export const BRIDGE_PORT_CODEC: KindCodec<BridgePort> = {
  kind: BRIDGE_PORT,
  groups: [k.RTNLGRP_LINK],
  changed: k.RTM_NEWLINK,
  removed: k.RTM_DELLINK,
  // Links come in messages of the same types.
  isEchoHeard: true,
  endsBatch: false,
  dumps: ({ index }) =>
    index === undefined
      ? [{ request: portDump(), read: readPort }]
      : [{ request: linkListOf(index), read: readDevice }],
  read: readPort,
  encode: ({ verb, object }, names) => portRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
