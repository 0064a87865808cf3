import { formatTable, type TableOptions } from '#src/cli/format-table.ts';
import type { Output } from '#src/cli/terminal.ts';
import { type NewTenant, TenantAdmin } from '#src/driver/tenant-admin.ts';
import {
  readAddresses,
  readTenantOverview,
  type StoredAddress,
  type TenantOverview,
} from '#src/driver/tenant-overview.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import { containerOf, isHeld } from '#src/tenant/held-address.ts';
import type { HostRecord } from '#src/tenant/host-codec.ts';
import type { Tenant, TenantSubnet } from '#src/tenant/tenant.ts';

/** `weft network create` */
export async function createTenant(
  folders: RecordFolders,
  wish: NewTenant,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { tenant, isNew } = await adminOf(folders).create(wish, signal);
  const verb = isNew ? 'created' : 'there is already';
  const subnets = subnetsOf(tenant).map(
    ({ prefix, gateway }) => `subnet ${formatPrefix(prefix)}, gateway ${formatIp(gateway)}`,
  );
  output.print(`${verb} network ${tenant.name}: VNI ${tenant.vni}, ${subnets.join(', ')}`);
  return 0;
}

/** `weft network rm` */
export async function removeTenant(
  folders: RecordFolders,
  name: string,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const { hadRecord, vnis, addresses } = await adminOf(folders).remove(name, signal);
  const freed = [
    ...vnis.map((vni) => `VNI ${vni}`),
    ...(addresses === 0 ? [] : [`${addresses} released ${addresses === 1 ? 'address' : 'addresses'}`]),
  ];
  const what = hadRecord ? `removed network ${name}` : `removed what was left of network ${name}`;
  output.print(freed.length === 0 ? what : `${what}; freed ${freed.join(' and ')}`);
  return 0;
}

/** The tenants' part of `weft network ls`; nothing when there is none. */
export async function describeTenants(folders: RecordFolders, signal: AbortSignal): Promise<string[]> {
  const overview = await readTenantOverview(folders, signal);
  const rows = await Promise.all(
    Array.from(overview.tenants.values(), async (tenant) => {
      const { name, vni } = tenant;
      const { addresses } = await readAddresses(folders, name, signal);
      const subnets = subnetsOf(tenant).map(({ prefix }) => formatPrefix(prefix));
      const held = addresses.filter(isHeld).length;
      return [name, String(vni), subnets.join(','), String(held), String(hostsWith(overview, name).length)];
    }),
  );
  const head = ['NAME', 'VNI', 'SUBNETS', 'ADDRESSES', 'HOSTS'];
  return [
    ...(rows.length === 0 ? [] : formatTable([head, ...rows])),
    ...Array.from(overview.refused, ([name, reason]) => `${name} can't be used: ${reason}`),
  ];
}

/** The same as values. */
export async function listTenants(folders: RecordFolders, signal: AbortSignal) {
  const overview = await readTenantOverview(folders, signal);
  const usable = await Promise.all(
    Array.from(overview.tenants.values(), async (tenant) => {
      const { addresses } = await readAddresses(folders, tenant.name, signal);
      const hosts = hostsWith(overview, tenant.name).length;
      return { ...tenantJson(tenant), addresses: addresses.filter(isHeld).length, hosts };
    }),
  );
  return [...usable, ...Array.from(overview.refused, ([name, refused]) => ({ name, refused }))];
}

/** `weft network inspect` of a tenant. Throws WeftError `no-such-network` and `tenant-unreadable`. */
export async function inspectTenant(
  folders: RecordFolders,
  { name, json, width }: { readonly name: string; readonly json: boolean; readonly width: number },
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const overview = await readTenantOverview(folders, signal);
  const tenant = tenantIn(overview, name);
  const { addresses, refused } = await readAddresses(folders, name, signal);
  const hosts = hostsWith(overview, name);
  if (json) {
    const value = {
      ...tenantJson(tenant),
      hosts: hosts.map((host) => hostJson(host, name, overview)),
      addresses: addresses.map((address) => addressJson(address, overview)),
      refused: refused.map(({ stored, reason }) => ({ address: stored.name, reason })),
    };
    output.print(JSON.stringify(value, undefined, 2));
    return 0;
  }
  output.print(`network    ${name}: VNI ${tenant.vni}${tenant.internal ? ', internal' : ''}`);
  for (const subnet of subnetsOf(tenant)) output.print(`subnet     ${subnetText(subnet)}`);
  output.print(`MTU        ${tenant.mtu ?? 'what the underlay of a host leaves'}`);
  if (overview.refused.has(name)) output.print(`refused    ${overview.refused.get(name)}`);
  const hostRows = hosts.map(({ id, hostName, vtep, docker }) => [
    hostName,
    id,
    formatIp(vtep),
    networkIdOf(docker, name)?.slice(0, SHORT_ID) ?? '-',
    lifeText(overview, id),
  ]);
  const hostHead = ['HOST', 'IDENTITY', 'VTEP', "DOCKER'S ID", 'ALIVE'];
  for (const line of titled(hostRows, hostHead, { width, cut: [0, 1] })) output.print(line);
  const rows = addresses.map((address) => addressRow(address, overview));
  const layout = addressLayout(ADDRESS_HEAD, width);
  for (const line of titled(rows, ADDRESS_HEAD, layout)) output.print(line);
  for (const { stored, reason } of refused) output.print(`${stored.name} can't be read: ${reason}`);
  return 0;
}

