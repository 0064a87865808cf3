import type { OwnTable } from '#src/firewall/own-table.ts';

/** VXLAN packets of one network that are taken only as they come out of the tunnel around them. */
export interface SealedPort {
  /** UDP. */
  readonly port: number;
  readonly vni: number;
  /** The tunnel's device. */
  readonly device: string;
}

/** The table of any network. */
export const SEALED_TABLE = /^weft-sealed-\d+$/;

/** The table of one network. */
export const sealedTableName = (vni: number): string => `weft-sealed-${vni}`;

/**
 * Drops VXLAN packets of the network that come by any other device than the tunnel's: from the underlay, from a container,
 * from a process of this host. The kernel's vxlan device would take them, for it looks at the VNI and not at where a packet
 * comes from. Other networks may have the same port: the VNI is compared as well (RFC 7348 §5: 24 bits, 4 bytes behind the
 * UDP header).
 */
export const sealedTable = ({ port, vni, device }: SealedPort): OwnTable => ({
  family: 'inet',
  name: sealedTableName(vni),
  sets: [],
  counters: ['plain'],
  chains: [
    {
      name: 'prerouting',
      // Before conntrack and NAT. A packet in fragments does not come together without its first.
      base: { hook: 'prerouting', priority: -300, policy: 'accept' },
      rules: [
        {
          text: `udp dport ${port} @th,96,24 ${vni} iifname != "${device}" counter name plain drop`,
          comment: 'VXLAN that is not encrypted',
        },
      ],
    },
  ],
});
