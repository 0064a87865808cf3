import type { ArpPacket } from '#src/diagnose/capture/arp.ts';
import type { IcmpMessage } from '#src/diagnose/capture/icmp.ts';
import { decodeIp, type IpPacket } from '#src/diagnose/capture/ip-packet.ts';
import { ICMP, ICMPV6, type Packet, TCP, UDP } from '#src/diagnose/capture/packet.ts';
import type { TcpSegment } from '#src/diagnose/capture/tcp.ts';
import { decodeUdp } from '#src/diagnose/capture/udp.ts';
import { formatIp } from '#src/lib/ip.ts';

/** What a packet is, without its tunnel: `10.0.65.2 > 10.0.32.2 ICMP echo request, id 7, seq 1, 64 bytes`. */
export function describePacket({ network, transport, wrongChecksum }: Packet): string {
  switch (network.kind) {
    case 'unreadable':
      return `[${network.what}]`;
    case 'other':
      return network.type < 0x600
        ? `802.3 frame, ${network.length} bytes`
        : `EtherType 0x${network.type.toString(16).padStart(4, '0')}, ${network.length} bytes`;
    case 'arp':
      return describeArp(network);
    case 'ip': {
      const { source, destination } = network;
      const way = `${formatIp(source)} > ${formatIp(destination)}`;
      const notes = [
        ...(network.fragment === undefined ? [] : [describeFragment(network)]),
        ...(wrongChecksum ? ['[wrong checksum]'] : []),
      ];
      return [way, describeTransport(network, transport), ...notes].join(' ');
    }
  }
}

function describeTransport(ip: IpPacket, transport: Packet['transport']): string {
  switch (transport?.kind) {
    case undefined:
      return `${protocolName(ip.protocol)}, ${ip.payloadLength} bytes`;
    case 'unreadable':
      return `[${transport.what}]`;
    case 'udp':
      return `UDP ${transport.sourcePort} > ${transport.destinationPort}, ${transport.length} bytes`;
    case 'tcp':
      return describeTcp(transport);
    case 'icmp':
      return describeIcmp(transport, ip.protocol);
  }
}

function describeTcp(segment: TcpSegment): string {
  const { sourcePort, destinationPort, sequence, acknowledgment, flags, window, maximumSegment } = segment;
  return [
    `TCP ${sourcePort} > ${destinationPort} ${flags.join(' ') || 'no flags'}`,
    `seq ${sequence}`,
    ...(flags.includes('ACK') ? [`ack ${acknowledgment}`] : []),
    `win ${window}`,
    ...(maximumSegment === undefined ? [] : [`mss ${maximumSegment}`]),
    `${segment.length} bytes`,
  ].join(', ');
}

function describeIcmp({ name, echo, mtu, target, quoted, length }: IcmpMessage, protocol: number): string {
  const about = quoted === undefined ? undefined : describeQuoted(quoted);
  return [
    `${protocolName(protocol)} ${name}`,
    ...(echo === undefined ? [] : [`id ${echo.id}`, `seq ${echo.sequence}`]),
    ...(mtu === undefined ? [] : [`MTU ${mtu}`]),
    ...(target === undefined ? [] : [`target ${formatIp(target)}`]),
    ...(about === undefined ? [] : [`about ${about}`]),
    ...(about === undefined ? [`${length} bytes`] : []),
  ].join(', ');
}

/** An error quotes 8 bytes behind the IP header at least: the ports. */
function describeQuoted(bytes: Uint8Array): string | undefined {
  const ip = decodeIp(bytes);
  if (ip.kind === 'unreadable') return undefined;
  const way = `${formatIp(ip.source)} > ${formatIp(ip.destination)} ${protocolName(ip.protocol)}`;
  // TCP has its ports in the same place.
  const ports = ip.protocol === UDP || ip.protocol === TCP ? decodeUdp(ip.payload) : undefined;
  return ports?.kind === 'udp' ? `${way} ${ports.sourcePort} > ${ports.destinationPort}` : way;
}

function describeArp({ operation, sender, senderMac, target }: ArpPacket): string {
  const [from, to] = [formatIp(sender), formatIp(target)];
  if (operation === 1)
    return from === to ? `ARP announcement ${from} is ${senderMac}` : `ARP who has ${to}, asks ${from}`;
  return operation === 2 ? `ARP reply ${from} is ${senderMac}` : `ARP operation ${operation}`;
}

function describeFragment({ fragment }: IpPacket): string {
  if (fragment === undefined) return '';
  const { id, offset, more } = fragment;
  return `[fragment ${id} at ${offset}${more ? ', more follow' : ', the last'}]`;
}

const PROTOCOLS: Readonly<Record<number, string>> = {
  [ICMP]: 'ICMP',
  2: 'IGMP',
  [TCP]: 'TCP',
  [UDP]: 'UDP',
  [ICMPV6]: 'ICMPv6',
  132: 'SCTP',
};

export const protocolName = (protocol: number): string => PROTOCOLS[protocol] ?? `protocol ${protocol}`;
