import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import type { Store } from '#src/lab/store.ts';
import { messageOf } from '#src/lib/errors.ts';
import { artefactsOf, driverSocket } from '#src/node/network-id.ts';
import type { Answers, HostEvent, Peer } from '#src/observe/api.ts';
import { askApi, followEvents } from '#src/observe/api-client.ts';
import { askSocket } from '#src/observe/ask-socket.ts';
import { API_PATHS, openApiDocument, schemaOf } from '#src/observe/openapi.ts';
import { until } from '#src/sys/until.ts';
import { answerChecks } from '../support/answer-checks.ts';
import {
  flagsFor,
  PREFIX,
  startFlanneld,
  startStore,
  subnetOf,
  waitForRoute,
  writeConfig,
} from '../support/flanneld.ts';
import { cannotRun, testLab, wholeFile } from '../support/test-lab.ts';

/*
 * The local API of running daemons, asked from outside of their hosts through /proc/PID/root:
 *
 *     store .190 etcd ─┬─ h1 .191 flanneld, etcd v3, docker's driver ┐ one network, with a lease of
 *                      ├─ h2 .192 flanneld, etcd v3                  ┘ 10.0.250.0/24 that says nothing
 *                      └─ h3 .193 flanneld, etcd v2                    one more network, with two such leases:
 *                                                                      10.0.251.0/24 could be a host's
 */
const skip = cannotRun('etcd', 'etcdctl');
const PLACES = { stateDir: '/var/lib/weft', subnetFile: '/run/flannel/subnet.env' };
const BAD = '10.0.250.0-24';
const TTL = '10.0.251.0-24';
const VALUE =
  '{"PublicIP":"172.16.71.7","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:01:07"}}';
const keyOf = (lease: string): string => `${PREFIX}/subnets/${lease}`;

interface Served {
  readonly host: Host;
  readonly daemon: Daemon;
  readonly subnet: string;
  readonly socket: string;
  readonly driver: string;
}

async function serve(host: Host, store: Store, api: 'v2' | 'v3', more: string[] = []): Promise<Served> {
  const { daemon, subnetEnv } = await startFlanneld(host, [
    ...flagsFor(host, store),
    `--etcd-api=${api}`,
    ...more,
  ]);
  const root = `/proc/${daemon.pid}/root`;
  const socket = root + artefactsOf({ prefix: PREFIX }, PLACES).socket;
  return { host, daemon, subnet: subnetOf(subnetEnv), socket, driver: root + driverSocket(PLACES) };
}

let etcd: Store;
let [one, two, three]: Served[] = [];
wholeFile(skip, async (owner) => {
  const lab = await testLab(owner, { hosts: 3 });
  etcd = await startStore(lab, 'etcd');
  const [h1, h2, h3] = lab.hosts;
  assert.ok(h1 && h2 && h3);
  await Promise.all([writeConfig(etcd, 2), writeConfig(etcd, 3)]);
  await etcd.must(3, ['put', keyOf(BAD), '{"PublicIP":1}']);
  await etcd.must(2, ['set', keyOf(BAD), '{"PublicIP":1}']);
  await etcd.must(2, ['set', '--ttl', '600', keyOf(TTL), VALUE]);
  [one, two, three] = await Promise.all([
    serve(h1, etcd, 'v3', ['--docker-driver=on']),
    serve(h2, etcd, 'v3'),
    serve(h3, etcd, 'v2'),
  ]);
  assert.ok(one && two);
  await Promise.all([waitForRoute(one.host, two.subnet), waitForRoute(two.host, one.subnet)]);
});

function hosts(): { one: Served; two: Served; three: Served } {
  assert.ok(one && two && three);
  return { one, two, three };
}
const leaseOf = ({ subnet }: Served): string => `${subnet}.0-24`;

