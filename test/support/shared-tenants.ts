import assert from 'node:assert/strict';
import { basename } from 'node:path';
import type { TestContext } from 'node:test';
import { chooseDevices } from '#src/driver/choose-devices.ts';
import type { KernelObject } from '#src/state/object.ts';
import {
  localEntry,
  portObjects,
  remoteEntries,
  type SegmentPlace,
  segmentObjects,
  sharedObjects,
} from '#src/tenant/segment-objects.ts';
import { ownWiring, type SharedPlace, sharedWiring } from '#src/tenant/segment-wiring.ts';
import type { AddressRecord, Tenant } from '#src/tenant/tenant.ts';
import { scratchNamespace } from './scratch-namespace.ts';
import { ip, mac, PORT, type TenantHost, type TestContainer, tenantHosts } from './tenant-hosts.ts';

/*
 * Two tenants with the same subnet on three hosts, where one bridge and one VXLAN device carry all; a1 and b1 have the same
 * address and the same MAC, and a VLAN is another tenant on each host. a2 is the second of its tenant on h1, and has no
 * counterpart elsewhere:
 *
 *     h1 172.31.0.1                  h2 172.31.0.2                  h3 172.31.0.3
 *      └ weft                         └ weft                         └ weft
 *         br-all ─ vx-all                br-all ─ vx-all                br-all ─ vx-all
 *          ├ VLAN 1: br-70001, a1, a2     └ VLAN 1: br-16777215, b2      └ VLAN 9: br-70001, a3
 *          └ VLAN 2: br-16777215, b1
 */
export const [A, B] = [70_001, 16_777_215];

export const tenantOf = (vni: number): Tenant =>
  ({
    name: `t${vni}`,
    vni,
    internal: false,
    subnets: { v4: { prefix: { family: 4, address: ip('10.5.0.0'), length: 24 }, gateway: ip('10.5.0.1') } },
  }) as unknown as Tenant;

export const placeOf = ({ vtep }: TenantHost): SegmentPlace => ({
  vtep: ip(vtep),
  local: ip(vtep),
  mtu: 1500,
  port: PORT,
});

/** VLANs by VNI, on the first pair of shared devices. */
const placesOf = (vlans: Readonly<Record<number, number>>): Map<number, SharedPlace> =>
  new Map(Object.entries(vlans).map(([vni, vlan]) => [Number(vni), { pair: 1, vlan }]));

/** A host's segments. */
export function segmentsOn(host: TenantHost, places: ReadonlyMap<number, SharedPlace>): KernelObject[] {
  const place = placeOf(host);
  const pairs = new Set(Array.from(places.values(), ({ pair }) => pair));
  return [
    ...[...pairs].flatMap((pair) => sharedObjects(pair, place, { forwards: false })),
    ...[...places].flatMap(([vni, at]) =>
      segmentObjects(tenantOf(vni), sharedWiring(vni, at), place, { forwards: false }),
    ),
  ].filter(({ kind }) => kind !== 'sysctl');
}

export const endpointOf = ({ name }: TestContainer): string =>
  Buffer.from(name).toString('hex').padEnd(64, '0');

/** A container on its own host. Without a place: with devices of the segment's own. */
export function here(container: TestContainer, at?: SharedPlace): KernelObject[] {
  const { vni, host } = container;
  const wiring = at === undefined ? ownWiring(vni) : sharedWiring(vni, at);
  const request = { endpoint: endpointOf(container), mac: container.mac, up: true, locked: true };
  return [
    ...portObjects(tenantOf(vni), wiring, placeOf(host), request),
    localEntry(wiring, container.mac, request.endpoint),
  ];
}

/** A container on another host. */
export function there(container: TestContainer, at?: SharedPlace): KernelObject[] {
  const { vni, host } = container;
  const wiring = at === undefined ? ownWiring(vni) : sharedWiring(vni, at);
  const records = [container.ip, container.ip6].map(
    (address) =>
      ({ ip: ip(address), state: 'published', host: host.vtep, vtep: ip(host.vtep) }) as AddressRecord,
  );
  const [holder] = records;
  assert.ok(holder);
  return remoteEntries(tenantOf(vni), wiring, container.mac, records, holder, 'another');
}

/** As dockerd does. */
export function moveIntoContainer(container: TestContainer): void {
  const { namespace, host } = container;
  const far = `w${endpointOf(container).slice(0, 13)}`;
  host.namespace.run(`ip link set ${far} netns ${basename(namespace.path)} name eth0`);
  namespace.run(`ip address add ${container.ip}/24 dev eth0`);
  namespace.run(`ip address add ${container.ip6}/64 dev eth0 nodad`);
  namespace.run('ip link set eth0 up');
}

/** Why the kernel has no such devices. */
export async function lackOfSharedDevices(t: TestContext): Promise<string | undefined> {
  const [host] = await tenantHosts(t, 1);
  assert.ok(host);
  const choice = await chooseDevices(host.kernel, placeOf(host));
  assert.deepEqual(await host.madeLinks(), [], 'the trial leaves nothing');
  return choice.kind === 'own' ? choice.reason : undefined;
}

export function testContainer(
  t: TestContext,
  name: string,
  { vni, host, last }: { readonly vni: number; readonly host: TenantHost; readonly last: number },
): TestContainer {
  return {
    name,
    vni,
    ip: `10.5.0.${last}`,
    ip6: `fd05::${last}`,
    mac: mac(`02:42:0a:05:00:${last.toString(16).padStart(2, '0')}`),
    host,
    namespace: scratchNamespace(t),
  };
}

export async function sharedTenants(t: TestContext) {
  const hosts = (await tenantHosts(t, 3, { shared: true })) as [TenantHost, TenantHost, TenantHost];
  const [h1, h2, h3] = hosts;
  const a1 = testContainer(t, 'a1', { vni: A, host: h1, last: 11 });
  const a2 = testContainer(t, 'a2', { vni: A, host: h1, last: 14 });
  const a3 = testContainer(t, 'a3', { vni: A, host: h3, last: 13 });
  const b1 = testContainer(t, 'b1', { vni: B, host: h1, last: 11 });
  const b2 = testContainer(t, 'b2', { vni: B, host: h2, last: 12 });
  const [one, two, nine] = [1, 2, 9].map((vlan): SharedPlace => ({ pair: 1, vlan }));
  await h1.want([
    ...segmentsOn(h1, placesOf({ [A]: 1, [B]: 2 })),
    ...[a1, a2].flatMap((container) => here(container, one)),
    ...[...there(a3, one), ...here(b1, two), ...there(b2, two)],
  ]);
  await h2.want([...segmentsOn(h2, placesOf({ [B]: 1 })), ...here(b2, one), ...there(b1, one)]);
  await h3.want([
    ...segmentsOn(h3, placesOf({ [A]: 9 })),
    ...here(a3, nine),
    ...[a1, a2].flatMap((container) => there(container, nine)),
  ]);
  for (const each of [a1, a2, a3, b1, b2]) moveIntoContainer(each);
  return { h1, h2, h3, a1, a2, a3, b1, b2 };
}

export type SharedTenants = Awaited<ReturnType<typeof sharedTenants>>;
