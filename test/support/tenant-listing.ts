import type { Container } from '#src/lab/container.ts';
import type { IpRecord } from '#src/lab/machine.ts';
import type { TenantHost } from './docker-tenant-host.ts';

/** All that a host has for its tenants, in lines; without what counts, numbers or is given by chance. */
export async function tenantListing(host: TenantHost, containers: readonly Container[]): Promise<string[]> {
  const inside = (...argv: [string, ...string[]]): Promise<string> => host.inTenants(argv);
  const parts = await Promise.allSettled([
    inside('ip', '-d', '-j', 'link').then(linksIn),
    inside('ip', '-j', 'address').then(addressesIn),
    inside('bridge', '-d', '-j', 'link').then(portsIn),
    inside('bridge', 'fdb', 'show').then(fdbIn),
    inside('ip', 'neigh', 'show', 'nud', 'permanent').then(linesOf),
    inside('nft', 'list', 'table', 'bridge', 'weft').then(rulesIn),
    inside('sysctl', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding').then(linesOf),
    host.host.must(['nft', 'list', 'table', 'inet', 'weft-tenants']).then(rulesIn),
    ...containers.flatMap((container) => [
      container.must(['ip', '-j', 'address', 'show', 'dev', 'eth0']).then(addressesIn),
      container.must(['ip', '-d', '-j', 'link', 'show', 'dev', 'eth0']).then(linksIn),
      container.must(['ip', 'route']).then(linesOf),
    ]),
  ]);
  return parts.flatMap((part) => (part.status === 'fulfilled' ? part.value : [String(part.reason)])).sort();
}

const linesOf = (text: string): string[] => text.split('\n').map((line) => line.trim());
const recordsIn = (text: string): IpRecord[] => JSON.parse(text) as IpRecord[];

/** The kernel gives a port and a VXLAN device a MAC by chance. */
const linksIn = (text: string): string[] =>
  recordsIn(text).map(({ ifname = '', address, flags = [], mtu, master, linkinfo }) => {
    const { id, local, port, learning, mcast_snooping } = linkinfo?.info_data ?? {};
    const mac = /^(br-|eth0)/.test(ifname) ? address : '';
    return ['link', ifname, mac, flags, mtu, master, id, local, port, learning, mcast_snooping].join(' ');
  });

const addressesIn = (text: string): string[] =>
  recordsIn(text).flatMap(({ ifname, addr_info = [] }) =>
    addr_info
      .filter(({ scope }) => scope === 'global')
      .map(({ local, prefixlen }) => `address ${local}/${prefixlen} dev ${ifname}`),
  );

const PORT_FLAGS = ['learning', 'flood', 'mcast_flood', 'bcast_flood', 'neigh_suppress', 'locked', 'hairpin'];
const portsIn = (text: string): string[] =>
  recordsIn(text).map((record) =>
    ['port', record.ifname, record.master, ...PORT_FLAGS.map((flag) => `${flag} ${record[flag]}`)].join(' '),
  );

/** Entries of the devices' own MACs and of groups are the kernel's. */
const fdbIn = (text: string): string[] =>
  linesOf(text).filter((line) => !/^(33:33|01:00:5e):|master \S+ permanent$/.test(line));

const rulesIn = (text: string): string[] =>
  text
    .replaceAll(/packets \d+ bytes \d+/g, '')
    .split(/,?\n\s*|, |elements = \{ | \}/)
    .map((line) => line.trim());
