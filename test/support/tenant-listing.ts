import type { Container } from '#src/lab/container.ts';
import type { IpRecord } from '#src/lab/machine.ts';
import type { TenantHost } from './docker-tenant-host.ts';

/** A command, and the lines that are made of what it prints. */
type Part = readonly [command: string, read: (text: string) => string[]];

/**
 * All that a host has for its tenants, in lines; without what counts, numbers or is given by chance. One shell for each place:
 * a test asks again and again, and to enter a namespace costs more than what is asked there.
 */
export async function tenantListing(host: TenantHost, containers: readonly Container[]): Promise<string[]> {
  const places = await Promise.allSettled([
    listed(INSIDE, (script) => host.inTenants(['sh', '-c', script])),
    listed(OUTSIDE, (script) => host.host.must(['sh', '-c', script])),
    ...containers.map((container) => listed(CONTAINER, (script) => container.must(['sh', '-c', script]))),
  ]);
  return places
    .flatMap((place) => (place.status === 'fulfilled' ? place.value : [String(place.reason)]))
    .sort();
}

/** Of a command that failed, a line says so. */
async function listed(parts: readonly Part[], run: (script: string) => Promise<string>): Promise<string[]> {
  const script = parts.map(([command]) => `${command} || echo ${FAILED}; echo ${END}`).join('\n');
  const texts = (await run(script)).split(`${END}\n`);
  return parts.flatMap(([command, read], n) => {
    const text = texts[n] ?? '';
    if (text.endsWith(`${FAILED}\n`)) return [`failed: ${command}`];
    try {
      return read(text);
    } catch (error) {
      return [`${command}: ${error}`];
    }
  });
}

const FAILED = '-failed-';
const END = '-end-';

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

const INSIDE: readonly Part[] = [
  ['ip -d -j link', linksIn],
  ['ip -j address', addressesIn],
  ['bridge -d -j link', portsIn],
  ['bridge fdb show', fdbIn],
  ['ip neigh show nud permanent', linesOf],
  ['nft list table bridge weft', rulesIn],
  ['sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding', linesOf],
];
const OUTSIDE: readonly Part[] = [['nft list table inet weft-tenants', rulesIn]];
const CONTAINER: readonly Part[] = [
  ['ip -j address show dev eth0', addressesIn],
  ['ip -d -j link show dev eth0', linksIn],
  ['ip route', linesOf],
];
