import { type Element, ND_TARGET, type OwnTable } from '#src/firewall/own-table.ts';
import { formatIp, type Ip, type Ipv6, ipv6, isIpv4 } from '#src/lib/ip.ts';
import { type Mac, macToBytes } from '#src/lib/mac.ts';

/** What a container may send as. */
export interface PortIdentity {
  readonly mac: Mac;
  /** Of both families; the link-local address that follows from the MAC comes by itself. */
  readonly addresses: readonly Ip[];
}

/**
 * For the namespace with the tenants' bridges: from a container's port only what is its own passes. Learning is off
 * there, so a lie would not move anybody's address in the bridge; but a receiver believes ARP, neighbour advertisements and
 * source addresses. The rules come before the bridge answers ARP itself (br_handle_frame_finish of
 * net/bridge/br_input.c), and before `locked` is looked at.
 *
 * From a port without an entry nothing passes. What comes by the tunnel was checked on the host that sent it.
 *
 * - Of Ethernet's protocols only ARP, IPv4 and IPv6: so neither BPDUs of spanning tree, nor LLDP, nor VLAN tags, under
 *   which the rules would have to look a second time.
 * - No answers of DHCP servers and no router advertisements: a client takes both from anybody, and the addresses and
 *   routes of a tenant come from weft. What a container asks (solicitations, DHCP requests) may pass if its source is its own.
 * - `::` and, in ARP, 0.0.0.0 are the sources of a question whether an address is free (RFC 4862 §5.4.2, RFC 5227 §1.1).
 *   With `::` it may ask for its own addresses only: the question alone makes another give up an address that it is taking.
 * - A gratuitous ARP (engine 28 sends some) is ARP with the own address in both places, and passes.
 * - Fragments carry the address too. A fragmented ND message is not taken by Linux (RFC 6980), so its parts do no harm.
 * - IPv4 and IPv6 redirects are taken only from the gateway in use, whose address no container but itself can have.
 */
export const PORT_TABLE: OwnTable = {
  family: 'bridge',
  name: 'weft',
  sets: [
    { name: 'macs', fields: ['ifname', 'ether_addr'] },
    { name: 'addresses4', fields: ['ifname', 'ether_addr', 'ipv4_addr'] },
    { name: 'addresses6', fields: ['ifname', 'ether_addr', 'ipv6_addr'] },
    { name: 'targets6', fields: ['ifname', 'ether_addr', 'nd-target'] },
  ],
  counters: ['false-mac', 'other-protocol', 'false-arp', 'false-address', 'false-neighbour', 'server'],
  chains: [
    {
      name: 'prerouting',
      base: { hook: 'prerouting', priority: -300, policy: 'drop' },
      rules: [
        { text: 'iifname "vx-*" accept', comment: 'from other hosts' },
        {
          text: 'iifname . ether saddr != @macs counter name false-mac drop',
          comment: 'another MAC, or a port without an entry',
        },
        { text: 'ether type arp goto from-arp', comment: 'ARP' },
        { text: 'ether type ip goto from-ip', comment: 'IPv4' },
        { text: 'ether type ip6 goto from-ip6', comment: 'IPv6' },
        { text: 'counter name other-protocol drop', comment: 'spanning tree, VLAN tags, other protocols' },
      ],
    },
    {
      name: 'from-arp',
      rules: [
        {
          text: 'arp htype != 1 counter name false-arp drop',
          comment: 'not of Ethernet',
        },
        { text: 'arp ptype != ip counter name false-arp drop', comment: 'not of IPv4' },
        { text: 'arp hlen != 6 counter name false-arp drop', comment: 'another length of MACs' },
        { text: 'arp plen != 4 counter name false-arp drop', comment: 'another length of addresses' },
        {
          text: 'arp operation != { request, reply } counter name false-arp drop',
          comment: 'neither request nor reply',
        },
        {
          text: 'iifname . arp saddr ether != @macs counter name false-arp drop',
          comment: 'the MAC of another sender',
        },
        { text: 'iifname . ether saddr . arp saddr ip @addresses4 accept', comment: 'the own address' },
        { text: 'arp operation request arp saddr ip 0.0.0.0 accept', comment: 'is an address free?' },
        { text: 'counter name false-arp drop', comment: 'the address of another sender' },
      ],
    },
    {
      name: 'from-ip',
      rules: [
        { text: 'udp sport 67 udp dport 68 counter name server drop', comment: 'a DHCP server' },
        { text: 'iifname . ether saddr . ip saddr @addresses4 accept', comment: 'the own address' },
        { text: 'counter name false-address drop', comment: 'the address of another' },
      ],
    },
    {
      name: 'from-ip6',
      rules: [
        { text: 'icmpv6 type nd-router-advert counter name server drop', comment: 'a router' },
        { text: 'udp sport 547 udp dport 546 counter name server drop', comment: 'a DHCP server' },
        { text: 'icmpv6 type nd-neighbor-advert goto from-neighbour', comment: 'neighbour advertisement' },
        { text: 'iifname . ether saddr . ip6 saddr @addresses6 accept', comment: 'the own address' },
        {
          text: `ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . ether saddr . ${ND_TARGET} @targets6 accept`,
          comment: 'is the own address free?',
        },
        {
          text: 'ip6 saddr :: icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } accept',
          comment: 'before the own address is valid',
        },
        { text: 'counter name false-address drop', comment: 'the address of another' },
      ],
    },
    {
      name: 'from-neighbour',
      rules: [
        {
          text: `iifname . ether saddr . ${ND_TARGET} != @targets6 counter name false-neighbour drop`,
          comment: 'it is not at this address',
        },
        { text: 'iifname . ether saddr . ip6 saddr @addresses6 accept', comment: 'the own address' },
        { text: 'counter name false-neighbour drop', comment: 'the address of another' },
      ],
    },
  ],
};

/** The elements of one port; none for a port that has no container. Throws a TypeError for what no device can be called. */
export function portElements(port: string, identity: PortIdentity | undefined): Element[] {
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(port)) throw new TypeError(`"${port}" is no name of a device`);
  if (identity === undefined) return [];
  const { mac, addresses } = identity;
  const v4 = addresses.filter(isIpv4);
  const v6 = [...addresses.filter((ip): ip is Ipv6 => !isIpv4(ip)), linkLocalOf(mac)].map(formatIp);
  return [
    { set: 'macs', parts: [port, mac] },
    ...v4.map((ip) => ({ set: 'addresses4', parts: [port, mac, formatIp(ip)] })),
    ...v6.map((ip) => ({ set: 'addresses6', parts: [port, mac, ip] })),
    ...v6.map((ip) => ({ set: 'targets6', parts: [port, mac, ip] })),
  ];
}

/** The address that Linux gives a device by itself (RFC 4291, appendix A); `addr_gen_mode eui64`, its default. */
export function linkLocalOf(mac: Mac): Ipv6 {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macToBytes(mac);
  const identifier = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
  return ipv6(identifier.reduce((value, byte) => (value << 8n) | BigInt(byte), 0xfe80n << 48n));
}
