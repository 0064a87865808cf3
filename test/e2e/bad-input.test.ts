import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Daemon } from '#src/lab/daemon.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { CONFIG, FLANNELD, flagsFor, PREFIX, startFlanneld, writeConfig } from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * What an operator gets wrong: one clear line for each, and nothing half done.
 *
 *     store .190 etcd     h1 .191 flanneld
 */
const skip = cannotRun('etcd', 'etcdctl', 'openssl');

interface Stage {
  readonly lab: Lab;
  readonly host: Host;
  readonly etcd: Etcd;
}

async function stage(t: TestContext, config: string | undefined = CONFIG, tls?: 'server'): Promise<Stage> {
  const lab = await testLab(t, { hosts: 1 });
  const etcd = await Etcd.start(lab, tls === undefined ? {} : { tls });
  if (config !== '') await writeConfig(etcd, 3, config);
  const [host] = lab.hosts;
  assert.ok(host);
  // As on a host with Docker; without it the preflight would have something to say as well.
  await host.must(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  return { lab, host, etcd };
}

/** No device, no rule, no lease in either API, no file. */
async function assertNothingDone(
  { host, etcd }: Stage,
  except: 'device' | undefined = undefined,
): Promise<void> {
  if (except !== 'device') assert.deepEqual(await host.ip(['link', 'show', 'type', 'vxlan']), []);
  assert.doesNotMatch(await host.must(['nft', 'list', 'ruleset']), /flannel|10\.0\.0\.0/i);
  assert.equal(await host.read('/run/flannel/subnet.env'), undefined);
  assert.equal(await etcd.must(3, ['get', '--prefix', '--keys-only', `${PREFIX}/subnets`]), '');
  assert.notEqual((await etcd.run(2, ['ls', `${PREFIX}/subnets`])).code, 0);
}

/** The lines that a reader would take for trouble: errors and warnings of klog's format, and what has no header. */
function complaints(log: string): string[] {
  return log.split('\n').filter((line) => line !== '' && !/^I\d{4} /.test(line));
}

/** Exactly one complaint, and it says this. */
function assertOneLine(log: string, pattern: RegExp): void {
  const lines = complaints(log);
  assert.match(lines[0] ?? log, pattern);
  assert.equal(lines.length, 1, log);
}

/** Runs flanneld to its end. */
async function failingRun(
  host: Host,
  flags: readonly string[],
): Promise<{ code: number | undefined; log: string }> {
  const daemon = await host.start('flanneld', [FLANNELD, ...flags]);
  const timer = setTimeout(() => daemon.kill('SIGKILL'), 40_000);
  const code = await daemon.exited();
  clearTimeout(timer);
  return { code, log: await daemon.log() };
}

/** Starts flanneld, which is to wait and not to end; resolves when it has complained: its first line has all flags. */
async function waitingRun(host: Host, flags: readonly string[], pattern: RegExp): Promise<Daemon> {
  const daemon = await host.start('flanneld', [FLANNELD, ...flags]);
  await daemon.waitForLog(new RegExp(`^(?!I\\d{4} ).*${pattern.source}`, `${pattern.flags}m`), 60_000);
  return daemon;
}

test('an unknown flag is named', { skip }, async (t) => {
  const it = await stage(t);
  const { code, log } = await failingRun(it.host, [...flagsFor(it.host, it.etcd), '--no-such-flag']);
  assert.match(log, /^flag provided but not defined: -no-such-flag\n/);
  assert.equal(code, 2);
  await assertNothingDone(it);
});

test('a value that does not parse is named with its flag', { skip }, async (t) => {
  const it = await stage(t);
  const { code, log } = await failingRun(it.host, [...flagsFor(it.host, it.etcd), '--healthz-port=eighty']);
  assert.match(log, /^invalid value "eighty" for flag -healthz-port: .*\n/);
  assert.equal(code, 2);
  await assertNothingDone(it);
});

for (const [flag, line] of [
  ['--subnet-lease-renew-margin=1440', /Invalid subnet-lease-renew-margin option, out of acceptable range/],
  ['--tenant-port=99999', /--tenant-port=99999 is not a port/],
] as const) {
  test(`a value out of range ends it with exit code 1: ${flag}`, { skip }, async (t) => {
    const it = await stage(t);
    const { code, log } = await failingRun(it.host, [...flagsFor(it.host, it.etcd), flag]);
    assert.equal(code, 1);
    assertOneLine(log, line);
    await assertNothingDone(it);
  });
}

test('an etcd that is not reached is named once, and waited for', { skip }, async (t) => {
  const it = await stage(t);
  const [member] = it.etcd.members;
  await member?.stop();
  const daemon = await waitingRun(it.host, flagsFor(it.host, it.etcd), /172\.16\.70\.190:2379.*/);
  await it.host.must(['sleep', '3']);
  assert.equal(daemon.isAlive(), true);
  assertOneLine(await daemon.log(), /172\.16\.70\.190:2379/);
  assert.equal(await daemon.stop(), 0);
  await member?.start();
  await it.etcd.ready();
  await assertNothingDone(it);
});

test('a certificate of an unknown CA is reported as such', { skip }, async (t) => {
  const it = await stage(t, CONFIG, 'server');
  const other = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=other',
  ];
  await it.host.must(['openssl', ...other, '-keyout', '/run/other-key.pem', '-out', '/run/other.pem']);
  const flags = [...flagsFor(it.host, it.etcd), '--etcd-cafile=/run/other.pem'];
  const daemon = await waitingRun(it.host, flags, /certificate/i);
  assertOneLine(await daemon.log(), /certificate|CA/);
  await daemon.stop();
  await assertNothingDone(it);
});

