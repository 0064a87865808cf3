import { endianness } from 'node:os';
import { NLA_F_NESTED, NLA_TYPE_MASK } from '#src/kernel/constants.ts';
import { type Ip, ipv4, ipv6, isIpv4 } from '#src/lib/ip.ts';
import { type Mac, macFromBytes, macToBytes } from '#src/lib/mac.ts';

/**
 * netlink uses the machine's own byte order, except for values that go onto the wire unchanged
 * (ports).
 */
export const LITTLE_ENDIAN = endianness() === 'LE';

/** How one value lies in bytes. */
export interface Codec<T> {
  /** Bytes the value takes, without padding. */
  size(value: T): number;
  write(view: DataView, offset: number, value: T): void;
  /** `undefined` when the bytes are not of this shape. Reads no further than `offset + size`. */
  read(view: DataView, offset: number, size: number): T | undefined;
  /** The payload is attributes itself: NLA_F_NESTED is set. */
  readonly nested?: true;
}

/** A codec whose every value takes as much. A newer kernel may send more: the rest is ignored. */
export interface FixedCodec<T> extends Codec<T> {
  readonly bytes: number;
}

function fixed<T>(
  bytes: number,
  read: (view: DataView, offset: number) => T,
  write: (view: DataView, offset: number, value: T) => void,
): FixedCodec<T> {
  return {
    bytes,
    size: () => bytes,
    write,
    read: (view, offset, size) => (size < bytes ? undefined : read(view, offset)),
  };
}

export const u8 = fixed(
  1,
  (view, at) => view.getUint8(at),
  (view, at, value: number) => view.setUint8(at, value),
);
export const u16 = fixed(
  2,
  (view, at) => view.getUint16(at, LITTLE_ENDIAN),
  (view, at, value: number) => view.setUint16(at, value, LITTLE_ENDIAN),
);
export const u32 = fixed(
  4,
  (view, at) => view.getUint32(at, LITTLE_ENDIAN),
  (view, at, value: number) => view.setUint32(at, value, LITTLE_ENDIAN),
);
export const i32 = fixed(
  4,
  (view, at) => view.getInt32(at, LITTLE_ENDIAN),
  (view, at, value: number) => view.setInt32(at, value, LITTLE_ENDIAN),
);
/** __be16 */
export const u16be = fixed(
  2,
  (view, at) => view.getUint16(at),
  (view, at, value: number) => view.setUint16(at, value),
);
/** __be32 */
export const u32be = fixed(
  4,
  (view, at) => view.getUint32(at),
  (view, at, value: number) => view.setUint32(at, value),
);
/** A __u8 that is 0 or 1. */
export const bool = fixed(
  1,
  (view, at) => view.getUint8(at) !== 0,
  (view, at, value: boolean) => view.setUint8(at, value ? 1 : 0),
);

/** NLA_FLAG: there or not, without a payload. */
export const flag: Codec<true> = { size: () => 0, write() {}, read: () => true };

/** A NUL-terminated string; the kernel takes and sends no more than the interface's name in it. */
export const text: Codec<string> = {
  size: (value) => Buffer.byteLength(value) + 1,
  write(view, offset, value) {
    bytesOf(view, offset, Buffer.byteLength(value)).write(value);
  },
  read(view, offset, size) {
    const bytes = bytesOf(view, offset, size);
    const end = bytes.indexOf(0);
    return bytes.toString('utf8', 0, end < 0 ? size : end);
  },
};

/** Bytes as they are, in a copy. */
export const bytes: Codec<Uint8Array> = {
  size: (value) => value.length,
  write: (view, offset, value) => bytesOf(view, offset, value.length).set(value),
  read: (view, offset, size) => Uint8Array.from(bytesOf(view, offset, size)),
};

/** An address of either family: its length says which. */
export const ip: Codec<Ip> = {
  size: (value) => (isIpv4(value) ? 4 : 16),
  write(view, offset, value) {
    if (isIpv4(value)) {
      view.setUint32(offset, value);
    } else {
      view.setBigUint64(offset, value >> 64n);
      view.setBigUint64(offset + 8, BigInt.asUintN(64, value));
    }
  },
  read(view, offset, size) {
    if (size === 4) return ipv4(view.getUint32(offset));
    if (size === 16) return ipv6((view.getBigUint64(offset) << 64n) | view.getBigUint64(offset + 8));
    return undefined;
  },
};

/** An Ethernet address; those of other link types have other lengths and are not read. */
export const mac: Codec<Mac> = {
  size: () => 6,
  write(view, offset, value) {
    for (const octet of macToBytes(value)) view.setUint8(offset++, octet);
  },
  read: (view, offset, size) => (size === 6 ? macFromBytes(bytesOf(view, offset, 6)) : undefined),
};

