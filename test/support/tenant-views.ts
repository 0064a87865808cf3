import assert from 'node:assert/strict';
import { filters } from '#src/docker/docker-calls.ts';
import { WeftError } from '#src/lib/errors.ts';
import { until } from '#src/sys/until.ts';
import type { TenantHost } from './docker-tenant-host.ts';
import type { Tenants } from './docker-tenants.ts';
import { PREFIX } from './flanneld.ts';

/** One address of a container, as Docker on its host or as the store has it. */
export interface AddressView {
  readonly tenant: string;
  readonly ip: string;
  readonly mac: string;
  readonly endpoint: string;
  /** The host's address on the underlay. */
  readonly vtep: string;
}

/** A record of `tenants/addresses`, with its key. */
export interface StoredAddress {
  readonly tenant: string;
  readonly ip: string;
  readonly state: string;
  readonly host: string;
  readonly vtep: string;
  readonly mac?: string;
  readonly endpoint?: string;
  readonly container?: string;
  readonly names?: readonly string[];
}

/** Keys and values below `<prefix>/tenants/FOLDER/`, keys without that part. */
export async function storedKeys({ store, api }: Tenants, folder: string): Promise<Map<string, string>> {
  const key = `${PREFIX}/tenants/${folder}/`;
  const pairs = api === 3 ? await listV3(store, key) : await listV2(store, key);
  return new Map(pairs.map(([name, value]) => [name.slice(key.length), value]));
}

/**
 * Ends the sign of life of a host that is cut off, which the store would do by itself after a minute: that it does is
 * tested with the records. For stores that are asked by v3.
 */
export async function endLife({ store }: Tenants, id: string): Promise<void> {
  await store.must(3, ['del', `${PREFIX}/tenants/alive/${id}`]);
}

/** Every record of an address. */
export async function storedAddresses(tenants: Tenants): Promise<StoredAddress[]> {
  const records = [...(await storedKeys(tenants, 'addresses'))];
  return records.map(([key, value]) => {
    const [tenant = '', ip = ''] = key.split('/');
    return { tenant, ip, ...(JSON.parse(value) as Omit<StoredAddress, 'tenant' | 'ip'>) };
  });
}

/** The record of one address; `undefined` when there is none. */
export async function storedAddress(
  tenants: Tenants,
  tenant: string,
  ip: string,
): Promise<StoredAddress | undefined> {
  return (await storedAddresses(tenants)).find((it) => it.tenant === tenant && it.ip === ip);
}

/** Waits until nobody has these addresses. Their host writes that a moment after Docker has given them back. */
export async function waitForRelease(tenants: Tenants, tenant: string, ...ips: string[]): Promise<void> {
  const isFree = async (ip: string): Promise<boolean> => {
    const { state } = (await storedAddress(tenants, tenant, ip)) ?? {};
    return state !== 'published' && state !== 'reserved';
  };
  for (const ip of ips) {
    const what = `release of ${ip} of network ${tenant}`;
    await until(() => isFree(ip), { what, timeoutMs: 60_000, intervalMs: 100 });
  }
}

/** Waits until the record of an address has a container's name, which Docker says a moment after its start. */
export async function waitForName(tenants: Tenants, tenant: string, ip: string, name: string): Promise<void> {
  const isThere = async () => (await storedAddress(tenants, tenant, ip))?.names?.includes(name) === true;
  await until(isThere, { what: `name ${name} in the record of ${ip}`, timeoutMs: 60_000, intervalMs: 100 });
}

/** What the dockerd of one host says. */
export async function dockerAddresses(host: TenantHost): Promise<AddressView[]> {
  const listed = (await host.docker.look(`/networks?${filters({ driver: ['weft'] })}`)) as { Id: string }[];
  const found = await Promise.all(listed.map(({ Id }) => host.network(Id)));
  // One may have gone meanwhile.
  const networks = found.filter((it) => it !== undefined);
  return networks.flatMap(({ Options, Containers }) =>
    Object.values(Containers).flatMap(({ EndpointID, MacAddress, IPv4Address, IPv6Address }) =>
      [IPv4Address, IPv6Address]
        .filter((address) => address !== '')
        .map((address) => ({
          tenant: Options['weft.network'] ?? '',
          ip: address.split('/')[0] ?? '',
          mac: MacAddress,
          endpoint: EndpointID,
          vtep: host.address,
        })),
    ),
  );
}

/**
 * What all dockerds have and what the store calls published are the same, soon; and no two containers of a tenant have one
 * address or one MAC. The number of addresses.
 */
export async function assertViewsAgree(tenants: Tenants, timeoutMs = 30_000): Promise<number> {
  const look = async () => ({ docker: await dockerView(tenants), store: await storeView(tenants) });
  const last: { views?: Awaited<ReturnType<typeof look>> } = {};
  await until(
    async () => {
      const views = await look();
      last.views = views;
      return JSON.stringify(views.docker) === JSON.stringify(views.store);
    },
    { what: 'agreement', timeoutMs, intervalMs: 500 },
  ).catch((error: unknown) => {
    // The difference says more than that it stayed.
    if (last.views === undefined || !(error instanceof WeftError && error.code === 'timed-out')) throw error;
  });
  const { docker, store } = last.views ?? (await look());
  assert.deepEqual(store, docker);
  for (const field of ['ip', 'mac'] as const) {
    const taken = docker.map((it) => `${it.tenant} ${isIpv6(it.ip) ? 6 : 4} ${it[field]}`);
    assert.equal(new Set(taken).size, taken.length, `two containers with one ${field}`);
  }
  return docker.length;
}

async function dockerView({ hosts }: Tenants): Promise<AddressView[]> {
  return (await Promise.all(hosts.map(dockerAddresses))).flat().sort(byPlace);
}

async function storeView(tenants: Tenants): Promise<AddressView[]> {
  const published = (await storedAddresses(tenants)).filter(({ state }) => state === 'published');
  return published
    .map(({ tenant, ip, mac = '', endpoint = '', vtep }) => ({ tenant, ip, mac, endpoint, vtep }))
    .sort(byPlace);
}

const placeOf = ({ tenant, ip, vtep }: AddressView): string => `${tenant} ${ip} ${vtep}`;
const byPlace = (a: AddressView, b: AddressView): number => (placeOf(a) < placeOf(b) ? -1 : 1);
const isIpv6 = (ip: string): boolean => ip.includes(':');

type Store = Tenants['store'];

async function listV3(store: Store, key: string): Promise<[string, string][]> {
  const { kvs = [] } = JSON.parse(await store.must(3, ['get', '--prefix', '-w', 'json', key])) as {
    kvs?: { key: string; value?: string }[];
  };
  const text = (base64 = '') => Buffer.from(base64, 'base64').toString();
  return kvs.map(({ key, value }) => [text(key), text(value)]);
}

interface V2Node {
  readonly key: string;
  readonly value?: string;
  readonly nodes?: readonly V2Node[];
}

async function listV2({ members }: Store, key: string): Promise<[string, string][]> {
  const [member] = members;
  if (member === undefined) return [];
  const url = `${member.endpoint}/v2/keys${key}?recursive=true`;
  const { node } = JSON.parse(await member.host.must(['curl', '-s', url])) as { node?: V2Node };
  const leaves = ({ key, value, nodes = [] }: V2Node): [string, string][] =>
    value === undefined ? nodes.flatMap(leaves) : [[key, value]];
  return node === undefined ? [] : leaves(node);
}
