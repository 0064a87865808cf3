import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chooseDevices, presentDevices } from '#src/driver/choose-devices.ts';
import type { KernelObject } from '#src/state/object.ts';
import { until } from '#src/sys/until.ts';
import {
  localEntry,
  portName,
  portObjects,
  remoteEntries,
  type SegmentPlace,
  segmentObjects,
  sharedObjects,
} from '#src/tenant/segment-objects.ts';
import { sharedWiring } from '#src/tenant/segment-wiring.ts';
import type { AddressRecord, Tenant } from '#src/tenant/tenant.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { ip, mac, PORT, type TenantHost, type TestContainer, tenantHosts } from '../support/tenant-hosts.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Two tenants with the same subnet on three hosts, where one bridge and one VXLAN device carry all; a1 and b1 have the same
 * address and the same MAC, and a VLAN is another tenant on each host:
 *
 *     h1 172.31.0.1                  h2 172.31.0.2                  h3 172.31.0.3
 *      └ weft                         └ weft                         └ weft
 *         br-all ─ vx-all                br-all ─ vx-all                br-all ─ vx-all
 *          ├ VLAN 1: br-70001, a1         └ VLAN 1: br-16777215, b2      └ VLAN 9: br-70001, a3
 *          └ VLAN 2: br-16777215, b1
 */
const [A, B] = [70_001, 16_777_215];

const tenantOf = (vni: number): Tenant =>
  ({
    name: `t${vni}`,
    vni,
    internal: false,
    subnets: { v4: { prefix: { family: 4, address: ip('10.5.0.0'), length: 24 }, gateway: ip('10.5.0.1') } },
  }) as unknown as Tenant;

const placeOf = ({ vtep }: TenantHost): SegmentPlace => ({
  vtep: ip(vtep),
  local: ip(vtep),
  mtu: 1500,
  port: PORT,
});

/** A host's segments, by their VLANs. */
function segmentsOn(host: TenantHost, vlans: ReadonlyMap<number, number>): KernelObject[] {
  const place = placeOf(host);
  return [
    ...sharedObjects(place, { forwards: false }),
    ...[...vlans].flatMap(([vni, vlan]) =>
      segmentObjects(tenantOf(vni), sharedWiring(vni, vlan), place, { forwards: false }),
    ),
  ].filter(({ kind }) => kind !== 'sysctl');
}

const endpointOf = ({ name }: TestContainer): string => Buffer.from(name).toString('hex').padEnd(64, '0');

function here(container: TestContainer, vlan: number): KernelObject[] {
  const { vni, host } = container;
  const wiring = sharedWiring(vni, vlan);
  const request = { endpoint: endpointOf(container), mac: container.mac, up: true, locked: true };
  return [
    ...portObjects(tenantOf(vni), wiring, placeOf(host), request),
    localEntry(wiring, container.mac, request.endpoint),
  ];
}

function there(container: TestContainer, vlan: number): KernelObject[] {
  const { vni, host } = container;
  const records = [container.ip, container.ip6].map(
    (address) =>
      ({ ip: ip(address), state: 'published', host: host.vtep, vtep: ip(host.vtep) }) as AddressRecord,
  );
  const [holder] = records;
  assert.ok(holder);
  return remoteEntries(tenantOf(vni), sharedWiring(vni, vlan), container.mac, records, holder, 'another');
}

/** As dockerd does. */
function moveIn(container: TestContainer): void {
  const { namespace, host } = container;
  const far = `w${endpointOf(container).slice(0, 13)}`;
  host.namespace.run(`ip link set ${far} netns ${basename(namespace.path)} name eth0`);
  namespace.run(`ip address add ${container.ip}/24 dev eth0`);
  namespace.run(`ip address add ${container.ip6}/64 dev eth0 nodad`);
  namespace.run('ip link set eth0 up');
}

const ping = ({ namespace }: TestContainer, to: string, ...options: string[]): boolean => {
  try {
    namespace.run(['ping', '-n', '-c1', '-W2', ...options, to].join(' '));
    return true;
  } catch {
    return false;
  }
};
const reaches = (from: TestContainer, to: string): Promise<boolean> =>
  until(() => ping(from, to), { what: `answer of ${to} to ${from.name}` });

/** Why the kernel has no such devices. */
async function lack(t: TestContext): Promise<string | undefined> {
  const [host] = await tenantHosts(t, 1);
  assert.ok(host);
  const choice = await chooseDevices(host.kernel, placeOf(host));
  const left = (await host.kernel.links()).map(({ name }) => name);
  assert.deepEqual(left, ['lo'], 'the trial leaves nothing');
  return choice.kind === 'own' ? choice.reason : undefined;
}

