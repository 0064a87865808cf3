import { endianness } from 'node:os';
import type { Libc } from '#src/sys/libc.ts';

/** A frame as a packet socket hears it. */
export interface ReceivedFrame {
  /** From the link-layer header on, with its VLAN tag. Valid until the listener returns: the next frame overwrites it. */
  readonly bytes: Uint8Array;
  /** Bytes that it had on the wire; `bytes` are fewer where it was cut. */
  readonly originalLength: number;
  /** ifindex of the device. */
  readonly deviceIndex: number;
  /** ARPHRD_* of the device (linux/if_arp.h): 1 is Ethernet, 772 loopback, 65534 none, where `bytes` begin with IP. */
  readonly hardware: number;
  /** As seen from the host. */
  readonly direction: 'in' | 'out';
  /** When the kernel had it, nanoseconds since the epoch. */
  readonly at: bigint;
  /** Its checksum is still to be filled in, by the network card or the other end of a veth pair. */
  readonly checksumPending: boolean;
}

const LITTLE_ENDIAN = endianness() === 'LE';
/** struct msghdr of a 64-bit C library: offsets of its fields. */
const MSGHDR_BYTES = 56;
const MSG_NAME = 0;
const MSG_NAMELEN = 8;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_CONTROL = 32;
const MSG_CONTROLLEN = 40;
const IOVEC_BYTES = 16;
const CONTROL_BYTES = 256;
/** struct cmsghdr: size_t length with this header, int level, int type; then the data, aligned to 8. */
const CMSGHDR_BYTES = 16;
const SOL_SOCKET = 1;
const SCM_TIMESTAMPNS = 35;
const SOL_PACKET = 263;
const PACKET_AUXDATA = 8;
/** struct sockaddr_ll (linux/if_packet.h): u16 family, u16 protocol, s32 ifindex, u16 hatype, u8 pkttype, … */
const SOCKADDR_LL_BYTES = 20;
const SLL_IFINDEX = 4;
const SLL_HATYPE = 8;
const SLL_PKTTYPE = 10;
const PACKET_OUTGOING = 4;
/** struct tpacket_auxdata */
const TP_STATUS = 0;
const TP_LEN = 4;
const TP_VLAN_TCI = 16;
const TP_VLAN_TPID = 18;
const TP_STATUS_CSUMNOTREADY = 1 << 3;
const TP_STATUS_VLAN_VALID = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID = 1 << 6;
const ETH_P_8021Q = 0x8100;
/** Both MAC addresses; the tag comes behind them. */
const MACS_BYTES = 12;
const TAG_BYTES = 4;

/** The memory that recvmsg(2) writes one frame to, and what is read from it. */
export class PacketMessage {
  readonly #header: DataView;
  readonly #headerBytes: Uint8Array;
  readonly #name: DataView;
  readonly #control: DataView;
  /** With room for a tag in front. */
  readonly #frame: Uint8Array;

  constructor(libc: Pick<Libc, 'addressOf'>, snapLength: number) {
    const nameAt = MSGHDR_BYTES + IOVEC_BYTES;
    const controlAt = nameAt + 24;
    const frameAt = controlAt + CONTROL_BYTES;
    // One piece of memory that never moves.
    const memory = new ArrayBuffer(frameAt + TAG_BYTES + snapLength);
    const addressOf = (offset: number) => libc.addressOf(new Uint8Array(memory, offset));
    this.#header = new DataView(memory, 0, MSGHDR_BYTES);
    this.#headerBytes = new Uint8Array(memory, 0, MSGHDR_BYTES);
    this.#name = new DataView(memory, nameAt, SOCKADDR_LL_BYTES);
    this.#control = new DataView(memory, controlAt, CONTROL_BYTES);
    this.#frame = new Uint8Array(memory, frameAt);
    this.#header.setBigUint64(MSG_NAME, addressOf(nameAt), LITTLE_ENDIAN);
    this.#header.setBigUint64(MSG_IOV, addressOf(MSGHDR_BYTES), LITTLE_ENDIAN);
    this.#header.setBigUint64(MSG_IOVLEN, 1n, LITTLE_ENDIAN);
    this.#header.setBigUint64(MSG_CONTROL, addressOf(controlAt), LITTLE_ENDIAN);
    const iovec = new DataView(memory, MSGHDR_BYTES, IOVEC_BYTES);
    iovec.setBigUint64(0, addressOf(frameAt + TAG_BYTES), LITTLE_ENDIAN);
    iovec.setBigUint64(8, BigInt(snapLength), LITTLE_ENDIAN);
  }

