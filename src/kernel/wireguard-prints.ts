import { align4, LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { Message } from '#src/kernel/message.ts';

/** struct nlattr: u16 length with these four bytes, u16 type */
const ATTRIBUTE = 4;
/** struct genlmsghdr */
const GENERIC = 4;

/**
 * A fingerprint of each peer of a device, from the messages of a dump and without an object for any of them: a device's
 * peers are looked at 16 times a second, because WireGuard reports no change. What grows by itself (bytes, the time of the
 * handshake) is left out. The kernel lists peers in the order in which they were made, so two dumps are compared place by
 * place.
 */
export class WireguardPrints {
  /** Peers in the dump. */
  count = 0;
  /** Of the device itself. 0 where there is none. */
  device = 0;
  /** The two lanes of each peer's hash. */
  #printsA = new Int32Array(16);
  #printsB = new Int32Array(16);
  #received = new Float64Array(16);
  /** Those of the hash that is being made. */
  #a = 0;
  #b = 0;
  /** The public key of the last peer, as two lanes. */
  #keyA = 0;
  #keyB = 0;

  begin(): void {
    this.count = 0;
    this.device = 0;
  }

  /** Whether both dumps are of the same peers, with the same settings. */
  equals(other: WireguardPrints): boolean {
    if (this.count !== other.count || this.device !== other.device) return false;
    for (let at = 0; at < this.count; at++)
      if (this.#printsA[at] !== other.#printsA[at] || this.#printsB[at] !== other.#printsB[at]) return false;
    return true;
  }

  /** Bytes received from the peer at a place. */
  received(at: number): number {
    return this.#received[at] ?? 0;
  }

  /** Takes in a message of the dump, and wipes it: there are keys in it. */
  read({ view, offset, size }: Message): void {
    const end = offset + size;
    this.#start();
    let isDevice = false;
    for (let at = offset + GENERIC; at + ATTRIBUTE <= end; ) {
      const length = view.getUint16(at, LITTLE_ENDIAN);
      if (length < ATTRIBUTE || at + length > end) break;
      const type = view.getUint16(at + 2, LITTLE_ENDIAN) & k.NLA_TYPE_MASK;
      if (type === k.WGDEVICE_A_PEERS) {
        // The device's own fields come before its peers, in the first message only.
        if (isDevice) this.device = this.#print();
        isDevice = false;
        this.#readPeers(view, at + ATTRIBUTE, at + length);
      } else {
        isDevice = true;
        this.#take(view, at, length);
      }
      at += align4(length);
    }
    if (isDevice) this.device = this.#print();
    new Uint8Array(view.buffer, view.byteOffset + offset, size).fill(0);
  }

  #readPeers(view: DataView, start: number, end: number): void {
    for (let at = start; at + ATTRIBUTE <= end; ) {
      const length = view.getUint16(at, LITTLE_ENDIAN);
      if (length < ATTRIBUTE || at + length > end) return;
      this.#readPeer(view, at + ATTRIBUTE, at + length);
      at += align4(length);
    }
  }

  #readPeer(view: DataView, start: number, end: number): void {
    this.#start();
    let received = 0;
    let continues = false;
    for (let at = start; at + ATTRIBUTE <= end; ) {
      const length = view.getUint16(at, LITTLE_ENDIAN);
      if (length < ATTRIBUTE || at + length > end) break;
      switch (view.getUint16(at + 2, LITTLE_ENDIAN) & k.NLA_TYPE_MASK) {
        case k.WGPEER_A_PUBLIC_KEY:
          this.#take(view, at, length);
          continues = this.count > 0 && this.#a === this.#keyA && this.#b === this.#keyB;
          this.#keyA = this.#a;
          this.#keyB = this.#b;
          break;
        case k.WGPEER_A_RX_BYTES:
          received = Number(view.getBigUint64(at + ATTRIBUTE, LITTLE_ENDIAN));
          break;
        case k.WGPEER_A_LAST_HANDSHAKE_TIME:
        case k.WGPEER_A_TX_BYTES:
          break;
        default:
          this.#take(view, at, length);
      }
      at += align4(length);
    }
    this.#put(continues, received);
  }

  /** The allowed IPs of a peer may go on in the next message. */
  #put(continues: boolean, received: number): void {
    if (continues) {
      const last = this.count - 1;
      this.#printsA[last] = Math.imul(this.#printsA[last] ?? 0, 0x1000193) ^ this.#a;
      this.#printsB[last] = Math.imul(this.#printsB[last] ?? 0, 0x5bd1e995) ^ this.#b;
      return;
    }
    if (this.count === this.#received.length) this.#grow();
    this.#printsA[this.count] = this.#a;
    this.#printsB[this.count] = this.#b;
    this.#received[this.count] = received;
    this.count++;
  }

  #grow(): void {
    const length = this.#received.length * 2;
    const [a, b, received] = [new Int32Array(length), new Int32Array(length), new Float64Array(length)];
    a.set(this.#printsA);
    b.set(this.#printsB);
    received.set(this.#received);
    [this.#printsA, this.#printsB, this.#received] = [a, b, received];
  }

  #start(): void {
    this.#a = 0x811c9dc5;
    this.#b = 0x1000193;
  }

  /** An attribute, its header included, word by word (FNV-1a in two lanes). Padding is zero. */
  #take(view: DataView, at: number, length: number): void {
    let [a, b] = [this.#a, this.#b];
    const end = at + align4(length);
    const last = Math.min(end, view.byteLength - 3);
    for (let word = at; word < last; word += 4) {
      const value = view.getInt32(word, LITTLE_ENDIAN);
      a = Math.imul(a ^ value, 0x1000193);
      b = Math.imul(b ^ value, 0x5bd1e995);
      b ^= b >>> 15;
    }
    this.#a = a;
    this.#b = b;
  }

  /** 53 bits of the two lanes; never 0. */
  #print(): number {
    return (this.#a >>> 0) * 0x20_0000 + (this.#b >>> 11) + 1;
  }
}