for (const [what, config, pattern] of [
  ['that is not JSON', '{"Network":', /JSON/],
  [
    'whose network is too small',
    '{"Network":"10.0.0.0/31","Backend":{"Type":"vxlan"}}',
    /network is too small.*\/28/i,
  ],
  [
    'whose subnets are larger than it',
    '{"Network":"10.0.0.0/16","SubnetLen":8}',
    /HostSubnet is larger network than Network/,
  ],
] as const) {
  test(`a configuration ${what} is reported once, and a mended one is taken`, { skip }, async (t) => {
    const it = await stage(t, config);
    const daemon = await waitingRun(it.host, flagsFor(it.host, it.etcd), pattern);
    await it.host.must(['sleep', '3']);
    assert.equal(daemon.isAlive(), true);
    assertOneLine(await daemon.log(), pattern);
    await assertNothingDone(it);
    await writeConfig(it.etcd, 3);
    await daemon.waitForLog(/Running backend/, 60_000);
  });
}

test('a configuration that is not there yet is reported once, and taken when it comes', {
  skip,
}, async (t) => {
  const it = await stage(t, '');
  const daemon = await waitingRun(it.host, flagsFor(it.host, it.etcd), /config/);
  await it.host.must(['sleep', '3']);
  assert.equal(daemon.isAlive(), true);
  assertOneLine(await daemon.log(), new RegExp(`${PREFIX}/config`));
  await assertNothingDone(it);
  await daemon.stop();
  await writeConfig(it.etcd, 3);
  await startFlanneld(it.host, flagsFor(it.host, it.etcd));
});

test('an unknown backend ends it with exit code 1', { skip }, async (t) => {
  const it = await stage(t, '{"Network":"10.0.0.0/16","Backend":{"Type":"carrier-pigeon"}}');
  const { code, log } = await failingRun(it.host, flagsFor(it.host, it.etcd));
  assert.equal(code, 1);
  assertOneLine(log, /unknown backend type: carrier-pigeon/);
  await assertNothingDone(it);
});