  /** The struct msghdr for the next recvmsg, which changes the lengths in it. */
  prepared(): Uint8Array {
    this.#header.setUint32(MSG_NAMELEN, SOCKADDR_LL_BYTES, LITTLE_ENDIAN);
    this.#header.setBigUint64(MSG_CONTROLLEN, BigInt(CONTROL_BYTES), LITTLE_ENDIAN);
    return this.#headerBytes;
  }

  /** What recvmsg has written. `length` is its result: with MSG_TRUNC the frame's, also where it did not fit. */
  frame(length: number): ReceivedFrame {
    let at = 0n;
    let originalLength = length;
    let checksumPending = false;
    let bytes = this.#frame.subarray(TAG_BYTES, TAG_BYTES + length);
    for (const { level, type, data } of this.#controls()) {
      if (level === SOL_SOCKET && type === SCM_TIMESTAMPNS) {
        const [seconds, nanoseconds] = [
          data.getBigInt64(0, LITTLE_ENDIAN),
          data.getBigInt64(8, LITTLE_ENDIAN),
        ];
        at = seconds * 1_000_000_000n + nanoseconds;
      } else if (level === SOL_PACKET && type === PACKET_AUXDATA) {
        const status = data.getUint32(TP_STATUS, LITTLE_ENDIAN);
        originalLength = data.getUint32(TP_LEN, LITTLE_ENDIAN);
        checksumPending = (status & TP_STATUS_CSUMNOTREADY) !== 0;
        if ((status & TP_STATUS_VLAN_VALID) !== 0 && bytes.length >= MACS_BYTES) {
          const hasType = (status & TP_STATUS_VLAN_TPID_VALID) !== 0;
          const type = hasType ? data.getUint16(TP_VLAN_TPID, LITTLE_ENDIAN) : ETH_P_8021Q;
          bytes = this.#tagged(bytes.length, type, data.getUint16(TP_VLAN_TCI, LITTLE_ENDIAN));
          originalLength += TAG_BYTES;
        }
      }
    }
    return {
      bytes,
      originalLength,
      deviceIndex: this.#name.getInt32(SLL_IFINDEX, LITTLE_ENDIAN),
      hardware: this.#name.getUint16(SLL_HATYPE, LITTLE_ENDIAN),
      direction: this.#name.getUint8(SLL_PKTTYPE) === PACKET_OUTGOING ? 'out' : 'in',
      at,
      checksumPending,
    };
  }

  /** The kernel takes the tag out of a frame (skb_vlan_untag); here it is put back. */
  #tagged(length: number, type: number, control: number): Uint8Array {
    this.#frame.copyWithin(0, TAG_BYTES, TAG_BYTES + MACS_BYTES);
    const view = new DataView(this.#frame.buffer, this.#frame.byteOffset + MACS_BYTES, TAG_BYTES);
    view.setUint16(0, type);
    view.setUint16(2, control);
    return this.#frame.subarray(0, TAG_BYTES + length);
  }

  *#controls(): Generator<{ readonly level: number; readonly type: number; readonly data: DataView }> {
    const end = Math.min(Number(this.#header.getBigUint64(MSG_CONTROLLEN, LITTLE_ENDIAN)), CONTROL_BYTES);
    for (let at = 0; at + CMSGHDR_BYTES <= end; ) {
      const length = Number(this.#control.getBigUint64(at, LITTLE_ENDIAN));
      if (length < CMSGHDR_BYTES || at + length > end) return;
      const data = new DataView(
        this.#control.buffer,
        this.#control.byteOffset + at + CMSGHDR_BYTES,
        length - CMSGHDR_BYTES,
      );
      const [level, type] = [
        this.#control.getInt32(at + 8, LITTLE_ENDIAN),
        this.#control.getInt32(at + 12, LITTLE_ENDIAN),
      ];
      yield { level, type, data };
      at += (length + 7) & ~7;
    }
  }
}
