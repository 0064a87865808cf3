import type { Ip } from '#src/lib/ip.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import type { LeaseRecord } from '#src/registry/registry.ts';
import { parseAddress } from '#src/tenant/address-codec.ts';
import { type HostRecord, parseHost } from '#src/tenant/host-codec.ts';
import type { AddressRecord, Tenant } from '#src/tenant/tenant.ts';
import { parseTenant } from '#src/tenant/tenant-codec.ts';
import { isTombstone } from '#src/tenant/tombstone.ts';

/** The tenants and the hosts of the whole network, as the registry has them at one time. */
export interface TenantOverview {
  /** By name, in the order of names. */
  readonly tenants: ReadonlyMap<string, Tenant>;
  /** Tenants whose records can't be used, with the reason. */
  readonly refused: ReadonlyMap<string, string>;
  /** Tenants that were removed lately. */
  readonly removed: ReadonlySet<string>;
  /** By identity. */
  readonly hosts: ReadonlyMap<string, HostRecord>;
  /** The identities of hosts that show life. */
  readonly alive: ReadonlySet<string>;
}

export interface StoredAddress extends AddressRecord {
  readonly stored: LeaseRecord;
}

/** The addresses of one tenant. */
export interface StoredAddresses {
  /** In the order of addresses, IPv4 first. */
  readonly addresses: readonly StoredAddress[];
  /** Records that can't be used, with the reason. */
  readonly refused: readonly { readonly stored: LeaseRecord; readonly reason: string }[];
}

/** Throws RegistryError without an answer. */
export async function readTenantOverview(
  folders: RecordFolders,
  signal: AbortSignal,
): Promise<TenantOverview> {
  const list = async (name: string) => (await folders.folder(`tenants/${name}`).list(signal)).records;
  const [networks, hosts, alive] = await Promise.all([list('networks'), list('hosts'), list('alive')]);
  const tenants = new Map<string, Tenant>();
  const refused = new Map<string, string>();
  const removed = new Set<string>();
  for (const { name, value } of networks.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const read = parseTenant(name, value);
    if (isTombstone(value)) removed.add(name);
    else if (read.ok) tenants.set(name, read.value);
    else refused.set(name, read.reason);
  }
  const readable = hosts.flatMap(({ name, value }) => {
    const read = parseHost(name, value);
    return read.ok ? [[name, read.value] as const] : [];
  });
  return {
    tenants,
    refused,
    removed,
    hosts: new Map(readable),
    alive: new Set(alive.map(({ name }) => name)),
  };
}

/** Throws RegistryError without an answer. */
export async function readAddresses(
  folders: RecordFolders,
  tenant: string,
  signal: AbortSignal,
): Promise<StoredAddresses> {
  const { records } = await folders.folder(addressFolder(tenant)).list(signal);
  const addresses: StoredAddress[] = [];
  const refused: { stored: LeaseRecord; reason: string }[] = [];
  for (const stored of records) {
    const read = parseAddress(stored.name, stored.value);
    if (read.ok) addresses.push({ ...read.value, stored });
    else refused.push({ stored, reason: read.reason });
  }
  return { addresses: addresses.sort((a, b) => inOrder(a.ip, b.ip)), refused };
}

export const addressFolder = (tenant: string): string => `tenants/addresses/${tenant}`;

function inOrder(a: Ip, b: Ip): number {
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return a < b ? -1 : 1;
}

/** `host node-3`, or by its identity where its record is gone; and whether it shows life. */
export function hostText({ hosts, alive }: Pick<TenantOverview, 'hosts' | 'alive'>, id: string): string {
  return `host ${hosts.get(id)?.hostName ?? id}${alive.has(id) ? '' : ' (not alive)'}`;
}