test('each answer of a running daemon is as the OpenAPI document says', { skip }, async () => {
  const check = answerChecks();
  const { one, two, three } = hosts();
  for (const { socket, host } of [one, two, three]) {
    for (const path of Object.keys(API_PATHS) as (keyof Answers)[]) {
      const schema = schemaOf(path, 'network');
      assert.ok(schema);
      assert.deepEqual(check(schema, await askApi(socket, path)), [], `${host.name} ${path}`);
    }
    const document = await askSocket(socket, '/v1/openapi');
    assert.ok(typeof document === 'object');
    assert.deepEqual(JSON.parse(document.body.toString()), openApiDocument());
  }
  // A driver that was asked for is served without Docker.
  await until(async () => (await askSocket(one.driver, '/status')) !== undefined, {
    what: "the driver's socket",
    timeoutMs: 30_000,
  });
  for (const path of Object.keys(API_PATHS) as (keyof Answers)[]) {
    const schema = schemaOf(path, 'driver');
    if (schema === undefined) await assert.rejects(askApi(one.driver, path), /there is no such path/);
    else assert.deepEqual(check(schema, await askApi(one.driver, path)), [], path);
  }
  const missing = await askSocket(one.socket, '/v2/peers');
  assert.ok(typeof missing === 'object');
  assert.deepEqual([missing.status, check('Refusal', JSON.parse(missing.body.toString()))], [404, []]);
});

test('only root may use the sockets', { skip }, () => {
  const { one } = hosts();
  for (const socket of [one.socket, one.driver]) assert.equal(statSync(socket).mode & 0o777, 0o600, socket);
});

test('peers and leases say who is there, who is not used and why, and how long a lease lasts', {
  skip,
}, async () => {
  const { one, two, three } = hosts();
  const { peers } = await askApi(one.socket, '/v1/peers');
  const byLease = new Map(peers.map((peer) => [peer.lease, peer]));
  assert.deepEqual([...byLease.keys()].sort(), [leaseOf(two), BAD].sort());
  const peer: Peer | undefined = byLease.get(leaseOf(two));
  assert.deepEqual(
    [peer?.subnet, peer?.publicIp, peer?.backend, peer?.programmed, peer?.vtep?.address],
    [`${two.subnet}.0/24`, two.host.address, 'vxlan', 'yes', `${two.subnet}.0`],
  );
  const link = await two.host.must(['ip', '-o', 'link', 'show', 'flannel.1']);
  assert.ok(link.includes(`link/ether ${peer?.vtep?.mac} `), link);
  assert.equal((await askApi(two.socket, '/v1/status')).node, peer?.node);
  assert.equal(byLease.get(BAD)?.programmed, 'quarantined');
  assert.ok(byLease.get(BAD)?.reason);

  const v3 = await askApi(one.socket, '/v1/leases');
  assert.deepEqual([v3.network, v3.subnetLength, v3.capacity, v3.used], ['10.0.0.0/16', 24, 255, 3]);
  const seen = new Map(v3.leases.map((lease) => [lease.lease, lease]));
  assert.deepEqual([seen.get(leaseOf(one))?.own, seen.get(leaseOf(two))?.own], [true, false]);
  assert.deepEqual([seen.get(BAD)?.expiry, typeof seen.get(BAD)?.quarantined], ['reservation', 'string']);
  // Etcd was asked for the time that v3's leases have left.
  for (const host of [one, two]) {
    const left = seen.get(leaseOf(host))?.remainingSeconds ?? 0;
    assert.ok(left > 80_000 && left <= 86_400, String(left));
  }

  const v2 = await askApi(three.socket, '/v1/leases');
  assert.equal(v2.used, 3);
  const left = v2.leases.find(({ lease }) => lease === TTL)?.remainingSeconds ?? 0;
  assert.ok(left > 400 && left <= 600, String(left));
  const there = (await askApi(three.socket, '/v1/peers')).peers.find(({ lease }) => lease === TTL);
  assert.ok((there?.remainingSeconds ?? 0) > 400);
});

