import type { Ip } from '#src/lib/ip.ts';
import type { Link } from '#src/state/object.ts';

/** A vxlan device that is to be made. */
export interface WantedVxlan {
  readonly device: string;
  readonly vni: number;
  readonly port: number;
  readonly gbp: boolean;
  readonly local: Ip;
}

/**
 * The device that keeps the kernel from making this one, in one clause; `undefined` when there is
 * none. Devices with one port and family share a socket only if their receive flags are the same
 * (vxlan_find_sock, drivers/net/vxlan); a VNI may be in it once. A device that is down holds its
 * VNI (EEXIST), not the socket (EADDRINUSE).
 */
export function vxlanClash(wanted: WantedVxlan, links: readonly Link[]): VxlanClash | undefined {
  for (const { name, up, vxlan } of links) {
    if (vxlan === undefined || name === wanted.device || vxlan.port !== wanted.port) continue;
    const text = `the device ${name} `;
    if (vxlan.external) {
      if (up) return { device: name, text: `${text}takes all VXLAN packets on UDP port ${wanted.port}` };
      continue;
    }
    const address = vxlan.local ?? vxlan.group;
    // One without any address listens on IPv4.
    if ((typeof address === 'bigint') !== (typeof wanted.local === 'bigint')) continue;
    if (vxlan.gbp !== wanted.gbp) {
      const how = vxlan.gbp ? 'with GBP, and ours is without' : 'without GBP, and ours is with it';
      if (up) return { device: name, text: `${text}has UDP port ${wanted.port} ${how}` };
    } else if (vxlan.vni === wanted.vni) {
      return { device: name, text: `${text}has VNI ${wanted.vni} on UDP port ${wanted.port}` };
    }
  }
  return undefined;
}

export interface VxlanClash {
  /** The other device. */
  readonly device: string;
  readonly text: string;
}
