import type { Hop as TracedHop } from '#src/diagnose/trace/hop.ts';
import { decodeVxlan, type VxlanFrame } from '#src/lab/vxlan-frame.ts';

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
/** They say how the packet gets to the container, and are told with its arrival. */
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

/** The layers of a packet in a tunnel, one a line, outermost first; `undefined` for one that is in none. */
export function layersIn(bytes: Buffer, inner: string): string[] | undefined {
  const frame = decodeVxlan(bytes);
  return frame === undefined ? undefined : layersOf(frame, inner);
}

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
