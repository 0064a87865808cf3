import { formatIp, type Ip } from '#src/lib/ip.ts';

/** IFLA_VXLAN_* of linux/if_link.h. */
export interface Vxlan {
  /** 24 bits (RFC 7348 §5). */
  readonly vni: number;
  /** The underlay device, by name; absent when the kernel has none (or one that we can't name). */
  readonly underlay?: string;
  readonly local?: Ip;
  /** A multicast group or default remote; flannel sets none. */
  readonly group?: Ip;
  /** UDP destination port. The kernel's default is 8472, not IANA's 4789. */
  readonly port: number;
  readonly learning: boolean;
  /** Group based policy extension. */
  readonly gbp: boolean;
  readonly l2miss?: boolean;
  /** The device has its VNIs from each packet (`external`), and gets all packets of its port. */
  readonly external?: boolean;
  /** Of an external device: it gets packets of those VNIs only that it was given (Linux 5.18). */
  readonly vniFilter?: boolean;
  /**
   * The device is in another namespace than the host's, and its UDP socket in the host's: there its packets are sent by
   * the host's routes. Such a device has no underlay by name. `elsewhere` is only ever found.
   */
  readonly socketIn?: 'host' | 'elsewhere';
}

/** Differences that the kernel does not change in place. The fields are those that flannel compares (v0.9.1 backend/vxlan/device.go), and the underlay by its name. */
export function vxlanDifferences(want: Vxlan, have: Vxlan): string[] {
  const texts: string[] = [];
  const compare = <V>(
    label: string,
    wanted: V | undefined,
    found: V | undefined,
    format: (value: V) => string = String,
  ) => {
    if (wanted !== undefined && wanted !== found)
      texts.push(`${label}: ${format(wanted)} vs ${found === undefined ? 'none' : format(found)}`);
  };
  compare('vni', want.vni, have.vni);
  compare('socket in', want.socketIn, have.socketIn);
  if (want.socketIn === undefined) compare('vtep (external) interface', want.underlay, have.underlay);
  compare('vtep (external) IP', want.local, have.local, formatIp);
  compare('port', want.port, have.port);
  compare('learning', want.learning, have.learning);
  compare('gbp', want.gbp, have.gbp);
  if (want.external) compare('external', true, have.external ?? false);
  if (want.vniFilter) compare('vnifilter', true, have.vniFilter ?? false);
  if (have.group !== undefined && want.group === undefined)
    texts.push(`group address: none vs ${formatIp(have.group)}`);
  if (have.l2miss) texts.push('l2miss: false vs true');
  return texts;
}

/** What follows `type vxlan`. */
export function formatVxlan(vxlan: Vxlan): string {
  const { vni, underlay, local, group, port, learning, gbp, external, vniFilter } = vxlan;
  const words = external ? ['external'] : ['id', String(vni)];
  if (vniFilter) words.push('vnifilter');
  if (underlay !== undefined) words.push('dev', underlay);
  if (local !== undefined) words.push('local', formatIp(local));
  if (group !== undefined) words.push('group', formatIp(group));
  words.push('dstport', String(port), learning ? 'learning' : 'nolearning');
  if (gbp) words.push('gbp');
  return words.join(' ');
}
