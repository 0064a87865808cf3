import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import type { Host } from '#src/lab/host.ts';
import type { Store } from '#src/lab/store.ts';
import { ALL_METRICS } from '#src/observe/metrics.ts';
import { until } from '#src/sys/until.ts';
import { FLANNELD, PREFIX, WEFT } from '../support/flanneld.ts';
import { promtool } from '../support/promtool.ts';
import { cannotRun, testLab, wholeFile } from '../support/test-lab.ts';

/*
 * The metrics of a daemon with three networks and Docker's driver, as curl gets them and as promtool judges them:
 *
 *     store .190     h1 .191 flanneld: blue (VNI 11), red (VNI 12), green (VNI 13), driver
 */
const skip = cannotRun('curl', 'nft', 'iptables');
const checker = promtool();
const PORT = 8081;
const NETWORKS = ['blue', 'red', 'green'];
/** What these networks have no use for: rows are only there where the thing is. */
const NOT_HERE = [
  // Encryption and the rotation of keys.
  'weft_plain_peers',
  'weft_key_generation',
  'weft_key_rotation_held_up',
  // --fast-path
  'weft_fast_path',
  'weft_fast_path_containers',
  'weft_fast_path_peers',
  'weft_fast_path_packets_total',
  // --trust
  'weft_disputed_leases',
  'weft_refused_leases_total',
  'weft_known_keys',
  // A peer that is measured.
  'weft_probe_worst_round_trip_seconds',
];
/** What a peer has in the kernel. */
const KINDS = ['route', 'neighbour', 'fdb'];
const SOCKET = '/run/docker/plugins/weft.sock';

let host: Host | undefined;
let store: Store | undefined;
const h1 = (): Host => host ?? assert.fail('the host was not made');

wholeFile(skip, async (owner) => {
  const lab = await testLab(owner, { hosts: 1 });
  store = await EmbeddedStore.start(lab.store, [WEFT]);
  for (const [n, name] of NETWORKS.entries()) {
    const config = { Network: `10.${n + 1}.0.0/16`, Backend: { Type: 'vxlan', VNI: 11 + n } };
    await store.must(3, ['put', `${PREFIX}/${name}/config`, JSON.stringify(config)]);
  }
  host = lab.hosts[0];
  const flags = [
    `--etcd-endpoints=${store.endpoints.join(',')}`,
    `--etcd-prefix=${PREFIX}`,
    `--iface=${h1().address}`,
    `--networks=${NETWORKS.join(',')}`,
    `--healthz-port=${PORT}`,
    '--docker-driver=on',
  ];
  await h1().start('flanneld', [FLANNELD, ...flags]);
  await until(async () => (await values().catch(() => undefined))?.get('weft_tenant_driver_up') === 1, {
    what: "Docker's driver in the metrics",
    timeoutMs: 30_000,
  });
  for (const name of NETWORKS)
    await untilValue(`weft_kernel_objects_wanted{network="${name}"}`, (count) => count > 0);
  await untilValue('weft_tenant_dropped_packets_total{reason="process"}', () => true);
});

const scrape = (): Promise<string> => h1().must(['curl', '-sf', `http://127.0.0.1:${PORT}/metrics`]);

async function values(): Promise<ReadonlyMap<string, number>> {
  const rows = (await scrape()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    rows.map((row) => [row.slice(0, row.lastIndexOf(' ')), Number(row.slice(row.lastIndexOf(' ')))]),
  );
}

/** Waits until a row has such a value. */
const untilValue = (row: string, isRight: (value: number) => boolean): Promise<unknown> =>
  until(
    async () => {
      const value = (await values()).get(row);
      return value !== undefined && isRight(value);
    },
    { what: row, timeoutMs: 30_000 },
  );

test('promtool has nothing to say against them', { skip: skip || checker.skip }, async () => {
  const { code, text } = checker.run(['check', 'metrics'], await scrape());
  assert.deepEqual([code, text], [0, '']);
});

