import {
  align4,
  attributes,
  type Codec,
  type FixedCodec,
  i32,
  LITTLE_ENDIAN,
  text,
  u32,
} from '#src/kernel/attributes.ts';
import {
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_REQUEST,
  NLMSG_ERROR,
  NLMSGERR_ATTR_MSG,
} from '#src/kernel/constants.ts';
import type { KernelError } from '#src/state/operation.ts';
import { errnoName, errnoText } from '#src/sys/errno.ts';

/** Bytes of struct nlmsghdr (linux/netlink.h): u32 length, u16 type, u16 flags, u32 sequence, u32 port */
export const MESSAGE_HEADER = 16;

/** A message to the kernel, but for its place in a conversation. */
export interface Request {
  readonly type: number;
  /** NLM_F_*, without NLM_F_REQUEST. */
  readonly flags: number;
  /** Bytes of the family's header and the attributes. */
  readonly size: number;
  /** Writes those into zeroed bytes: straight into the batch, for 50,000 messages are made at a time. */
  write(view: DataView, offset: number): void;
}

/** A message from the kernel. The view is on the receive buffer: read it before the next one is received. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly view: DataView;
  /** Where the body begins and how long it is. */
  readonly offset: number;
  readonly size: number;
}

/** A family's messages: its fixed header, and its attributes. */
export class MessageLayout<H, A> {
  readonly #header: FixedCodec<H>;
  readonly #attributes: Codec<A>;

  constructor(header: FixedCodec<H>, attributes: Codec<A>) {
    this.#header = header;
    this.#attributes = attributes;
  }

  request(type: number, flags: number, header: H, values: A): Request {
    const start = align4(this.#header.bytes);
    return {
      type,
      flags,
      size: start + this.#attributes.size(values),
      write: (view, offset) => {
        this.#header.write(view, offset, header);
        this.#attributes.write(view, offset + start, values);
      },
    };
  }

  /** `undefined` when the message is too short to have the header. */
  read({ view, offset, size }: Message): { readonly header: H; readonly values: A } | undefined {
    const header = this.#header.read(view, offset, size);
    if (header === undefined) return undefined;
    const start = align4(this.#header.bytes);
    const values = this.#attributes.read(view, offset + start, Math.max(0, size - start));
    return values === undefined ? undefined : { header, values };
  }
}

/**
 * The requests as one datagram, numbered from `first`. Flags in `lastFlags` go onto the last message only.
 */
export function encodeRequests(requests: readonly Request[], first: number, lastFlags = 0): Uint8Array {
  const bytes = new Uint8Array(requests.reduce((total, request) => total + sizeOf(request), 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  let sequence = first;
  for (const request of requests) {
    const last = sequence - first === requests.length - 1;
    view.setUint32(at, MESSAGE_HEADER + request.size, LITTLE_ENDIAN);
    view.setUint16(at + 4, request.type, LITTLE_ENDIAN);
    view.setUint16(at + 6, request.flags | NLM_F_REQUEST | (last ? lastFlags : 0), LITTLE_ENDIAN);
    view.setUint32(at + 8, sequence++, LITTLE_ENDIAN);
    request.write(view, at + MESSAGE_HEADER);
    at += sizeOf(request);
  }
  return bytes;
}

/** Bytes the request takes in a datagram. */
export const sizeOf = ({ size }: Request): number => MESSAGE_HEADER + align4(size);

/** The messages of a datagram, up to the first that does not fit into it. */
export function messagesIn(datagram: Uint8Array): Message[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const messages: Message[] = [];
  for (let at = 0; at + MESSAGE_HEADER <= datagram.length; ) {
    const length = view.getUint32(at, LITTLE_ENDIAN);
    if (length < MESSAGE_HEADER || at + length > datagram.length) break;
    messages.push({
      type: view.getUint16(at + 4, LITTLE_ENDIAN),
      flags: view.getUint16(at + 6, LITTLE_ENDIAN),
      sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
      view,
      offset: at + MESSAGE_HEADER,
      size: length - MESSAGE_HEADER,
    });
    at += align4(length);
  }
  return messages;
}

const EXTENDED_ACK = attributes({ message: [NLMSGERR_ATTR_MSG, text] });

/**
 * What an NLMSG_ERROR or NLMSG_DONE says: `undefined` when all went well (an acknowledgement). The kernel's own
 * words (NETLINK_EXT_ACK) come after the error's number and, in NLMSG_ERROR, after the refused message, of which
 * NETLINK_CAP_ACK leaves only the header.
 */
export function errorIn({ type, flags, view, offset, size }: Message): KernelError | undefined {
  const errno = -(i32.read(view, offset, size) ?? 0);
  if (errno === 0) return undefined;
  let start = i32.bytes;
  if (type === NLMSG_ERROR) {
    const refused = u32.read(view, offset + start, size - start) ?? MESSAGE_HEADER;
    // A length beyond the message, which may be 2^31 and more, leaves no room for words.
    start += (flags & NLM_F_CAPPED) !== 0 ? MESSAGE_HEADER : refused > size ? size : align4(refused);
  }
  const hasText = (flags & NLM_F_ACK_TLVS) !== 0 && start < size;
  const words = hasText ? EXTENDED_ACK.read(view, offset + start, size - start)?.message : undefined;
  return { errno: errnoName(errno), message: words ?? errnoText(errno) };
}
