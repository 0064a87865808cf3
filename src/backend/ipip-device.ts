import { formatIp, type Ipv4 } from '#src/lib/ip.ts';
import type { Link } from '#src/state/object.ts';

/** As flannel names it. There is one: two networks of a host can't both have ipip. */
export const IPIP_DEVICE = 'flannel.ipip';
/** Bytes of the outer IPv4 header (RFC 2003). */
export const IPIP_OVERHEAD = 20;
/** Of the device: RFC 791 §3.2. */
export const LEAST_MTU = 68;

export interface IpipClash {
  readonly device: string;
  /** One clause. */
  readonly text: string;
}

/** The device that has the packets which ours wants: the kernel takes one for each pair of ends (ip_tunnel_newlink). */
export function ipipClash(local: Ipv4, links: readonly Link[]): IpipClash | undefined {
  const other = links.find(
    ({ name, ipip }) =>
      name !== IPIP_DEVICE && ipip !== undefined && ipip.local === local && ipip.remote === undefined,
  );
  return (
    other && {
      device: other.name,
      text: `the device ${other.name} is an ipip tunnel from ${formatIp(local)} to anywhere`,
    }
  );
}
