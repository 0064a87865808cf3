import type { TestContext } from 'node:test';
import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import { type Mac, macToBytes } from '#src/lib/mac.ts';
import { loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';

/*
 * Frames as anybody with CAP_NET_RAW can make them, which Docker gives each container: true or false ones.
 */

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const ETH_P_ALL = 3;
/** struct sockaddr_ll (linux/if_packet.h) */
const SOCKADDR_LL_BYTES = 20;

/** A packet socket on one device of a network namespace: it sends any bytes, and hears all that arrive. */
export interface FrameSocket {
  send(frame: Uint8Array): void;
  /** Frames from other machines that came since the call before, and own ones. */
  take(): Buffer[];
}

export async function openFrames(t: TestContext, namespace: string, index: number): Promise<FrameSocket> {
  const libc = await loadLibc();
  const protocol = ((ETH_P_ALL & 0xff) << 8) | (ETH_P_ALL >> 8);
  const fd = inNetworkNamespace(libc, namespace, () =>
    libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, protocol),
  );
  if (fd < 0) throw new Error(`no packet socket: errno ${libc.errno()}`);
  t.after(() => libc.close(fd));
  const device = new Uint8Array(SOCKADDR_LL_BYTES);
  const view = new DataView(device.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_ALL);
  view.setInt32(4, index, true);
  if (libc.bind(fd, device, device.length) < 0) throw new Error(`no device: errno ${libc.errno()}`);
  const buffer = Buffer.alloc(65_536);
  return {
    send(frame) {
      const sent = libc.sendto(fd, frame, frame.length, MSG_DONTWAIT, device, device.length);
      if (sent < 0) throw new Error(`could not send a frame: errno ${libc.errno()}`);
    },
    take() {
      const frames: Buffer[] = [];
      const from = new Uint8Array(SOCKADDR_LL_BYTES);
      for (;;) {
        const length = libc.recvfrom(
          fd,
          buffer,
          buffer.length,
          MSG_DONTWAIT,
          from,
          Int32Array.of(from.length),
        );
        if (length < 0) return frames;
        frames.push(Buffer.from(buffer.subarray(0, length)));
      }
    },
  };
}

const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);
const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255);
const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

export function ipBytes(ip: Ip): Uint8Array {
  return hex(isIpv4(ip) ? ip.toString(16).padStart(8, '0') : ip.toString(16).padStart(32, '0'));
}

export const BROADCAST = 'ff:ff:ff:ff:ff:ff' as Mac;

/** The payload is filled up to the least that Ethernet carries. */
export const ethernet = (to: Mac, from: Mac, type: number, payload: Uint8Array): Uint8Array => {
  const frame = join(macToBytes(to), macToBytes(from), u16(type), payload);
  return frame.length >= 60 ? frame : join(frame, new Uint8Array(60 - frame.length));
};

export interface Arp {
  /** 1 request, 2 reply. */
  readonly operation: number;
  readonly mac: Mac;
  readonly sender: Ip;
  readonly target: Ip;
}

export const arp = ({ operation, mac, sender, target }: Arp): Uint8Array =>
  join(
    hex('000108000604'),
    u16(operation),
    macToBytes(mac),
    ipBytes(sender),
    new Uint8Array(6),
    ipBytes(target),
  );

/** RFC 1071 */
function checksum(bytes: Uint8Array): Uint8Array {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return u16(~sum & 0xffff);
}

/** An IPv4 packet; `flags` are the flags and the fragment's offset. */
export function packet4(
  { source, target, protocol, flags = 0 }: { source: Ip; target: Ip; protocol: number; flags?: number },
  payload: Uint8Array,
): Uint8Array {
  const header = (sum: Uint8Array) =>
    join(
      hex('4500'),
      u16(20 + payload.length),
      hex('0001'),
      u16(flags),
      Uint8Array.of(64, protocol),
      sum,
      ipBytes(source),
      ipBytes(target),
    );
  return join(header(checksum(header(new Uint8Array(2)))), payload);
}

export const packet6 = (
  { source, target, protocol }: { source: Ip; target: Ip; protocol: number },
  payload: Uint8Array,
): Uint8Array =>
  join(
    hex('60000000'),
    u16(payload.length),
    Uint8Array.of(protocol, 255),
    ipBytes(source),
    ipBytes(target),
    payload,
  );

/** Without a checksum, as RFC 768 allows with IPv4. */
export const udp = (from: number, to: number, payload: Uint8Array): Uint8Array =>
  join(u16(from), u16(to), u16(8 + payload.length), new Uint8Array(2), payload);

/** A neighbour solicitation (135), advertisement (136), or any other type with an address in that place. Its checksum is wrong. */
export const neighbour = (type: number, target: Ip): Uint8Array =>
  join(Uint8Array.of(type), new Uint8Array(7), ipBytes(target));

/** RFC 7348 §5 */
export const vxlan = (vni: number, frame: Uint8Array): Uint8Array =>
  join(hex('08000000'), ipBytes((vni * 256) as Ip), frame);
