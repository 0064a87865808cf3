import { protocolName } from '#src/diagnose/capture/describe-packet.ts';
import { LINK_TYPES } from '#src/diagnose/capture/frame.ts';
import { decodePacket, type Packet } from '#src/diagnose/capture/packet.ts';
import { USUAL_PORTS } from '#src/diagnose/capture/tunnel-ports.ts';
import type { Hop as TracedHop } from '#src/diagnose/trace/hop.ts';
import { formatIp } from '#src/lib/ip.ts';

/** One place that a packet passes, for a reader who does not know VXLAN. */
export interface Hop {
  /** Where: a container or host. */
  readonly place: string;
  /** What happens there. */
  readonly about: string;
  /** The command that shows it. */
  readonly command: string;
  /** What was seen, and where it stops also what mends it. */
  readonly seen: readonly string[];
  /** Whether it is as it must be, as far as it was seen. */
  readonly ok: boolean;
}

/** What there is to learn; the others are checks, and shown where the packet stops. */
const LESSONS: readonly string[] = [
  ...['container', 'bridge', 'route', 'neighbour', 'fdb', 'wire', 'arrival-container'],
];
/** They say how the packet gets to the container, and are shown with its arrival. */
const ARRIVAL: readonly string[] = ['arrival-route', 'arrival-bridge'];

/** The hops that are shown. `nameOf`: the container at which a way begins. */
export function lessonsOf(
  hops: readonly TracedHop[],
  { container, wire }: { readonly container: string; readonly wire: readonly string[] },
): Hop[] {
  const arrival = hops.filter(({ id }) => ARRIVAL.includes(id)).flatMap(({ found }) => found);
  return hops
    .filter(({ id, ok }) => ok === false || LESSONS.includes(id))
    .map((hop) => {
      const { id, host, about, command, found, ok, expected, remedy } = hop;
      const more = id === 'wire' ? wire : id === 'arrival-container' ? arrival : [];
      return {
        place: id === 'container' ? container : host,
        about,
        command,
        seen: [
          ...(id === 'wire' && wire.length > 0 ? [] : found),
          ...more,
          ...(ok === false
            ? [`expected: ${expected}`, ...(remedy === undefined ? [] : [`do: ${remedy}`])]
            : []),
        ],
        ok: ok !== false,
      };
    });
}

/** The layers of a packet in a tunnel, one a line, outermost first; none for one that is in none. `whose`: the inner MACs. */
export const layersIn = (bytes: Buffer, whose: string): string[] =>
  layersOf(decodePacket(bytes, LINK_TYPES.ethernet, { ports: new Set(USUAL_PORTS) }), whose);

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