for (const [what, backend, more, pattern] of [
  [
    'a VNI that makes a device name too long',
    '"vxlan","VNI":10000000',
    [],
    /flannel\.10000000 would have a name of 16 characters.*up to 9999999 \(Backend\.VNI: 10000000\)/,
  ],
  [
    'an MTU that leaves no room',
    '"vxlan","MTU":117',
    [],
    /an MTU below 118 leaves no packet room \(Backend\.MTU: 117\)/,
  ],
  [
    'a port out of range',
    '"vxlan","Port":65536',
    [],
    /Backend\.Port must be between 0 and 65535, it is 65536/,
  ],
  [
    'host-gw behind a NAT',
    '"host-gw"',
    ['--public-ip=198.51.100.7'],
    /your PublicIP differs from interface IP.*\(198\.51\.100\.7, not 172\.16\.70\.191\)/,
  ],
] as const) {
  test(`${what} ends it with exit code 1`, { skip }, async (t) => {
    const it = await stage(t, `{"Network":"10.0.0.0/16","Backend":{"Type":${backend}}}`);
    const { code, log } = await failingRun(it.host, [...flagsFor(it.host, it.etcd), ...more]);
    assert.equal(code, 1);
    assertOneLine(log, pattern);
    await assertNothingDone(it);
  });
}

for (const [how, pattern] of [
  ['id 1 dstport 8472 dev eth0 nolearning', /other0 has VNI 1 on UDP port 8472/],
  ['external dstport 8472', /other0 takes all VXLAN packets on UDP port 8472/],
  ['id 7 gbp dstport 8472 dev eth0', /other0 has UDP port 8472 with GBP, and ours is without/],
] as const) {
  test(`a device of somebody else in our place is named: ${how}`, { skip }, async (t) => {
    const it = await stage(t);
    await it.host.batch([`link add other0 type vxlan ${how}`, 'link set other0 up']);
    const { code, log } = await failingRun(it.host, flagsFor(it.host, it.etcd));
    assert.equal(code, 1);
    assertOneLine(log, pattern);
    const devices = await it.host.ip(['link', 'show', 'type', 'vxlan']);
    assert.deepEqual(
      devices.map(({ ifname }) => ifname),
      ['other0'],
    );
    await assertNothingDone(it, 'device');
  });
}

test('an interface that is not there ends it with exit code 1', { skip }, async (t) => {
  const it = await stage(t);
  const flags = flagsFor(it.host, it.etcd).map((flag) => flag.replace(/^--iface=.*/, '--iface=eth7'));
  const { code, log } = await failingRun(it.host, flags);
  assert.equal(code, 1);
  assertOneLine(log, /Failed to find interface to use.*eth7|eth7.*Failed to find interface to use/i);
  await assertNothingDone(it);
});

test('a device of another kind named flannel.1 is left alone', { skip }, async (t) => {
  const it = await stage(t);
  await it.host.batch(['link add flannel.1 type bridge', 'link set flannel.1 up']);
  const before = await it.host.ip(['-d', 'link', 'show', 'flannel.1']);
  const { code, log } = await failingRun(it.host, flagsFor(it.host, it.etcd));
  assert.equal(code, 1);
  assertOneLine(log, /flannel\.1.*bridge/);
  const after = await it.host.ip(['-d', 'link', 'show', 'flannel.1']);
  assert.deepEqual([after[0]?.ifindex, after[0]?.address], [before[0]?.ifindex, before[0]?.address]);
  await assertNothingDone(it, 'device');
});

test('a subnet.env that cannot be written is reported with its path and the reason', { skip }, async (t) => {
  const it = await stage(t);
  await it.host.write('/run/flannel', 'a file where the folder should be\n');
  const daemon = await waitingRun(it.host, flagsFor(it.host, it.etcd), /\/run\/flannel/);
  assertOneLine(await daemon.log(), /subnet.*\/run\/flannel.*(ENOTDIR|EEXIST|not a directory|exists)/i);
  await daemon.stop();
});
