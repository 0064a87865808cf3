import type { Host } from '#src/lab/host.ts';

/** The cable's ends on both hosts. */
export const WIRE = 'wire0';
export const WIRE_ADDRESSES = ['192.0.2.1', '192.0.2.2'] as const; // TEST-NET-1, RFC 5737

/** A veth pair from host to host, with nothing else on the way. */
export class Wire {
  readonly hosts: readonly [Host, Host];

  private constructor(hosts: readonly [Host, Host]) {
    this.hosts = hosts;
  }

  static async connect(hosts: readonly [Host, Host], mtu = 1500): Promise<Wire> {
    const [left, right] = hosts;
    const end = `name ${WIRE} mtu ${mtu}`;
    await left.batch([`link add ${end} type veth peer ${end} netns ${right.namespace}`]);
    for (const [index, host] of hosts.entries()) {
      await host.batch([`addr add ${WIRE_ADDRESSES[index]}/24 dev ${WIRE}`, `link set ${WIRE} up`]);
    }
    return new Wire(hosts);
  }

  /**
   * Without offloads a big TCP packet is cut up before the wire and put together again behind it, as with a network
   * card that does not know VXLAN; with them, a veth takes it across whole.
   */
  async offload(on: boolean): Promise<void> {
    const [yes, no] = on ? ['on', 'off'] : ['off', 'on'];
    const features = SEGMENTATION.flatMap((feature) => [feature, yes]);
    for (const host of this.hosts) await host.must(['ethtool', '-K', WIRE, ...features, 'gro', no]);
  }
}

const SEGMENTATION = [
  'tso',
  'gso',
  'tx-udp_tnl-segmentation',
  'tx-udp_tnl-csum-segmentation',
  'tx-udp-segmentation',
];
