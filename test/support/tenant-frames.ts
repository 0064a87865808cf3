import { Capture } from '#src/lab/capture.ts';
import type { Host } from '#src/lab/host.ts';
import type { Machine } from '#src/lab/machine.ts';
import { until } from '#src/sys/until.ts';
import { TENANT_PORT } from './docker-tenants.ts';

/** Bytes of ICMP payload of the request that ends a capture, which nothing else sends, and of its IPv4 packet. */
const LAST_PAYLOAD = 1111;
const LAST_LENGTH = 20 + 8 + LAST_PAYLOAD;

/**
 * The frames that pass a host's underlay link while something is done, by a filter in pcap's language. Whatever passed before
 * the end is in it: a last frame of the capture's own is waited for.
 */
export async function framesAt(
  host: Host,
  filter: string,
  during: () => Promise<unknown>,
): Promise<Buffer[]> {
  const capture = await Capture.start(host, 'eth0', `(${filter}) or (icmp and ip[2:2] = ${LAST_LENGTH})`);
  let frames: Buffer[] = [];
  try {
    await during();
    await host.must(['ping', '-n', '-c1', '-W5', '-s', String(LAST_PAYLOAD), gatewayOf(host)]);
    const whole = async () => {
      frames = await capture.frames();
      return frames.some(isLast);
    };
    await until(whole, { what: `last frame on ${host.name}`, signal: host.signal });
  } finally {
    await capture.stop();
  }
  return frames.filter((frame) => !isLast(frame));
}

/** Bytes of ICMP payload of echoes that nothing else sends, and of their VXLAN packets' UDP. */
const ECHO_PAYLOAD = 333;
const ECHO_LENGTH = 8 + 8 + 14 + 20 + 8 + ECHO_PAYLOAD;

/**
 * How many frames with echo requests and answers pass a host's underlay link, in and out, while a container asks an address so
 * many times. Each is answered. What else there is in a tenant, as a question for a neighbour, does not count.
 */
export async function echoesAt(host: Host, from: Machine, to: string, count: number): Promise<number> {
  const ask = async (): Promise<void> => {
    for (let n = 0; n < count; n++)
      await from.must(['ping', '-n', '-c1', '-W5', '-s', String(ECHO_PAYLOAD), to]);
  };
  return (await framesAt(host, `udp[4:2] = ${ECHO_LENGTH}`, ask)).length;
}

/** How many VXLAN frames of each VNI pass a host's underlay link while something is done, in and out. */
export async function framesByVni(
  host: Host,
  during: () => Promise<unknown>,
): Promise<ReadonlyMap<number, number>> {
  const counts = new Map<number, number>();
  for (const frame of await framesAt(host, `udp dst port ${TENANT_PORT}`, during)) {
    const vni = vniOf(frame);
    counts.set(vni, (counts.get(vni) ?? 0) + 1);
  }
  return counts;
}

/** Of a frame from the outer Ethernet header on: behind outer IPv4, UDP (8 bytes) and the first word (RFC 7348 §5). */
function vniOf(frame: Buffer): number {
  const headers = 14 + (frame.readUInt8(14) & 15) * 4 + 8;
  return frame.readUIntBE(headers + 4, 3);
}

const isLast = (frame: Buffer): boolean =>
  frame.readUInt16BE(12) === 0x0800 && frame.readUInt8(23) === 1 && frame.readUInt16BE(16) === LAST_LENGTH;

/** The bridge of an l2 underlay has the first address of the hosts' /24. */
const gatewayOf = ({ address }: Host): string => address.replace(/\d+$/, '1');
