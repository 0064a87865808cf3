import type { Element, OwnTable } from '#src/firewall/own-table.ts';
import { formatIp, type Ip, isIpv4 } from '#src/lib/ip.ts';

/** Where VXLAN packets of tenants may come from. */
export interface TunnelPeers {
  /** The underlay addresses of the other hosts. */
  readonly vteps: readonly Ip[];
  /** The devices by which they arrive: those of the underlay. */
  readonly underlays: readonly string[];
}

/**
 * For the host's namespace: VXLAN packets to the tenants' UDP port are taken only from the other hosts' VTEPs and by the
 * underlay. A container could else write a packet for any VNI and send it out through docker_gwbridge, which would give
 * it this host's address; so that is dropped here, where it still has the container's device, before NAT and conntrack.
 * For the same reason it does not matter where it goes: forwarded packets are dropped too.
 *
 * Nor may a process of this host send there: the packets of vxlan devices have no socket of this namespace, those of a
 * process have one. Not stopped: one that makes whole frames (AF_PACKET, CAP_NET_RAW in the host's own namespace, which
 * `docker run --network host` has), and a stranger on the underlay's own segment under the address of a VTEP. An
 * underlay that can't be trusted needs encryption.
 */
export const tunnelTable = (port: number): OwnTable => ({
  family: 'inet',
  name: 'weft-tenants',
  sets: [
    { name: 'underlays', fields: ['ifname'] },
    { name: 'vteps4', fields: ['ipv4_addr'] },
    { name: 'vteps6', fields: ['ipv6_addr'] },
  ],
  counters: ['stranger', 'process'],
  chains: [
    {
      name: 'prerouting',
      // Before conntrack (-200) and NAT (-100); where conntrack is in use, behind its reassembly (-400).
      base: { hook: 'prerouting', priority: -300, policy: 'accept' },
      rules: [{ text: `udp dport ${port} goto arriving`, comment: 'VXLAN of tenants' }],
    },
    {
      name: 'arriving',
      rules: [
        { text: 'iifname @underlays ip saddr @vteps4 accept', comment: 'from the VTEP of a host' },
        { text: 'iifname @underlays ip6 saddr @vteps6 accept', comment: 'from the VTEP of a host' },
        { text: 'counter name stranger drop', comment: 'from a container or a stranger' },
      ],
    },
    {
      name: 'output',
      base: { hook: 'output', priority: -300, policy: 'accept' },
      rules: [
        {
          text: `udp dport ${port} meta skuid >= 0 counter name process drop`,
          comment: 'from a process, not from a VTEP',
        },
      ],
    },
  ],
});

export const tunnelElements = ({ vteps, underlays }: TunnelPeers): Element[] => [
  ...underlays.map((device) => ({ set: 'underlays', parts: [device] })),
  ...vteps.map((ip) => ({ set: isIpv4(ip) ? 'vteps4' : 'vteps6', parts: [formatIp(ip)] })),
];
