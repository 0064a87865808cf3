import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '#src/sys/until.ts';
import { assertWhole } from '../support/echo-calls.ts';
import type { CallReport } from '../support/echo-process.ts';
import { CONFIG, PREFIX } from '../support/flanneld.ts';
import {
  addContainer,
  addPeer,
  PEER_UNIT,
  pingFrom,
  SETTINGS,
  writeConfig,
} from '../support/service-peer.ts';
import { cannotRunSystemd, SystemdHost } from '../support/systemd-host.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * flanneld.service with the fast path, under a real systemd and in its sandbox; rights come by weft-generator:
 *
 *     systemd (PID 1) ─┬─ weft-store.service
 *                      ├─ flanneld.service    eth0, docker0 ── veth-c ── c1   call.service
 *                      └─ peer.service        network namespace peer: eth0, docker0 ── veth-c ── c2   echo.service
 */
const skip = cannotRunSystemd() || cannotRun('ping', 'nft', 'tc');
const TIMEOUT = { timeoutMs: 60_000, intervalMs: 200 };
const ECHO = `${process.execPath} ${fileURLToPath(new URL('../support/echo-process.ts', import.meta.url))}`;
const LIBERAL = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';
const WISH = '"Type":"vxlan","FastPath":"on"';
const FLAG = 'FLANNELD_FAST_PATH=on\n';
/** Longer than the test takes. */
const CALL_MS = 600_000;

/** A program in a container's network namespace. */
const inContainer = (name: string, program: string): string => `[Service]
NetworkNamespacePath=/run/netns/${name}
ExecStart=${program}
StandardOutput=file:/run/${name}.log
`;

async function start(t: TestContext): Promise<{ readonly host: SystemdHost; readonly target: string }> {
  const host = await SystemdHost.start(t, {
    units: ['flanneld.service', 'weft-store.service', 'weft-namespace.service'],
    generators: ['weft-generator'],
    more: {
      'peer.service': PEER_UNIT,
      'echo.service': inContainer('c2', `${ECHO} serve --port=7000`),
    },
    etc: SETTINGS,
  });
  host.must(['systemctl', 'start', 'weft-store']);
  writeConfig(host, CONFIG.replace('"Type":"vxlan"', WISH));
  addPeer(host);
  host.must(['systemctl', 'enable', '--now', 'flanneld']);
  host.must(['systemctl', 'start', 'peer']);
  addContainer(host, 'c1', { subnetFile: '/run/flannel/subnet.env' });
  const target = addContainer(host, 'c2', { namespace: 'peer', subnetFile: '/run/peer/subnet.env' });
  host.must(['systemctl', 'start', 'echo']);
  await until(() => host.run(['cat', '/run/c2.log']).stdout === 'serving', { what: 'echo', ...TIMEOUT });
  await until(() => host.run(['weft', 'status']).stdout.includes('1 up, 0 down'), {
    what: 'peer',
    ...TIMEOUT,
  });
  pingFrom(host, 'c1', target);
  return { host, target };
}

/** The settings of {@link SETTINGS} and these, and what a user types after a change that has to do with rights. */
function restartWith(host: SystemdHost, settings: string, { reload = true } = {}): void {
  const text = `${SETTINGS['weft/flanneld.conf']}${settings}`;
  host.must(['sh', '-c', `printf %s "$1" >/etc/weft/flanneld.conf`, 'sh', text]);
  if (reload) host.must(['systemctl', 'daemon-reload']);
  host.must(['systemctl', 'restart', 'flanneld']);
}

const untilStatus = (host: SystemdHost, wanted: RegExp): Promise<string> =>
  until(
    () => {
      const { stdout } = host.run(['weft', 'status']);
      return wanted.test(stdout) ? stdout : undefined;
    },
    { what: `status with ${wanted}`, ...TIMEOUT },
  );

const filters = (host: SystemdHost): string =>
  host.must([
    'sh',
    '-c',
    'for d in eth0 flannel.1 veth-c; do tc filter show dev $d ingress; tc filter show dev $d egress; done 2>/dev/null; true',
  ]);