/** A row of attributes of one form, whose numbers mean nothing: the kernel's arrays. An element of another form is left out. */
export function list<T>(element: Codec<T>): Codec<readonly T[]> {
  const sizeOf = (value: T): number => ATTRIBUTE_HEADER + element.size(value);
  return {
    nested: true,
    size: (values) => values.reduce((total, value) => total + align4(sizeOf(value)), 0),
    write(view, offset, values) {
      let at = offset;
      for (const value of values) {
        u16.write(view, at, sizeOf(value));
        u16.write(view, at + 2, element.nested ? NLA_F_NESTED : 0);
        element.write(view, at + ATTRIBUTE_HEADER, value);
        at += align4(sizeOf(value));
      }
    },
    read(view, offset, size) {
      const values: T[] = [];
      const end = offset + size;
      for (let at = offset; at + ATTRIBUTE_HEADER <= end; ) {
        const length = view.getUint16(at, LITTLE_ENDIAN);
        if (length < ATTRIBUTE_HEADER || at + length > end) break;
        const value = element.read(view, at + ATTRIBUTE_HEADER, length - ATTRIBUTE_HEADER);
        if (value !== undefined) values.push(value);
        at += align4(length);
      }
      return values;
    },
  };
}

type ValueOf<C> = C extends Codec<infer T> ? T : never;

/** A C struct without holes: padding is a field, too. What is not given is written as 0. */
export function struct<const F extends Readonly<Record<string, FixedCodec<number>>>>(
  fields: F,
): FixedCodec<{ readonly [K in keyof F]?: number }> {
  let bytes = 0;
  const placed = Object.entries(fields).map(([name, codec]) => {
    const at = bytes;
    bytes += codec.bytes;
    return { name, codec, at };
  });
  return fixed(
    bytes,
    (view, offset) => {
      const value: Record<string, number | undefined> = {};
      for (const { name, codec, at } of placed) value[name] = codec.read(view, offset + at, codec.bytes);
      return value as { readonly [K in keyof F]?: number };
    },
    (view, offset, value) => {
      for (const { name, codec, at } of placed) codec.write(view, offset + at, value[name] ?? 0);
    },
  );
}

/** An attribute that no layout names, as it came. */
export interface UnknownAttribute {
  /** With its flags. */
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** Names for a family's attributes: number and form of each. */
export type Layout = Readonly<Record<string, readonly [type: number, codec: Codec<unknown>]>>;
export type Values<L extends Layout> = { readonly [K in keyof L]?: ValueOf<L[K][1]> | undefined } & {
  readonly unknown?: readonly UnknownAttribute[];
};

/** struct nlattr: u16 length with these four bytes, u16 type */
const ATTRIBUTE_HEADER = 4;
export const align4 = (size: number): number => (size + 3) & ~3;

/**
 * A row of attributes (linux/netlink.h, struct nlattr), written in the layout's order. Reading stops at the first one
 * that does not fit; one that is not of its named form, or has no name, is kept as it is.
 */
export function attributes<const L extends Layout>(layout: L): Codec<Values<L>> {
  const named = Object.entries(layout).map(([name, [type, codec]]) => ({ name, type, codec }));
  const byType = new Map(named.map((attribute) => [attribute.type, attribute]));
  return {
    nested: true,
    size(values) {
      let size = 0;
      for (const { name, codec } of named) {
        const value = values[name];
        if (value !== undefined) size += ATTRIBUTE_HEADER + align4(codec.size(value));
      }
      for (const { bytes } of values.unknown ?? []) size += ATTRIBUTE_HEADER + align4(bytes.length);
      return size;
    },
    write(view, offset, values) {
      let at = offset;
      for (const { name, type, codec } of named) {
        const value = values[name];
        if (value === undefined) continue;
        const size = codec.size(value);
        u16.write(view, at, ATTRIBUTE_HEADER + size);
        u16.write(view, at + 2, codec.nested ? type | NLA_F_NESTED : type);
        codec.write(view, at + ATTRIBUTE_HEADER, value);
        at += ATTRIBUTE_HEADER + align4(size);
      }
      for (const { type, bytes } of values.unknown ?? []) {
        u16.write(view, at, ATTRIBUTE_HEADER + bytes.length);
        u16.write(view, at + 2, type);
        bytesOf(view, at + ATTRIBUTE_HEADER, bytes.length).set(bytes);
        at += ATTRIBUTE_HEADER + align4(bytes.length);
      }
    },
    read(view, offset, size) {
      const values: Record<string, unknown> = {};
      const unknown: UnknownAttribute[] = [];
      const end = offset + size;
      for (let at = offset; at + ATTRIBUTE_HEADER <= end; ) {
        const length = view.getUint16(at, LITTLE_ENDIAN);
        if (length < ATTRIBUTE_HEADER || at + length > end) break;
        const type = view.getUint16(at + 2, LITTLE_ENDIAN);
        const payload = at + ATTRIBUTE_HEADER;
        const attribute = byType.get(type & NLA_TYPE_MASK);
        const value = attribute?.codec.read(view, payload, length - ATTRIBUTE_HEADER);
        if (attribute !== undefined && value !== undefined) values[attribute.name] = value;
        else unknown.push({ type, bytes: bytesOf(view, payload, length - ATTRIBUTE_HEADER) });
        at += align4(length);
      }
      if (unknown.length > 0) values.unknown = unknown;
      return values as Values<L>;
    },
  };
}

const bytesOf = (view: DataView, offset: number, size: number): Buffer =>
  Buffer.from(view.buffer as ArrayBuffer, view.byteOffset + offset, size);
