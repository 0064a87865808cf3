import { describePacket, protocolName } from '#src/diagnose/capture/describe-packet.ts';
import type { Frame } from '#src/diagnose/capture/frame.ts';
import type { Packet } from '#src/diagnose/capture/packet.ts';
import { formatIp } from '#src/lib/ip.ts';

/** The names of networks by their VNI. */
export type NetworkNames = ReadonlyMap<number, string>;

/**
 * One line: time (UTC), device, direction, hosts, VNI, inner MACs, and what the packet is.
 *
 *     20:14:03.123456 eth0 out 172.16.70.191 > 172.16.70.192 VNI 1  4e:75:5c:b8:d8:01 > 4e:75:5c:b8:d8:8e  10.0.65.2 > …
 */
export function describeFrame(frame: Frame, packet: Packet, names: NetworkNames = new Map()): string {
  const { device, direction, bytes, originalLength } = frame;
  const { network, vxlan, inner } = packet;
  const seen = inner ?? packet;
  const vlans = (packet.ethernet?.vlans ?? []).map((vlan) => `VLAN ${vlan}`);
  const tunnel =
    vxlan === undefined || network.kind !== 'ip'
      ? []
      : [`${formatIp(network.source)} > ${formatIp(network.destination)}`, ...tunnelWords(packet, names)];
  const macs =
    seen.ethernet === undefined || vxlan?.kind === 'unreadable'
      ? []
      : [`${seen.ethernet.source} > ${seen.ethernet.destination} `];
  const words = [
    timeOf(frame.at),
    ...(device === '' ? [] : [device]),
    ...(direction === undefined ? [] : [direction.padEnd(3)]),
    ...vlans,
    ...tunnel,
    ...macs,
    ...(vxlan?.kind === 'unreadable' ? [`[${vxlan.what}]`] : [describePacket(seen)]),
    ...(bytes.length < originalLength ? [`[${bytes.length} of ${originalLength} bytes captured]`] : []),
  ];
  return words.join(' ');
}

function tunnelWords({ network, vxlan }: Packet, names: NetworkNames): string[] {
  if (vxlan?.kind !== 'vxlan') return [];
  const name = names.get(vxlan.vni);
  const isFragment = network.kind === 'ip' && network.fragment !== undefined;
  return [
    `VNI ${vxlan.vni}${name === undefined ? '' : ` (${name})`}`,
    ...((vxlan.flags & VALID) === 0 ? [`[flags 0x${vxlan.flags.toString(16).padStart(2, '0')}]`] : []),
    ...(isFragment ? ['[first fragment of the outer packet]'] : []),
    '',
  ];
}

/** The VNI is valid (RFC 7348 §5). */
const VALID = 0x08;

/** The same for a program: one object a frame. */
export function frameToJson(frame: Frame, packet: Packet, names: NetworkNames = new Map()): object {
  const { network, vxlan, inner, ethernet } = packet;
  const seen = inner ?? packet;
  const vni = vxlan?.kind === 'vxlan' ? vxlan.vni : frame.vni;
  return {
    ...(frame.at !== undefined && { time: isoTime(frame.at) }),
    ...(frame.device !== '' && { device: frame.device }),
    ...(frame.direction !== undefined && { direction: frame.direction }),
    length: frame.originalLength,
    captured: frame.bytes.length,
    ...((ethernet?.vlans.length ?? 0) > 0 && { vlans: ethernet?.vlans }),
    ...(vxlan !== undefined && { outer: layersOf(packet) }),
    ...(vni !== undefined && { vni }),
    ...(vni !== undefined && names.has(vni) && { network: names.get(vni) }),
    ...layersOf(seen),
    summary:
      vxlan?.kind === 'unreadable'
        ? `[${vxlan.what}]`
        : network.kind === 'unreadable'
          ? `[${network.what}]`
          : describePacket(seen),
  };
}

function layersOf({ ethernet, network, transport, wrongChecksum }: Packet): object {
  const macs = ethernet && { sourceMac: ethernet.source, destinationMac: ethernet.destination };
  if (network.kind === 'arp') {
    const { operation, sender, target } = network;
    return { ...macs, protocol: 'ARP', operation, sender: formatIp(sender), target: formatIp(target) };
  }
  if (network.kind !== 'ip') return { ...macs };
  const { source, destination, protocol, ttl, fragment } = network;
  return {
    ...macs,
    source: formatIp(source),
    destination: formatIp(destination),
    protocol: protocolName(protocol),
    ttl,
    ...(fragment !== undefined && { fragment }),
    ...transportFields(transport),
    ...(wrongChecksum && { wrongChecksum }),
  };
}

function transportFields(transport: Packet['transport']): object {
  switch (transport?.kind) {
    case 'tcp': {
      const { kind, length, ...fields } = transport;
      return { ...fields, payloadLength: length };
    }
    case 'udp': {
      const { kind, payload, length, ...fields } = transport;
      return { ...fields, payloadLength: length };
    }
    case 'icmp': {
      const { kind, quoted, target, echo, name, length, ...fields } = transport;
      return {
        ...fields,
        payloadLength: length,
        message: name,
        ...echo,
        ...(target !== undefined && { target: formatIp(target) }),
      };
    }
    default:
      return {};
  }
}

const NANOSECONDS = 1_000_000_000n;

/** `2026-11-27T20:14:03.123456789Z`; a time that no calendar has is the number of its nanoseconds. */
export function isoTime(at: bigint): string {
  const seconds = at / NANOSECONDS;
  const date = new Date(Number(seconds) * 1_000);
  if (Number.isNaN(date.getTime())) return String(at);
  return date.toISOString().replace('.000Z', `.${String(at % NANOSECONDS).padStart(9, '0')}Z`);
}

/** To the microsecond, without the day. */
const timeOf = (at: bigint | undefined): string =>
  at === undefined ? '--:--:--.------' : (/T(.{15})/.exec(isoTime(at))?.[1] ?? String(at));
