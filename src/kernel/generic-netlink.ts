import { attributes, list, struct, text, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';

/** struct genlmsghdr of linux/genetlink.h */
export const GENERIC_HEADER = struct({ command: u8, version: u8, reserved: u16 });

const GROUP = attributes({ name: [1, text], id: [2, u32] });
const CONTROL = new MessageLayout(
  GENERIC_HEADER,
  attributes({
    id: [k.CTRL_ATTR_FAMILY_ID, u16],
    name: [k.CTRL_ATTR_FAMILY_NAME, text],
    groups: [k.CTRL_ATTR_MCAST_GROUPS, list(GROUP)],
  }),
);

/** A family of generic netlink, as this kernel has it since its last boot. */
export interface GenericFamily {
  /** nlmsg_type of its messages. */
  readonly id: number;
  /** Names of the groups in which it reports changes. */
  readonly groups: readonly string[];
}

/** Asks for a family by its name, which loads its module. Equals `genl ctrl get name NAME`. */
export const familyQuery = (name: string): Request =>
  CONTROL.request(k.GENL_ID_CTRL, 0, { command: k.CTRL_CMD_GETFAMILY, version: 1 }, { name });

export function readFamily(message: Message): GenericFamily | undefined {
  const { id, groups = [] } = CONTROL.read(message)?.values ?? {};
  return id === undefined ? undefined : { id, groups: groups.flatMap(({ name }) => name ?? []) };
}
