import type { Frame } from '#src/diagnose/capture/frame.ts';
import {
  BYTE_ORDER,
  ENHANCED_PACKET,
  INTERFACE_DESCRIPTION,
  OPTION_EPB_FLAGS,
  OPTION_IF_NAME,
  OPTION_IF_TSRESOL,
  padded,
  SECTION_HEADER,
} from '#src/diagnose/capture/read-pcapng.ts';
import { type Ip, isIpv4 } from '#src/lib/ip.ts';

const NAME_RESOLUTION = 4;
const INTERFACE_STATISTICS = 5;
const OPTION_COMMENT = 1;
const OPTION_SHB_USERAPPL = 4;
const OPTION_ISB_IFDROP = 5;
const NRB_IPV4 = 1;
const NRB_IPV6 = 2;
/** if_tsresol: 10 to the minus 9. */
const NANOSECONDS = Uint8Array.of(9);

export interface SectionOptions {
  /** The program, with its version. */
  readonly application: string;
  readonly comment: string;
}

/**
 * The blocks of a pcapng file (draft-ietf-opsawg-pcapng), each as bytes that belong together. A device gets its description
 * before its first frame. Pure: the caller writes.
 */
export class PcapngBlocks {
  readonly #interfaces = new Map<string, number>();

  section({ application, comment }: SectionOptions): Uint8Array {
    const body = Buffer.alloc(16);
    body.writeUInt32LE(BYTE_ORDER, 0);
    body.writeUInt16LE(1, 4);
    // The section's length is not known beforehand.
    body.writeBigInt64LE(-1n, 8);
    const options = [
      option(OPTION_COMMENT, Buffer.from(comment)),
      option(OPTION_SHB_USERAPPL, Buffer.from(application)),
    ];
    return block(SECTION_HEADER, [body, ...options, END]);
  }

  /** Names that readers show in the place of addresses; nothing for none. */
  names(names: readonly (readonly [ip: Ip, name: string])[]): Uint8Array {
    const records = names.map(([ip, name]) => {
      const value = Buffer.concat([bytesOf(ip), Buffer.from(`${name}\0`)]);
      return option(isIpv4(ip) ? NRB_IPV4 : NRB_IPV6, value);
    });
    return records.length === 0 ? new Uint8Array() : block(NAME_RESOLUTION, [...records, END]);
  }

  frame(frame: Frame): Uint8Array {
    const { at = 0n, direction, bytes, originalLength } = frame;
    const key = `${frame.linkType} ${frame.device}`;
    const known = this.#interfaces.get(key);
    const index = known ?? this.#interfaces.size;
    if (known === undefined) this.#interfaces.set(key, index);
    const head = Buffer.alloc(20);
    head.writeUInt32LE(index, 0);
    head.writeUInt32LE(Number((at >> 32n) & 0xffffffffn), 4);
    head.writeUInt32LE(Number(at & 0xffffffffn), 8);
    head.writeUInt32LE(bytes.length, 12);
    head.writeUInt32LE(originalLength, 16);
    const flags =
      direction === undefined ? [] : [option(OPTION_EPB_FLAGS, u32(direction === 'in' ? 1 : 2)), END];
    const packet = block(ENHANCED_PACKET, [head, filled(bytes), ...flags]);
    return known === undefined ? Buffer.concat([description(frame), packet]) : packet;
  }

  /** Frames that the kernel had no room for, of a device that frames came from. */
  dropped(frame: Pick<Frame, 'linkType' | 'device'>, count: number, at: bigint): Uint8Array {
    const index = this.#interfaces.get(`${frame.linkType} ${frame.device}`);
    if (index === undefined) return new Uint8Array();
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(BigInt(count));
    const time = [u32(Number((at >> 32n) & 0xffffffffn)), u32(Number(at & 0xffffffffn))];
    return block(INTERFACE_STATISTICS, [u32(index), ...time, option(OPTION_ISB_IFDROP, value), END]);
  }
}

function description({ linkType, device }: Frame): Uint8Array {
  const body = Buffer.alloc(8);
  body.writeUInt16LE(linkType, 0);
  const name = device === '' ? [] : [option(OPTION_IF_NAME, Buffer.from(device))];
  return block(INTERFACE_DESCRIPTION, [body, ...name, option(OPTION_IF_TSRESOL, NANOSECONDS), END]);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 12);
  return Buffer.concat([u32(type), u32(length), ...parts, u32(length)]);
}

function option(code: number, value: Uint8Array): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, filled(value)]);
}

const END = new Uint8Array(4);

function filled(bytes: Uint8Array): Uint8Array {
  const rest = padded(bytes.length) - bytes.length;
  return rest === 0 ? bytes : Buffer.concat([bytes, new Uint8Array(rest)]);
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** In network byte order. */
function bytesOf(ip: Ip): Buffer {
  const bytes = Buffer.alloc(isIpv4(ip) ? 4 : 16);
  if (isIpv4(ip)) bytes.writeUInt32BE(ip);
  else {
    bytes.writeBigUInt64BE(ip >> 64n);
    bytes.writeBigUInt64BE(BigInt.asUintN(64, ip), 8);
  }
  return bytes;
}
