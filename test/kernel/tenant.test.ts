import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { deviceOf, keyOf } from '#src/state/object.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import {
  entriesOf,
  mac,
  moveIn,
  networkOf,
  portOf,
  type TenantHost,
  type TestContainer,
  tenantHosts,
} from '../support/tenant-hosts.ts';
import { reaches, testApart } from '../support/tenants-apart.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Two tenants with the same subnet on three hosts; a1 and b1 have the same address:
 *
 *     h1 172.31.0.1                     h2 172.31.0.2                     h3 172.31.0.3
 *      └ weft                            └ weft                            └ weft
 *         br-70001 ─ vx-70001                                                 br-70001 ─ vx-70001
 *          └ pa1 ── a1 10.5.0.11                                               └ pa3 ── a3 10.5.0.13
 *         br-16777215 ─ vx-16777215         br-16777215 ─ vx-16777215
 *          └ pb1 ── b1 10.5.0.11             └ pb2 ── b2 10.5.0.12
 */
const skip = cannotRun('ping', 'nft');
const [A, B] = [70_001, 16_777_215];

async function tenants(t: TestContext) {
  const [h1, h2, h3] = (await tenantHosts(t, 3)) as [TenantHost, TenantHost, TenantHost];
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
  const wanted = {
    h1: [
      ...[...networkOf(A, h1), ...portOf(a1), ...entriesOf(a3)],
      ...[...networkOf(B, h1), ...portOf(b1), ...entriesOf(b2)],
    ],
    h2: [...networkOf(B, h2), ...portOf(b2), ...entriesOf(b1)],
    h3: [...networkOf(A, h3), ...portOf(a3), ...entriesOf(a1)],
  };
  await h1.want(wanted.h1);
  await h2.want(wanted.h2);
  await h3.want(wanted.h3);
  for (const each of [a1, a3, b1, b2]) moveIn(each);
  return { h1, h2, h3, a1, a3, b1, b2, wanted };
}

test('containers of one tenant reach each other, and nobody else hears of it', { skip }, async (t) => {
  const { h1, h2, a1, a3, b1, b2 } = await tenants(t);
  await testApart(t, { h2, a1, a3, b1, b2 });
  await t.test('the devices between them have no addresses', () => {
    assert.doesNotMatch(h1.weft('ip address show'), /fe80/);
  });
});

test('one device is listed as a list of all has it', { skip }, async (t) => {
  const { h1 } = await tenants(t);
  const KINDS = ['link', 'bridge-port'] as const;
  const all = await h1.kernel.dump({ kinds: KINDS });
  const devices = all.flatMap((object) => (object.kind === 'link' ? object.name : []));
  assert.ok(devices.length > 4);
  for (const device of devices) {
    const wanted = all.filter((object) => deviceOf(object) === device);
    assert.deepEqual(await h1.kernel.dump({ kinds: KINDS, device }), wanted, device);
  }
  assert.deepEqual(await h1.kernel.dump({ kinds: KINDS, device: 'nobody' }), []);
});

test('what others change is repaired on the event', { skip }, async (t) => {
  const { h1, a1, a3, b1, b2 } = await tenants(t);
  await reaches(a1, a3.ip);
  const [entry, device] = [a3.mac, `vx-${A}`];
  const DRIFT: readonly string[] = [
    `bridge fdb del ${entry} dev ${device} master`,
    `bridge fdb del ${entry} dev ${device} dst 172.31.0.3 self`,
    `bridge fdb replace ${entry} dev ${device} dst 172.31.0.2 self static`,
    `bridge fdb replace ${entry} dev pa1 master static`,
    `bridge fdb del ${a1.mac} dev pa1 master`,
    `ip neigh del ${a3.ip} dev br-${A}`,
    `ip neigh del ${a3.ip6} dev br-${A}`,
    `ip neigh replace ${a3.ip} lladdr 02:00:00:00:00:01 dev br-${A} nud permanent`,
    `bridge link set dev ${device} learning on flood on neigh_suppress off`,
    'bridge link set dev pa1 locked off',
    `ip link set ${device} nomaster`,
    'ip link set pa1 nomaster',
    `ip link set ${device} down`,
    `ip link set br-${A} down`,
    `ip link set br-${A} mtu 1300`,
    `ip link set br-${A} type bridge mcast_snooping 1`,
    `ip link del ${device}`,
    `ip link del br-${A}`,
  ];
  for (const drift of DRIFT) {
    await t.test(drift, async () => {
      h1.weft(drift);
      await h1.isRight(`repair after ${drift}`);
      await h1.owner.settled();
      await reaches(a1, a3.ip);
      await reaches(a1, a3.ip6);
    });
  }
  await t.test('and the other tenant is as it was', async () => {
    await reaches(b1, b2.ip);
  });
});

test('a port that was lost is made again, with its far end on the host or in the container', {
  skip,
}, async (t) => {
  const { h1, a1, a3, wanted } = await tenants(t);
  await reaches(a1, a3.ip);
  h1.weft('ip link del pa1');
  await h1.isRight('port with its far end on the host');
  const made = h1.namespace.json('ip link show wa1').map(({ address, mtu }) => [address, mtu]);
  assert.deepEqual(made, [[a1.mac, 1450]]);
  const [port] = portOf(a1, a1.namespace.path);
  assert.ok(port);
  await h1.want(wanted.h1.map((object) => (keyOf(object) === keyOf(port) ? port : object)));
  h1.weft('ip link del pa1');
  await h1.isRight('port with its far end in the container');
  a1.namespace.run(`ip address add ${a1.ip}/24 dev eth0`);
  a1.namespace.run('ip link set eth0 up');
  await reaches(a1, a3.ip);
});

test('a tenant that is no longer wanted leaves nothing behind', { skip }, async (t) => {
  const { h1, a1, a3 } = await tenants(t);
  await h1.want([...networkOf(A, h1), ...portOf(a1), ...entriesOf(a3)]);
  assert.deepEqual(await h1.madeLinks(), ['br-70001', 'pa1', 'vx-70001']);
  await reaches(a1, a3.ip);
  await h1.want([]);
  assert.deepEqual(await h1.madeLinks(), []);
  assert.deepEqual(await h1.kernel.dump({ kinds: ['fdb', 'neighbour', 'bridge-port'] }), []);
  const sockets = h1.namespace.run('ss -Hlnu sport = 8473').trim();
  assert.equal(sockets, '');
});