test('promtool would find a counter without _total and a metric without help', { skip: checker.skip }, () => {
  const { code, text } = checker.run(['check', 'metrics'], '# TYPE weft_things counter\nweft_things 1\n');
  assert.notEqual(code, 0);
  assert.match(text, /no help text/);
  assert.match(text, /_total/);
});

test('every metric of the reference is there, and each network has its row', { skip }, async () => {
  const text = await scrape();
  const names = new Set(Array.from(text.matchAll(/^# TYPE (\S+)/gm), ([, name]) => name));
  assert.deepEqual(
    ALL_METRICS.map(({ name }) => name).filter((name) => !names.has(name)),
    NOT_HERE,
  );
  for (const name of NETWORKS)
    assert.match(text, new RegExp(`^weft_lease_expiry_seconds\\{network="${name}"\\} 86\\d{3}`, 'm'));
  assert.match(text, /^weft_subnets\{network="blue"\} 255$/m);
  assert.match(text, /^weft_subnets_used\{network="blue"\} 1$/m);
  assert.match(text, /^weft_registry_state\{network="red",state="connected"\} 1$/m);
  assert.match(text, /^weft_device_transmit_bytes_total\{network="green",device="flannel\.13"\} \d+$/m);
  assert.match(text, /^weft_build_info\{version="[^"]+",nodejs="v\d[^"]*"\} 1$/m);
});

test('a lease that comes is counted, with the time to its route; a repair is, by kind', {
  skip,
}, async () => {
  const lease = {
    PublicIP: '172.16.70.250',
    BackendType: 'vxlan',
    BackendData: { VNI: 11, VtepMAC: '02:00:00:00:00:fa' },
  };
  const before = await values();
  await store?.must(3, ['put', `${PREFIX}/blue/subnets/10.1.250.0-24`, JSON.stringify(lease)]);
  await untilValue('weft_put_to_route_seconds_count{network="blue"}', (count) => count > 0);
  for (const kind of KINDS) {
    const row = `weft_objects{network="blue",kind="${kind}",state="found"}`;
    await untilValue(row, (count) => count > (before.get(row) ?? 0));
  }
  const after = await values();
  const grown = (row: string): number => (after.get(row) ?? 0) - (before.get(row) ?? 0);
  assert.equal(grown('weft_watch_events_total{network="blue"}'), 1);
  assert.equal(grown('weft_watch_events_total{network="red"}'), 0);
  assert.equal(grown('weft_peers{network="blue"}'), 1);
  for (const kind of KINDS)
    for (const state of ['wanted', 'found'])
      assert.equal(
        grown(`weft_objects{network="blue",kind="${kind}",state="${state}"}`),
        1,
        `${kind} ${state}`,
      );
  await h1().must(['ip', 'route', 'del', '10.1.250.0/24']);
  await untilValue('weft_object_repairs_total{network="blue",kind="route"}', (count) => count === 1);
  await h1().must(['sh', '-c', 'nft flush ruleset']);
  await untilValue('weft_firewall_repairs_total{network="blue"}', (count) => count >= 1);
});

test('calls of Docker are counted by method, those that fail as well', { skip }, async () => {
  const method = 'IpamDriver.RequestPool';
  const url = `http://weft/${method}`;
  await h1().must(['curl', '-s', '--unix-socket', SOCKET, '-X', 'POST', '-d', '{}', url]);
  const counted = await values();
  assert.equal(counted.get(`weft_tenant_driver_calls_total{method="${method}"}`), 1);
  assert.equal(counted.get(`weft_tenant_driver_calls_failed_total{method="${method}"}`), 1);
  assert.equal(counted.get('weft_tenant_driver_calls_total{method="NetworkDriver.Join"}'), 0);
});

test('dropped packets have a row for each reason, and a lie is counted', { skip }, async () => {
  assert.equal((await values()).get('weft_tenant_dropped_packets_total{reason="process"}'), 0);
  // A packet for the tenants' tunnels that no host of theirs has sent.
  await h1().must(['bash', '-c', 'echo x >/dev/udp/172.16.70.190/8473 || true']);
  await untilValue('weft_tenant_dropped_packets_total{reason="process"}', (count) => count > 0);
});
