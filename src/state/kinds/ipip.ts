import { formatIp, type Ipv4 } from '#src/lib/ip.ts';

/** IFLA_IPTUN_* of linux/if_tunnel.h, of a device of type `ipip`. */
export interface Ipip {
  /** The source of outer packets, and the destination of those that are taken. */
  readonly local?: Ipv4;
  /** The one other end; flannel sets none: the route's gateway says where each packet goes. */
  readonly remote?: Ipv4;
  /** Of outer packets; 0 takes the inner packet's. */
  readonly ttl: number;
  /** The outer packet may not be fragmented, whatever the inner one says. Without it, it is as the inner one. */
  readonly pathMtuDiscovery: boolean;
  /** Only in what was found: the ends come with each packet (`external`). */
  readonly external?: boolean;
}

/** flannel compares `local` and `remote` (HEAD backend/ipip/ipip.go). The rest would lose packets, too. */
export function ipipDifferences(want: Ipip, have: Ipip): string[] {
  const texts: string[] = [];
  const end = (ip: Ipv4 | undefined): string => (ip === undefined ? 'any' : formatIp(ip));
  if (want.local !== have.local) texts.push(`local: ${end(want.local)} vs ${end(have.local)}`);
  if (want.remote !== have.remote) texts.push(`remote: ${end(want.remote)} vs ${end(have.remote)}`);
  if (want.ttl !== have.ttl) texts.push(`ttl: ${want.ttl} vs ${have.ttl}`);
  if (want.pathMtuDiscovery !== have.pathMtuDiscovery)
    texts.push(`pmtudisc: ${want.pathMtuDiscovery} vs ${have.pathMtuDiscovery}`);
  if (have.external) texts.push('external: false vs true');
  return texts;
}

/** What follows `type ipip`. */
export function formatIpip({ local, remote, ttl, pathMtuDiscovery }: Ipip): string {
  const words: string[] = [];
  if (local !== undefined) words.push('local', formatIp(local));
  if (remote !== undefined) words.push('remote', formatIp(remote));
  words.push('ttl', ttl === 0 ? 'inherit' : String(ttl), pathMtuDiscovery ? 'pmtudisc' : 'nopmtudisc');
  return words.join(' ');
}
