import { protocolName } from '#src/diagnose/capture/describe-packet.ts';
import { LINK_TYPES } from '#src/diagnose/capture/frame.ts';
import { decodePacket, type Packet } from '#src/diagnose/capture/packet.ts';
import { USUAL_PORTS } from '#src/diagnose/capture/vxlan.ts';
import { Capture } from '#src/lab/capture.ts';
import type { Container } from '#src/lab/container.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { formatIp } from '#src/lib/ip.ts';
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
        .map((bytes) => decodePacket(bytes, LINK_TYPES.ethernet, { ports: new Set(USUAL_PORTS) }))
        .find(({ inner }) => isBetween(inner, from.address, to.address));
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

const isBetween = (packet: Packet | undefined, source: string, destination: string): boolean =>
  packet?.network.kind === 'ip' &&
  formatIp(packet.network.source) === source &&
  formatIp(packet.network.destination) === destination;

/** The layers of a VXLAN packet, one a line, outermost first. */
function layersOf(packet: Packet, whose: string): string[] {
  const { transport, vxlan, inner } = packet;
  if (transport?.kind !== 'udp' || vxlan?.kind !== 'vxlan' || inner?.network.kind !== 'ip') return [];
  const whole = lengthOf(packet);
  const wrapper = whole - lengthOf(inner);
  const flags = vxlan.flags.toString(16).padStart(2, '0');
  return [
    `Ethernet  ${macsOf(packet)}`,
    `  IP        ${hostsOf(packet)}   the hosts`,
    `    UDP       port ${transport.sourcePort} > ${transport.destinationPort}`,
    `      VXLAN     flags 0x${flags}, network (VNI) ${vxlan.vni}`,
    `        Ethernet  ${macsOf(inner)}   ${whose}`,
    `          IP        ${hostsOf(inner)}   the containers`,
    `            ${protocolName(inner.network.protocol)}, ${whole} bytes in all, ${wrapper} of them the wrapper`,
  ];
}

/** Bytes of an Ethernet frame without what fills it up. */
const lengthOf = ({ ethernet, network }: Packet): number =>
  (ethernet === undefined ? 0 : ETHERNET_BYTES + 4 * ethernet.vlans.length) +
  (network.kind === 'ip' ? network.length : 0);
const ETHERNET_BYTES = 14;

const macsOf = ({ ethernet }: Packet): string => `${ethernet?.source} > ${ethernet?.destination}`;
const hostsOf = ({ network }: Packet): string =>
  network.kind === 'ip' ? `${formatIp(network.source)} > ${formatIp(network.destination)}` : '';
