import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEye } from '#src/diagnose/trace/eye.ts';
import { readSegment } from '#src/diagnose/trace/tenant-host.ts';
import { presentDevices } from '#src/driver/choose-devices.ts';
import { formatIp, type Ipv4 } from '#src/lib/ip.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { findSegments } from '#src/tenant/found-segments.ts';
import {
  A,
  B,
  endpointOf,
  lackOfSharedDevices,
  segmentsOn,
  sharedTenants,
} from '../support/shared-tenants.ts';
import { ip, type TenantHost, tenantHosts } from '../support/tenant-hosts.ts';
import { ping, reaches, testApart } from '../support/tenants-apart.ts';
import { cannotRun } from '../support/test-lab.ts';

/* The hosts and tenants of test/support/shared-tenants.ts. */
const skip = cannotRun('ping', 'nft');

test('one VXLAN device carries all tenants, and keeps them apart', { skip }, async (t) => {
  const reason = await lackOfSharedDevices(t);
  if (reason !== undefined) return t.skip(reason);
  const { h1, h2, a1, a2, a3, b1, b2 } = await sharedTenants(t);
  await testApart(t, { h2, a1, a3, b1, b2 });
  await t.test('one on the same host is reached as well, and b1 does not reach it', async () => {
    await reaches(a1, a2.ip);
    assert.ok(!ping(b1, a2.ip));
  });
  await t.test('nor in the VLAN of another tenant', () => {
    a1.namespace.run('ip link add link eth0 name v2 type vlan id 2');
    a1.namespace.run('ip address add 10.5.0.99/24 dev v2');
    a1.namespace.run('ip link set v2 up');
    a1.namespace.run(`ip neigh add ${b1.ip} lladdr ${b1.mac} dev v2`);
    assert.ok(!ping(a1, b1.ip, '-I', 'v2'));
    a1.namespace.run('ip link del v2');
  });
  await t.test('a later run, and a trace, find the VLANs', async () => {
    const present = await presentDevices(h1.kernel);
    assert.ok(present?.kind === 'shared');
    const places = new Map([
      [A, { pair: 1, vlan: 1 }],
      [B, { pair: 1, vlan: 2 }],
    ]);
    assert.deepEqual(present.places, places);
    const held = new Set(Array.from(present.held, ({ pair, vlan }) => `${pair} ${vlan}`));
    assert.deepEqual(held, new Set(['1 1', '1 2']));
    const found = await findSegments(h1.kernel);
    const wiring = found.wiringOf(A);
    assert.ok(wiring);
    const ports = [a1, a2].map((container) => `p${endpointOf(container).slice(0, 13)}`);
    assert.deepEqual(
      found
        .devicesIn(wiring)
        .map(({ name }) => name)
        .sort(),
      [...ports, 'vx-all'].sort(),
    );
  });
  await t.test('a trace sees the segment by its VLAN', async () => {
    const options = { namespace: h1.weftPath, hostNamespace: h1.namespace.path };
    const eye = openEye({ netlink: systemNetlink }, options);
    t.after(() => eye.close());
    const namespaces = async () => [a1, a2, b1].map(({ namespace }) => namespace.path);
    const segment = await readSegment(eye, A, ip(a2.ip) as Ipv4, namespaces);
    assert.equal(segment.inside?.link.name, 'eth0');
    assert.equal(segment.inside.port?.name, `p${endpointOf(a2).slice(0, 13)}`);
    assert.equal(segment.missingVlan, undefined);
    assert.deepEqual([segment.device?.name, segment.device?.vxlan?.vni], ['vx-all', A]);
    assert.deepEqual(
      segment.fdb.map(({ mac, destination }) => [mac, formatIp(destination)]),
      [[a3.mac, '172.31.0.3']],
    );
    assert.deepEqual(segment.neighbours.map(({ mac }) => mac).sort(), [a3.mac, a3.mac]);
    assert.ok(segment.bridgeFdb.every(({ vlan }) => vlan === 1));
    const other = await readSegment(eye, B, ip(b1.ip) as Ipv4, namespaces);
    assert.equal(other.inside?.port?.name, `p${endpointOf(b1).slice(0, 13)}`);
  });
});

test('a second pair of devices takes the tenants that the first has no room for', { skip }, async (t) => {
  const reason = await lackOfSharedDevices(t);
  if (reason !== undefined) return t.skip(reason);
  const [host] = (await tenantHosts(t, 1, { shared: true })) as [TenantHost];
  const places = new Map([
    [A, { pair: 1, vlan: 4_094 }],
    [B, { pair: 2, vlan: 1 }],
  ]);
  await host.want(segmentsOn(host, places));
  await host.isRight('two pairs on one port');
  const made = ['br-16777215', 'br-70001', 'br-all', 'br-all2', 'vx-all', 'vx-all2'];
  assert.deepEqual(await host.madeLinks(), made);
});