async function tenants(t: TestContext) {
  const hosts = (await tenantHosts(t, 3, { shared: true })) as [TenantHost, TenantHost, TenantHost];
  const [h1, h2, h3] = hosts;
  const container = (name: string, vni: number, host: TenantHost, last: number): TestContainer => ({
    name,
    vni,
    ip: `10.5.0.${last}`,
    ip6: `fd05::${last}`,
    mac: mac(`02:42:0a:05:00:${last.toString(16).padStart(2, '0')}`),
    host,
    namespace: scratchNamespace(t),
  });
  const a1 = container('a1', A, h1, 11);
  const a3 = container('a3', A, h3, 13);
  const b1 = container('b1', B, h1, 11);
  const b2 = container('b2', B, h2, 12);
  const vlans = new Map([
    [A, 1],
    [B, 2],
  ]);
  await h1.want([...segmentsOn(h1, vlans), ...here(a1, 1), ...there(a3, 1), ...here(b1, 2), ...there(b2, 2)]);
  await h2.want([...segmentsOn(h2, new Map([[B, 1]])), ...here(b2, 1), ...there(b1, 1)]);
  await h3.want([...segmentsOn(h3, new Map([[A, 9]])), ...here(a3, 9), ...there(a1, 9)]);
  for (const each of [a1, a3, b1, b2]) moveIn(each);
  return { h1, h2, h3, a1, a3, b1, b2 };
}

const skip = cannotRun('ping', 'nft');

test('one VXLAN device carries all tenants, and keeps them apart', { skip }, async (t) => {
  const reason = await lack(t);
  if (reason !== undefined) return t.skip(reason);
  const { h1, h2, a1, a3, b1, b2 } = await tenants(t);
  await t.test('each reaches its own, in both families, at the full size', async () => {
    await reaches(a1, a3.ip);
    await reaches(b1, b2.ip);
    await reaches(a1, a3.ip6);
    await reaches(b1, b2.ip6);
    assert.ok(ping(a1, a3.ip, '-M', 'do', '-s', '1422'));
  });
  await t.test('and nothing of the other tenant', () => {
    assert.ok(!ping(a1, b2.ip));
    assert.ok(!ping(b1, a3.ip));
  });
  await t.test('the third host gets no frame', async () => {
    const before = h2.vxlanPackets();
    for (const { namespace } of [a1, a3]) namespace.run('ip neigh flush dev eth0');
    await reaches(a1, a3.ip);
    ping(a1, '10.5.0.77');
    ping(a1, '10.5.0.255', '-b');
    ping(a1, 'ff02::1%eth0');
    assert.equal(h2.vxlanPackets(), before);
    assert.ok(ping(b1, b2.ip));
    assert.ok(h2.vxlanPackets() > before);
  });
  await t.test('a container can’t send as another', () => {
    a1.namespace.run('ip link set eth0 address 02:42:0a:05:00:99');
    assert.ok(!ping(a1, a3.ip));
    a1.namespace.run(`ip link set eth0 address ${a1.mac}`);
    assert.ok(ping(a1, a3.ip));
  });
  await t.test('nor in the VLAN of another tenant', () => {
    a1.namespace.run('ip link add link eth0 name v2 type vlan id 2');
    a1.namespace.run('ip address add 10.5.0.99/24 dev v2');
    a1.namespace.run('ip link set v2 up');
    a1.namespace.run(`ip neigh add ${b1.ip} lladdr ${b1.mac} dev v2`);
    assert.ok(!ping(a1, b1.ip, '-I', 'v2'));
    a1.namespace.run('ip link del v2');
  });
  await t.test('a later run finds the VLANs', async () => {
    const present = await presentDevices(h1.kernel);
    assert.deepEqual(present, {
      kind: 'shared',
      vlans: new Map([
        [A, 1],
        [B, 2],
      ]),
    });
  });
});

test('with shared devices too, what others change is repaired on the event', { skip }, async (t) => {
  const reason = await lack(t);
  if (reason !== undefined) return t.skip(reason);
  const { h1, a1, a3, b1, b2 } = await tenants(t);
  await reaches(a1, a3.ip);
  await reaches(b1, b2.ip);
  const port = portName(endpointOf(a1));
  const DRIFT: readonly string[] = [
    `bridge fdb del ${a3.mac} dev vx-all master vlan 1`,
    `bridge fdb del ${a3.mac} dev vx-all dst 172.31.0.3 src_vni ${A} self`,
    `bridge fdb replace ${a3.mac} dev vx-all dst 172.31.0.2 src_vni ${A} self permanent`,
    `bridge fdb del ${a1.mac} dev ${port} master vlan 1`,
    `ip neigh del ${a3.ip} dev br-${A}`,
    `bridge vni delete dev vx-all vni ${A}`,
    'bridge vlan del dev vx-all vid 1',
    `bridge vlan del dev vx-all vid 1 tunnel_info id ${A}`,
    'bridge vlan del dev br-all vid 1 self',
    `bridge vlan del dev ${port} vid 1`,
    `bridge vlan add dev ${port} vid 1 untagged`,
    'bridge link set dev vx-all vlan_tunnel off',
    'bridge link set dev vx-all learning on flood on neigh_suppress off',
    `ip link set ${port} nomaster`,
    'ip link set vx-all down',
    `ip link del br-${A}`,
    'ip link del vx-all',
    'ip link del br-all',
  ];
  for (const drift of DRIFT) {
    await t.test(drift, async () => {
      h1.weft(drift);
      await h1.isRight(`repair after ${drift}`);
      await h1.owner.settled();
      assert.deepEqual(h1.owner.status.failing, []);
      await reaches(a1, a3.ip);
      await reaches(b1, b2.ip);
    });
  }
  await t.test('and what is not wanted any more is gone', async () => {
    await h1.want([]);
    assert.deepEqual(
      (await h1.kernel.links()).map(({ name }) => name),
      ['lo'],
    );
    assert.equal(h1.namespace.run(`ss -Hlnu sport = ${PORT}`).trim(), '');
  });
});
