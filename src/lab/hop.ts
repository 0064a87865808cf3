import { Capture } from '#src/lab/capture.ts';
import type { Container } from '#src/lab/container.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { decodeVxlan, type VxlanFrame } from '#src/lab/vxlan-frame.ts';
import { until } from '#src/sys/until.ts';

/** After the ping was answered, or not. */
const CAUGHT_MS = 2_000;

/** One place that a packet passes. */
export interface Hop {
  /** Where: a container or host. */
  readonly place: string;
  /** What happens there, for readers who do not know VXLAN. */
  readonly about: string;
  /** The command that shows it. */
  readonly command: string;
  /** The relevant lines of its output. */
  readonly seen: readonly string[];
  /** Whether it is as it must be. */
  readonly ok: boolean;
}

export const hop = (place: string, about: string, command: string, seen: readonly string[]): Hop => ({
  place,
  about,
  command,
  seen,
  ok: seen.length > 0,
});

/** The lines of a text that match, without blanks around them. */
export const linesOf = (text: string, pattern: RegExp): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => pattern.test(line));

/** Sends a packet and catches it between the hosts. `inner`: whose MACs the frame in it has. */
export async function crossWire(
  { from, to }: { readonly from: Container; readonly to: Container },
  inner: string,
): Promise<Hop> {
  const filter = `udp and src host ${from.host.address} and dst host ${to.host.address}`;
  const capture = await Capture.start(to.host, 'eth0', filter);
  try {
    await pingOnce(from, to);
    const caught = async () =>
      (await capture.frames())
        .map(decodeVxlan)
        .find((it) => it?.innerIp.source === from.address && it.innerIp.destination === to.address);
    // tcpdump writes the packet a little later.
    const waiting = { what: 'frame', timeoutMs: CAUGHT_MS, signal: to.signal };
    const frame = await until(caught, waiting).catch((error: unknown) => {
      if (to.signal?.aborted) throw error;
      return undefined;
    });
    const about = 'on the wire: a UDP packet from host to host like any other, with the whole frame in it';
    return hop(
      to.host.name,
      about,
      `tcpdump -i eth0 -T vxlan ${filter}`,
      frame === undefined ? [] : layersOf(frame, inner),
    );
  } finally {
    await capture.stop();
  }
}

/** The layers of a VXLAN packet, one a line, outermost first. */
function layersOf(frame: VxlanFrame, inner: string): string[] {
  const { outerEthernet, outerIp, udp, vxlan, innerEthernet, innerIp } = frame;
  const names: Readonly<Record<number, string>> = { 1: 'ICMP', 6: 'TCP', 17: 'UDP' };
  return [
    `Ethernet  ${outerEthernet.source} > ${outerEthernet.destination}`,
    `  IP        ${outerIp.source} > ${outerIp.destination}   the hosts`,
    `    UDP       port ${udp.sourcePort} > ${udp.destinationPort}`,
    `      VXLAN     flags 0x${vxlan.flags.toString(16).padStart(2, '0')}, network (VNI) ${vxlan.vni}`,
    `        Ethernet  ${innerEthernet.source} > ${innerEthernet.destination}   ${inner}`,
    `          IP        ${innerIp.source} > ${innerIp.destination}   the containers`,
    `            ${names[innerIp.protocol] ?? `protocol ${innerIp.protocol}`}, ${frame.length} bytes in all, ${frame.overhead} of them the wrapper`,
  ];
}
