import { shortText } from '#src/kernel/vici/vici-message.ts';

/** The types of a packet (strongSwan, src/libcharon/plugins/vici/README.md, "Packet types"). */
export const REQUEST = 0;
export const RESPONSE = 1;
export const UNKNOWN_COMMAND = 2;
export const REGISTER = 3;
export const UNREGISTER = 4;
export const CONFIRM = 5;
export const UNKNOWN_EVENT = 6;
export const EVENT = 7;

/** Those that name a command or an event. */
const NAMED: readonly number[] = [REQUEST, REGISTER, UNREGISTER, EVENT];

export interface ViciPacket {
  readonly type: number;
  /** The command or the event; empty where the type has no name. */
  readonly name: string;
  /** An encoded message. */
  readonly body: Uint8Array;
}

const LENGTH_BYTES = 4;
/** What charon takes and sends at most (VICI_MESSAGE_SIZE_MAX). */
const LONGEST = 512 << 10;

/** The packet as it goes over the socket, after its length in 32 bits, the higher ones first. */
export function encodeViciPacket({ type, name, body }: ViciPacket): Uint8Array {
  const content = [Uint8Array.of(type), ...(NAMED.includes(type) ? [shortText(name)] : []), body];
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(content.reduce((sum, { length }) => sum + length, 0));
  return Buffer.concat([length, ...content]);
}

/** Cuts what comes over a socket into packets. */
export class ViciPackets {
  #rest: Buffer = Buffer.alloc(0);

  /** The packets that are whole now; `undefined` when the other end does not speak VICI. */
  take(chunk: Uint8Array): ViciPacket[] | undefined {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const packets: ViciPacket[] = [];
    while (this.#rest.length >= LENGTH_BYTES) {
      const length = this.#rest.readUInt32BE(0);
      if (length === 0 || length > LONGEST) return undefined;
      const end = LENGTH_BYTES + length;
      if (this.#rest.length < end) break;
      const packet = readPacket(this.#rest.subarray(LENGTH_BYTES, end));
      if (packet === undefined) return undefined;
      packets.push(packet);
      this.#rest = this.#rest.subarray(end);
    }
    return packets;
  }
}

function readPacket(bytes: Buffer): ViciPacket | undefined {
  const type = bytes[0] ?? 0;
  if (!NAMED.includes(type)) return { type, name: '', body: bytes.subarray(1) };
  const length = bytes[1];
  if (length === undefined || 2 + length > bytes.length) return undefined;
  return { type, name: bytes.toString('utf8', 2, 2 + length), body: bytes.subarray(2 + length) };
}