/** Rights of the daemon that runs, beside those of each flanneld: CAP_NET_ADMIN is 12, CAP_NET_RAW 13 (linux/capability.h). */
function moreRights(host: SystemdHost): bigint {
  const status = host.must(['cat', `/proc/${host.mainPid('flanneld')}/status`]);
  return BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1]}`) & ~((1n << 12n) | (1n << 13n));
}
const PERFMON_AND_BPF = (1n << 38n) | (1n << 39n);

test('the packaged unit has a fast path as soon as its settings ask for one', { skip }, async (t) => {
  const { host, target } = await start(t);

  await t.test('asked for by the network alone it is refused, and the reason says what to do', async () => {
    const refused = await untilStatus(host, /fast path {2}refused/);
    assert.match(
      refused,
      /FLANNELD_FAST_PATH=on in \/etc\/weft\/flanneld\.conf, then "systemctl daemon-reload/,
    );
    assert.match(refused, /1 up, 0 down/);
    const { stdout } = host.run(['weft', 'doctor']);
    assert.match(
      stdout.replaceAll(/\s+/g, ' '),
      /The fast path is refused: .*FLANNELD_FAST_PATH=on.* mend: /,
    );
    assert.equal(moreRights(host), 0n);
  });

  await t.test('without a reload of systemd the setting is not enough, and self-check says so', async () => {
    restartWith(host, FLAG, { reload: false });
    await untilStatus(host, /fast path {2}refused/);
    const { stdout } = host.run(['weft', 'self-check', '--only=daemon-capabilities']);
    assert.match(stdout, /runs without CAP_BPF and CAP_PERFMON/);
    assert.match(stdout.replaceAll(/\s+/g, ' '), /mend: systemctl daemon-reload, .*weft-fast-path\.conf/);
  });

  await t.test('with the setting it is on, with two rights more', async () => {
    restartWith(host, FLAG);
    await untilStatus(host, /fast path {2}on, 1 container addresses, 1 peers, (no|\d)/);
    assert.equal(moreRights(host), PERFMON_AND_BPF);
    assert.match(filters(host), /weft\/flannel\.1\/from-container/);
    assert.equal(host.must(['cat', LIBERAL]), '1');
    const { code, stdout } = host.run(['weft', 'self-check', '--only=daemon-capabilities']);
    assert.equal(code, 0, stdout);
    assert.equal(host.must(['stat', '--format=%a', '/var/lib/weft/fast-path.json']), '600');
  });

  await t.test('a flow goes fast, and a kill and a restart lose nothing of it', async () => {
    const call = inContainer('c1', `${ECHO} call --port=7000 --address=${target} --ms=${CALL_MS}`);
    host.must(['sh', '-c', 'printf %s "$1" >/run/systemd/system/call.service', 'sh', call]);
    host.must(['systemctl', 'daemon-reload']);
    host.must(['systemctl', 'start', 'call']);
    await untilStatus(host, /[1-9]\d*% of \d+ packets went fast/);
    const former = host.mainPid('flanneld');
    host.must(['kill', '-9', former]);
    await until(() => ![former, '0'].includes(host.mainPid('flanneld')), { what: 'restart', ...TIMEOUT });
    await untilStatus(host, /fast path {2}on, 1 container addresses, 1 peers, [1-9]\d*% of/);
    host.must(['systemctl', 'restart', 'flanneld']);
    await untilStatus(host, /fast path {2}on, 1 container addresses, 1 peers, [1-9]\d*% of/);
    assert.equal(host.must(['systemctl', 'is-active', 'call']), 'active', 'the flow ended too early');
    host.must(['systemctl', 'stop', 'call']);
    assertWhole(JSON.parse(host.must(['tail', '-n1', '/run/c1.log'])) as CallReport);
    assert.doesNotMatch(host.log('flanneld.service').split(' starts with ').at(-1) ?? '', /^E/m);
  });

  await t.test('turned off it leaves nothing, though the rights went first', async () => {
    writeConfig(host);
    restartWith(host, '');
    await until(() => !filters(host).includes('weft'), { what: 'end of the programs', ...TIMEOUT });
    await until(() => host.must(['cat', LIBERAL]) === '0', { what: 'the setting put back', ...TIMEOUT });
    assert.equal(moreRights(host), 0n);
    assert.doesNotMatch(await untilStatus(host, /1 up, 0 down/), /fast path/);
  });

  await t.test('on again, it is removed by cleanup', async () => {
    restartWith(host, FLAG);
    await untilStatus(host, /fast path {2}on, 1 container addresses, 1 peers/);
    host.must(['systemctl', 'stop', 'flanneld']);
    assert.match(filters(host), /weft/);
    host.must(['weft', 'cleanup', '--all', `--etcd-prefix=${PREFIX}`]);
    assert.doesNotMatch(filters(host), /weft/);
    assert.equal(host.must(['cat', LIBERAL]), '0');
    assert.equal(host.must(['sh', '-c', 'ls /sys/fs/bpf | grep -c weft; true']), '0');
  });
});
