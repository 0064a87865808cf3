import { attributes, type Codec, type FixedCodec, struct, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { KindCodec } from '#src/kernel/kind-codec.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { FAMILY_NUMBERS, familyNumberOf, prefixOf } from '#src/kernel/verbs.ts';
import { type Ip, ipv4, ipv6, isIpv4, type Prefix } from '#src/lib/ip.ts';
import {
  type EspTunnel,
  type PolicyDirection,
  XFRM_POLICY,
  type XfrmPolicy,
} from '#src/state/kinds/xfrm-policy.ts';
import type { Verb } from '#src/state/operation.ts';

const DIRECTIONS: Readonly<Record<PolicyDirection, number>> = {
  in: k.XFRM_POLICY_IN,
  out: k.XFRM_POLICY_OUT,
  fwd: k.XFRM_POLICY_FWD,
};
const directionOf = (number: number): PolicyDirection | undefined =>
  number === k.XFRM_POLICY_IN
    ? 'in'
    : number === k.XFRM_POLICY_OUT
      ? 'out'
      : number === k.XFRM_POLICY_FWD
        ? 'fwd'
        : undefined;

/** xfrm_address_t: 16 bytes, of which an IPv4 address takes the first four. Which one it is stands elsewhere. */
function writeAddress(view: DataView, at: number, ip: Ip): void {
  if (isIpv4(ip)) {
    view.setUint32(at, ip);
    return;
  }
  view.setBigUint64(at, ip >> 64n);
  view.setBigUint64(at + 8, BigInt.asUintN(64, ip));
}

function readAddress(view: DataView, at: number, family: number): Ip | undefined {
  if (family === k.AF_INET) return ipv4(view.getUint32(at));
  if (family !== k.AF_INET6) return undefined;
  return ipv6((view.getBigUint64(at) << 64n) | view.getBigUint64(at + 8));
}

type Slot = Pick<XfrmPolicy, 'direction' | 'source' | 'destination'>;
type Info = Slot & Pick<XfrmPolicy, 'action' | 'priority'>;

/** struct xfrm_selector: destination, source, ports and their masks, family, prefix lengths, protocol, device, user. */
const SELECTOR_BYTES = 56;
const FAMILY_AT = 40;

function writeSelector(view: DataView, at: number, { source, destination }: Slot): void {
  writeAddress(view, at, destination.address);
  writeAddress(view, at + 16, source.address);
  u16.write(view, at + FAMILY_AT, FAMILY_NUMBERS[destination.family]);
  u8.write(view, at + 42, destination.length);
  u8.write(view, at + 43, source.length);
}

/** `undefined` for a policy of some ports, a protocol, a device or a user: no such policy is weft's. */
function readSelector(view: DataView, at: number): { source: Prefix; destination: Prefix } | undefined {
  for (const narrower of [32, 36, 48, 52]) if (view.getUint32(at + narrower) !== 0) return undefined;
  if (view.getUint8(at + 44) !== 0) return undefined;
  const family = u16.read(view, at + FAMILY_AT, 2);
  const [to, from] = [readAddress(view, at, family ?? 0), readAddress(view, at + 16, family ?? 0)];
  const destination = to === undefined ? undefined : prefixOf(to, view.getUint8(at + 42));
  const source = from === undefined ? undefined : prefixOf(from, view.getUint8(at + 43));
  return destination && source && { source, destination };
}

/** struct xfrm_userpolicy_id: the selector, the kernel's number of the policy, the direction. */
const ID: FixedCodec<Slot | undefined> = {
  bytes: 64,
  size: () => 64,
  write(view, at, slot) {
    if (slot === undefined) return;
    writeSelector(view, at, slot);
    u8.write(view, at + 60, DIRECTIONS[slot.direction]);
  },
  // What a removal names stands in an attribute as well, where all of it is.
  read: () => undefined,
};

/** All ones: a policy lasts for as many bytes and packets as come. */
const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/**
 * struct xfrm_userpolicy_info: the selector; limits in bytes, packets and seconds; what was used of them; priority, the
 * kernel's number, direction, action, flags, share.
 */
const INFO: FixedCodec<Info | undefined> = {
  bytes: 168,
  size: () => 168,
  write(view, at, info) {
    if (info === undefined) return;
    writeSelector(view, at, info);
    for (let limit = 0; limit < 4; limit++) view.setBigUint64(at + SELECTOR_BYTES + 8 * limit, UNLIMITED);
    u32.write(view, at + 152, info.priority);
    u8.write(view, at + 160, DIRECTIONS[info.direction]);
    u8.write(view, at + 161, info.action === 'block' ? k.XFRM_POLICY_BLOCK : k.XFRM_POLICY_ALLOW);
  },
  read(view, at, size) {
    if (size < this.bytes) return undefined;
    const selector = readSelector(view, at);
    // Policies of single sockets have directions beyond these three.
    const direction = directionOf(view.getUint8(at + 160));
    if (selector === undefined || direction === undefined) return undefined;
    const action = view.getUint8(at + 161) === k.XFRM_POLICY_BLOCK ? 'block' : 'allow';
    return { direction, ...selector, action, priority: u32.read(view, at + 152, 4) ?? 0 };
  },
};

/** struct xfrm_user_tmpl. */
const TEMPLATE_BYTES = 64;
const ALL_ALGORITHMS = 0xffff_ffff;

/** XFRMA_TMPL, a row of templates: the tunnel, or in words what is no tunnel of weft's kind. */
const TEMPLATES: Codec<EspTunnel | string> = {
  size: () => TEMPLATE_BYTES,
  write(view, at, tunnel) {
    if (typeof tunnel === 'string') return;
    writeAddress(view, at, tunnel.destination);
    u8.write(view, at + 20, k.IPPROTO_ESP);
    u16.write(view, at + 24, familyNumberOf(tunnel.destination));
    writeAddress(view, at + 28, tunnel.source);
    u32.write(view, at + 44, tunnel.requestId);
    u8.write(view, at + 48, k.XFRM_MODE_TUNNEL);
    for (const algorithms of [52, 56, 60]) u32.write(view, at + algorithms, ALL_ALGORITHMS);
  },
  read(view, at, size) {
    if (size !== TEMPLATE_BYTES) return `${Math.floor(size / TEMPLATE_BYTES)} templates`;
    const family = u16.read(view, at + 24, 2) ?? 0;
    const [destination, source] = [readAddress(view, at, family), readAddress(view, at + 28, family)];
    const [protocol, mode] = [view.getUint8(at + 20), view.getUint8(at + 48)];
    const [spi, isOptional] = [view.getUint32(at + 16), view.getUint8(at + 50) !== 0];
    const requestId = u32.read(view, at + 44, 4) ?? 0;
    const isOurs = protocol === k.IPPROTO_ESP && mode === k.XFRM_MODE_TUNNEL && spi === 0 && !isOptional;
    if (isOurs && destination !== undefined && source !== undefined)
      return { source, destination, requestId };
    return `tmpl proto ${protocol} spi ${spi} reqid ${requestId} mode ${mode}${isOptional ? ' level use' : ''}`;
  },
};

const MARK = struct({ value: u32, mask: u32 });

const ATTRIBUTES = attributes({
  template: [k.XFRMA_TMPL, TEMPLATES],
  policy: [k.XFRMA_POLICY, INFO],
  // What makes it another slot, none of ours: a mark, an XFRM interface, the type "sub".
  mark: [k.XFRMA_MARK, MARK],
  interfaceId: [k.XFRMA_IF_ID, u32],
  type: [k.XFRMA_POLICY_TYPE, u8],
});

const BY_INFO = new MessageLayout(INFO, ATTRIBUTES);
const BY_ID = new MessageLayout(ID, ATTRIBUTES);

/** `ip xfrm policy add|update|delete …` */
function policyRequest(verb: Verb, policy: XfrmPolicy): Request | 'unsupported' {
  if (verb === 'set' || policy.other !== undefined) return 'unsupported';
  if (verb === 'remove') return BY_ID.request(k.XFRM_MSG_DELPOLICY, 0, policy, {});
  // The kernel takes the one for an addition that fails where there is one, the other for one that replaces.
  const type = verb === 'add' ? k.XFRM_MSG_NEWPOLICY : k.XFRM_MSG_UPDPOLICY;
  return BY_INFO.request(type, 0, policy, { template: policy.tunnel });
}

/** The policy that a message of any of the types describes. */
function readPolicy(message: Message): XfrmPolicy | undefined {
  const { header, values } = readParts(message) ?? {};
  if (header === undefined || values === undefined) return undefined;
  if ((values.mark?.mask ?? 0) !== 0 || (values.interfaceId ?? 0) !== 0) return undefined;
  const { template } = values;
  return {
    kind: 'xfrm-policy',
    ...header,
    ...(typeof template === 'string' ? { other: template } : template && { tunnel: template }),
  };
}

function readParts(message: Message) {
  if (message.type !== k.XFRM_MSG_DELPOLICY) return BY_INFO.read(message);
  // Its header is an identity, of which the codec reads nothing.
  const { view, offset, size } = message;
  if (size < ID.bytes) return undefined;
  const values = ATTRIBUTES.read(view, offset + ID.bytes, size - ID.bytes);
  return { header: values?.policy, values };
}

/** XFRMA_POLICY_TYPE is struct xfrm_userpolicy_type; only "main", 0, is in the lists that weft asks for. */
export const XFRM_POLICY_CODEC: KindCodec<XfrmPolicy, XfrmPolicy | undefined> = {
  kind: XFRM_POLICY,
  groups: [k.XFRMNLGRP_POLICY],
  changed: k.XFRM_MSG_NEWPOLICY,
  removed: k.XFRM_MSG_DELPOLICY,
  isEchoHeard: false,
  endsBatch: false,
  dumps: () => [
    { request: BY_ID.request(k.XFRM_MSG_GETPOLICY, k.NLM_F_DUMP, undefined, {}), read: readPolicy },
  ],
  read: readPolicy,
  encode: ({ verb, object }) => policyRequest(verb, object),
  missingDevice: () => undefined,
};