test('the view has what each peer is wanted to have, and what was found', { skip }, async () => {
  const { one, two } = hosts();
  const { slots } = await askApi(one.socket, '/v1/view');
  const ofPeer = slots.filter(({ subject }) => subject === leaseOf(two));
  assert.deepEqual(ofPeer.map(({ kind }) => kind).sort(), ['fdb', 'neighbour', 'route']);
  assert.ok(
    ofPeer.every(({ wanted, found, failure, owner }) => wanted && found && !failure && owner === PREFIX),
  );
  const route = ofPeer.find(({ kind }) => kind === 'route');
  assert.match(route?.wanted ?? '', /^ip route add /);
  const inside = await askApi(one.driver, '/v1/view');
  assert.ok(inside.slots.some(({ kind, owner }) => kind === 'sysctl' && owner === 'tenants'));
});

test('events say what happened, as it happens', { skip }, async (t) => {
  const { one, two } = hosts();
  // Whether a network is ready is looked at once a second.
  const events = await until(
    async () => {
      const { events: said } = await askApi(one.socket, '/v1/events');
      const types = new Set(said.map(({ type }) => type));
      return (['start', 'ready', 'registry', 'lease'] as const).every((type) => types.has(type)) && said;
    },
    { what: 'the events of a start', timeoutMs: 30_000 },
  );
  const bad = events.find(({ subject }) => subject === BAD);
  assert.match(bad?.text ?? '', /^It is not used: /);

  const stop = new AbortController();
  const heard: HostEvent[] = [];
  const following = (async () => {
    const signal = AbortSignal.any([stop.signal, t.signal]);
    for await (const event of followEvents(one.socket, { after: events.at(-1)?.id ?? 0 }, signal))
      heard.push(event);
  })();
  following.catch(() => {});
  const hear = (what: string, isIt: (event: HostEvent) => boolean): Promise<HostEvent> =>
    until(() => heard.find(isIt), { what: `event of ${what}`, timeoutMs: 30_000 }).catch((error) => {
      throw new Error(`${messageOf(error)}: ${heard.map(({ text }) => text).join('\n')}`);
    });

  await one.host.must(['ip', 'route', 'del', `${two.subnet}.0/24`]);
  const repair = await hear('a repair', ({ type }) => type === 'repair');
  assert.match(repair.text, /was gone/);
  assert.ok((await askApi(one.socket, '/v1/view')).slots.some(({ key }) => key === repair.subject));

  await one.host.must(['iptables', '-F', 'FLANNEL-FWD']);
  await hear('repaired rules', ({ type, subject }) => type === 'repair' && subject === 'firewall rules');

  await etcd.must(3, ['put', keyOf('10.0.252.0-24'), VALUE]);
  await hear('a lease that came', ({ type, subject }) => type === 'lease' && subject === '10.0.252.0-24');
  await etcd.must(3, ['del', keyOf('10.0.252.0-24')]);
  await hear(
    'a lease that went',
    ({ text, subject }) => text === 'It is gone' && subject === '10.0.252.0-24',
  );

  const [, address = ''] =
    /inet (\S+)/.exec(await one.host.must(['ip', '-4', '-o', 'addr', 'show', 'eth0'])) ?? [];
  await one.host.must(['ip', 'addr', 'del', address, 'dev', 'eth0']);
  await hear('a lost underlay', ({ type, severity }) => type === 'underlay' && severity === 'warning');
  await hear('a network that is not ready', ({ type }) => type === 'not-ready');
  await one.host.must(['ip', 'addr', 'add', address, 'dev', 'eth0']);
  await hear('an underlay that is back', ({ type, severity }) => type === 'underlay' && severity === 'info');
  await hear('a network that is ready again', ({ type }) => type === 'ready');

  stop.abort();
  await assert.rejects(following, { name: 'AbortError' });
  const ids = heard.map(({ id }) => id);
  assert.deepEqual(
    ids,
    [...ids].sort((a, b) => a - b),
  );
});