/** Throws WeftError `no-such-network` and `tenant-unreadable`. */
export function tenantIn({ tenants, refused }: TenantOverview, name: string): Tenant {
  const tenant = tenants.get(name);
  if (tenant !== undefined) return tenant;
  const reason = refused.get(name);
  if (reason === undefined) {
    throw new WeftError('no-such-network', `there is no network ${name} of Docker's driver weft`, {
      remedy: '"weft network ls" lists those there are',
    });
  }
  throw new WeftError('tenant-unreadable', `the record of network ${name} can't be used: ${reason}`, {
    remedy: `remove it with "weft network rm ${name}" and create it again`,
  });
}

export const ADDRESS_HEAD = ['ADDRESS', 'STATE', 'CONTAINER', 'HOST', 'MAC', 'SINCE'];
/** Names may be long; addresses are never cut. */
export const addressLayout = (head: readonly string[], width: number): TableOptions => ({
  width,
  cut: ['CONTAINER', 'HOST'].map((title) => head.indexOf(title)),
});

/** Docker's own way to shorten an identifier. */
const SHORT_ID = 12;

export function addressRow(address: StoredAddress, overview: TenantOverview): string[] {
  const { ip, state, host, mac = '-', to, keep, since } = address;
  const isMissed = isHeld(address) && !overview.alive.has(host);
  const name = overview.hosts.get(host)?.hostName ?? host;
  return [
    formatIp(ip),
    [
      state,
      ...(keep && state !== 'kept' ? ['kept'] : []),
      ...(to === undefined ? [] : [`may go to ${overview.hosts.get(to)?.hostName ?? to}`]),
    ].join(', '),
    containerOf(address) ?? '-',
    isMissed ? `${name} (not alive)` : name,
    mac,
    timeText(since),
  ];
}

export function addressJson(address: StoredAddress, { hosts, alive }: TenantOverview) {
  const { ip, state, host, vtep, mac, endpoint, container, names, to, keep, since } = address;
  const hostName = hosts.get(host)?.hostName;
  return {
    address: formatIp(ip),
    state,
    keep,
    since: timeText(since),
    host,
    ...(hostName !== undefined && { hostName }),
    hostAlive: alive.has(host),
    vtep: formatIp(vtep),
    ...(mac !== undefined && { mac }),
    ...(endpoint !== undefined && { endpoint }),
    ...(container !== undefined && { container }),
    names,
    ...(to !== undefined && { to }),
  };
}

function tenantJson({ name, vni, subnets, mtu, internal }: Tenant) {
  const json = ({ prefix, range, gateway, auxiliary }: TenantSubnet) => ({
    prefix: formatPrefix(prefix),
    ...(range !== undefined && { range: formatPrefix(range) }),
    gateway: formatIp(gateway),
    auxiliary: Object.fromEntries(Object.entries(auxiliary).map(([key, ip]) => [key, formatIp(ip)])),
  });
  return {
    name,
    vni,
    internal,
    ...(mtu !== undefined && { mtu }),
    subnets: {
      ...(subnets.v4 && { v4: json(subnets.v4) }),
      ...(subnets.v6 && { v6: json(subnets.v6) }),
    },
  };
}

function hostJson(
  { id, hostName, vtep, docker, removed, seen, version }: HostRecord,
  name: string,
  overview: TenantOverview,
) {
  const networkId = networkIdOf(docker, name);
  return {
    id,
    hostName,
    vtep: formatIp(vtep),
    version,
    alive: overview.alive.has(id),
    ...(seen !== undefined && { seen: timeText(seen) }),
    ...(networkId !== undefined && { dockerNetwork: networkId }),
    removedByUser: removed.includes(name),
  };
}

/** Hosts whose Docker has a network of it. */
const hostsWith = ({ hosts }: TenantOverview, name: string): HostRecord[] =>
  [...hosts.values()].filter(({ docker }) => networkIdOf(docker, name) !== undefined);

const networkIdOf = (docker: HostRecord['docker'], name: string): string | undefined =>
  Object.entries(docker).find(([, tenant]) => tenant === name)?.[0];

const subnetsOf = ({ subnets: { v4, v6 } }: Tenant): TenantSubnet[] => [
  ...(v4 === undefined ? [] : [v4]),
  ...(v6 === undefined ? [] : [v6]),
];

function subnetText({ prefix, range, gateway, auxiliary }: TenantSubnet): string {
  return [
    formatPrefix(prefix),
    `gateway ${formatIp(gateway)}`,
    ...(range === undefined ? [] : [`range ${formatPrefix(range)}`]),
    ...Object.entries(auxiliary).map(([name, ip]) => `${name}=${formatIp(ip)}`),
  ].join(', ');
}

function lifeText({ hosts, alive }: TenantOverview, id: string): string {
  const seen = hosts.get(id)?.seen;
  if (alive.has(id)) return 'yes';
  return seen === undefined ? 'no' : `no, seen ${timeText(seen)} or later`;
}

const titled = (
  rows: readonly (readonly string[])[],
  head: readonly string[],
  options: TableOptions,
): string[] => (rows.length === 0 ? [] : ['', ...formatTable([head, ...rows], options)]);

/** A time that another host's clock gave; to the second. */
function timeText(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? 'unknown' : time.toISOString().replace(/\.\d+Z$/, 'Z');
}

const adminOf = (folders: RecordFolders): TenantAdmin =>
  new TenantAdmin({ folders, clock: systemClock, random: systemRandom, log: silentLogger });
