import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { parseMac } from '#src/lib/mac.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import { until } from '#src/sys/until.ts';
import { Drift, firstOf, PAUSE_MS } from '../support/drift.ts';
import { reportFault } from '../support/fault-report.ts';
import { pairOf } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  cpuMs,
  flanneldOn,
  freeSubnets,
  leaseKey,
  leaseValue,
  MOST_CPU_PERCENT,
  pause,
  sharedNetwork,
  TIMES,
  underTraffic,
} from './suite.ts';

/*
 * What others do to a host's network, under traffic of 200 packets a second from c on h1 to c on
 * h2. Each drift is done several times; each time the state must come back, and the time is taken
 * until it has:
 *
 *     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 *      └ the kernel's own messages change it, and show when it is right again
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'nft');
const DEVICE = 'flannel.1';
const FIGHT_MS = 5_000;

const network = sharedNetwork(skip, { api: 3 });
const device = new Drift(() => pairOf(network())[0].host, DEVICE);
after(() => device.close());

const drift = (fault: string, act: (state: readonly KernelObject[]) => Promise<void>): Promise<void> =>
  device.measure(fault, act, (all) => underTraffic(network(), all));

for (const kind of ['route', 'neighbour', 'fdb', 'address'] as const) {
  test(`P7 a deleted ${kind} is put back`, { skip }, () =>
    drift(`P7 ${kind} deleted`, (state) => device.apply({ verb: 'remove', object: firstOf(state, kind) })),
  );
}

const LINK_CHANGES: readonly (readonly [string, string, Partial<Link>])[] = [
  ['P7', 'link down', { up: false }],
  ['P6', 'MAC changed', { mac: parseMac('02:00:00:0b:ad:01') ?? assert.fail() }],
  ['P22', 'MTU changed', { mtu: 1300 }],
];
for (const [number, what, change] of LINK_CHANGES) {
  test(`${number} ${what}: the device is as before`, { skip }, () =>
    drift(`${number} ${what}`, () =>
      device.apply({ verb: 'set', object: { kind: 'link', name: DEVICE, ...change } }),
    ),
  );
}

test('P7 a deleted device is made again, with all that was on it', { skip }, () =>
  drift('P7 device deleted', () => device.apply({ verb: 'remove', object: { kind: 'link', name: DEVICE } })),
);

test('P7 a flapped underlay leaves the overlay as it was', { skip }, () =>
  drift('P7 underlay flapped', async () => {
    await device.apply({ verb: 'set', object: { kind: 'link', name: 'eth0', up: false } });
    await device.apply({ verb: 'set', object: { kind: 'link', name: 'eth0', up: true } });
  }),
);

/** Faults outside rtnetlink: a shell on the host does them, and looks until its `check` prints what it printed before. */
async function driftByShell(fault: string, act: string, check: string): Promise<void> {
  const [one] = pairOf(network());
  const script = `
    look() { ${check}; }
    before=$(look)
    began=$(date +%s%N)
    ${act}
    tries=0
    until [ "$(look)" = "$before" ]; do
      tries=$((tries + 1))
      [ $tries -lt 2000 ] || exit 1
    done
    echo $(($(date +%s%N) - began))`;
  const repairedMs: number[] = [];
  const { lost } = await underTraffic(network(), async () => {
    for (let time = 0; time < TIMES; time++) {
      repairedMs.push(Number(await one.host.must(['sh', '-c', script])) / 1e6);
      await pause(PAUSE_MS);
    }
  });
  reportFault({ fault, repairedMs, lost });
}

const RULES = "iptables-save | grep -v -e '^#' -e '^:'";

test('P3, P19 flushed rules are put back', { skip }, () =>
  driftByShell('P3 rules flushed (iptables -F)', 'iptables -F; iptables -t nat -F', RULES),
);

test('P3, P19 a firewall that is reloaded from nothing gets the rules again', { skip }, () =>
  driftByShell('P3 ruleset flushed (firewall reload)', 'nft flush ruleset', RULES),
);

test('the chains that only Docker 28 and 29 need come with Docker’s own', { skip }, async () => {
  const [one] = pairOf(network());
  const chains = async (): Promise<string[]> =>
    (await one.host.must(['iptables-save'])).match(/^:FLANNEL-(RAW|MARK)\b/gm) ?? [];
  assert.deepEqual(await chains(), []);
  // What dockerd makes at its start.
  await one.host.must(['iptables', '-N', 'DOCKER-FORWARD']);
  await one.host.must(['nft', 'add', 'table', 'ip', 'docker-bridges']);
  await until(async () => (await chains()).length === 2, { what: 'both chains' });
});

test('P3 a rule that another program puts first in the raw table comes after ours again', { skip }, () =>
  driftByShell(
    'P3 another rule first in raw',
    'iptables -t raw -I PREROUTING -m comment --comment "FLANNEL-RAW is mine" -j RETURN',
    // The first line is the policy.
    'iptables -t raw -S PREROUTING | sed -n 2p',
  ),
);

for (const [table, chain] of [
  ['raw', 'FLANNEL-RAW'],
  ['mangle', 'FLANNEL-MARK'],
]) {
  test(`P3 the chain ${chain}, emptied, is filled again`, { skip }, () =>
    driftByShell(`P3 ${chain} flushed`, `iptables -t ${table} -F ${chain}`, RULES),
  );
}

const FORWARDING = ['net.ipv4.ip_forward', `net.ipv4.conf.${DEVICE.replace('.', '/')}.forwarding`];
for (const name of FORWARDING) {
  test(`P7 ${name}, switched off, is switched on`, { skip }, () =>
    driftByShell(`P7 sysctl ${name} off`, `sysctl -qw ${name}=0`, `sysctl -n ${FORWARDING.join(' ')}`),
  );
}

test('two programs that fight over one route: said, paced, and won when the other ends', {
  skip,
}, async () => {
  const [one] = pairOf(network());
  const { etcd } = network();
  const [n] = freeSubnets(network(), 1);
  assert.ok(n !== undefined);
  const route = () => one.host.must(['ip', 'route', 'show', `10.0.${n}.0/24`]);
  await etcd.must(3, ['put', leaseKey(n), leaseValue(n)]);
  await until(async () => (await route()) !== '', { what: 'the route of a peer' });
  const wanted = await route();
  const daemon = await flanneldOn(one.host);
  let cpuPercent = Number.NaN;
  const { lost } = await underTraffic(network(), async () => {
    const rival = `while :; do ip route replace 10.0.${n}.0/24 dev eth0; sleep 0.02; done`;
    const other = await one.host.start('rival', ['sh', '-c', rival]);
    const line = new RegExp(`Another program keeps changing "10\\.0\\.${n}\\.0/24 [^\n]*once a second`);
    await daemon.waitForLog(line, 30_000);
    const cpuBefore = cpuMs(daemon.pid);
    await pause(FIGHT_MS);
    cpuPercent = ((cpuMs(daemon.pid) - cpuBefore) / FIGHT_MS) * 100;
    await other.stop();
    await until(async () => (await route()) === wanted, { what: 'the route as it was', timeoutMs: 10_000 });
  });
  await etcd.must(3, ['del', leaseKey(n)]);
  const note = `ok, CPU ${cpuPercent.toFixed(1)} %`;
  reportFault({ fault: 'two programs fight over a route', repairedMs: [], lost, note });
  assert.equal(lost, 0);
  assert.ok(cpuPercent < MOST_CPU_PERCENT, `${cpuPercent} % CPU`);
});
