import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { builtRelease } from '../support/release.ts';
import {
  addContainer,
  addPeer,
  onPeer,
  PEER_UNIT,
  pingFrom,
  SETTINGS,
  writeConfig,
} from '../support/service-peer.ts';
import { cannotRunSystemd, STRICT, SystemdHost } from '../support/systemd-host.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * The units of packaging/ as they are, with all their limits, under a real systemd:
 *
 *     systemd (PID 1) ─┬─ weft-store.service
 *                      ├─ flanneld.service    eth0, docker0 ── veth-c ── c1
 *                      └─ peer.service        network namespace peer: eth0, docker0 ── veth-c ── c2
 */
const skip = cannotRunSystemd() || cannotRun('ping', 'nft', 'iptables');
const TIMEOUT = { timeoutMs: 60_000, intervalMs: 100 };

async function untilUp(host: SystemdHost): Promise<void> {
  await until(() => host.run(['weft', 'status']).stdout.includes('1 up, 0 down'), {
    what: 'a measured peer',
    ...TIMEOUT,
  });
}

/** flanneld starts again with what is on the host now; its log from there on. */
async function restart(host: SystemdHost): Promise<() => string> {
  const before = host.log('flanneld.service').length;
  host.must(['systemctl', 'daemon-reload']);
  host.must(['systemctl', 'restart', 'flanneld']);
  await untilUp(host);
  return () => host.log('flanneld.service').slice(before);
}

/** Nothing failed, and nobody was refused anything. */
function assertQuiet(host: SystemdHost, log: string): void {
  assert.doesNotMatch(log, /^E|EPERM|EACCES|EROFS|not permitted|denied|read-only/im);
  const shown = host.must(['systemctl', 'show', '--property=NRestarts', '--value', 'flanneld']);
  assert.equal(shown, '0', log);
}

/** A field of /proc/PID/status of the daemon. */
const processField = (host: SystemdHost, unit: string, name: string): string =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(host.must(['cat', `/proc/${host.mainPid(unit)}/status`]))?.[1] ??
  '';

test('in its sandbox flanneld does all that it does without', { skip }, async (t) => {
  const host = await SystemdHost.start(t, {
    release: await builtRelease(),
    units: ['flanneld.service', 'weft-store.service', 'weft-namespace.service'],
    more: {
      'flanneld.service.d/strict.conf': STRICT,
      'weft-store.service.d/strict.conf': STRICT,
      'peer.service': PEER_UNIT,
    },
    etc: SETTINGS,
  });
  host.must(['systemctl', 'start', 'weft-store']);
  writeConfig(host);
  addPeer(host);
  host.must(['systemctl', 'enable', '--now', 'flanneld']);
  host.must(['systemctl', 'start', 'peer']);
  const [c1, c2] = [
    addContainer(host, 'c1', { subnetFile: '/run/flannel/subnet.env' }),
    addContainer(host, 'c2', { namespace: 'peer', subnetFile: '/run/peer/subnet.env' }),
  ];
  const ping = () => pingFrom(host, 'c1', c2);
  const log = () => host.log('flanneld.service');

  await t.test(
    'it takes a lease, programs its peer, measures it, and writes options for Docker',
    async () => {
      await untilUp(host);
      ping();
      assert.match(host.must(['cat', '/run/flannel/docker']), /^DOCKER_NETWORK_OPTIONS=".*--mtu=1450"$/m);
      assert.equal(
        host.must(['stat', '--format=%a', '/run/flannel/subnet.env', '/run/flannel/docker']),
        '644\n644',
      );
      assertQuiet(host, log());
    },
  );

  await t.test('it may do nothing else', () => {
    // CAP_NET_ADMIN is 12, CAP_NET_RAW 13 (linux/capability.h).
    assert.equal(Number.parseInt(processField(host, 'flanneld', 'CapEff'), 16), (1 << 12) | (1 << 13));
    assert.equal(processField(host, 'flanneld', 'NoNewPrivs'), '1');
    // 2: a filter.
    assert.equal(processField(host, 'flanneld', 'Seccomp'), '2');
    const mounts = ['nsenter', '--mount', '--target', host.mainPid('flanneld'), '--'];
    const isWritable = (file: string): boolean =>
      host.run([...mounts, 'sh', '-c', `true 2>/dev/null >>${file}`]).code === 0;
    const files = ['/run', '/run/flannel', '/etc', '/var/lib', '/var/lib/weft', '/usr', '/root']
      .map((folder) => `${folder}/sandbox-test`)
      .concat('/run/xtables.lock', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/kernel/printk');
    assert.deepEqual(files.filter(isWritable), [
      '/run/flannel/sandbox-test',
      '/var/lib/weft/sandbox-test',
      '/run/xtables.lock',
      '/proc/sys/net/ipv4/ip_forward',
    ]);
  });

  await t.test('it repairs what others change', async () => {
    host.must(['ip', 'link', 'del', 'flannel.1']);
    host.must(['nft', 'flush', 'ruleset']);
    const isRepaired = () => /(\d+) of \1 objects as wanted, [1-9]/.test(host.run(['weft', 'status']).stdout);
    await until(isRepaired, { what: 'repair', ...TIMEOUT });
    await until(() => host.run(['iptables', '-t', 'nat', '-L', 'FLANNEL-POSTRTG']).code === 0, {
      what: 'rules',
      ...TIMEOUT,
    });
    ping();
    assertQuiet(host, log());
  });

  await t.test('it answers a peer’s trace, and watches for its packet', async () => {
    await untilUp(host);
    const traced = onPeer(host, 'c2', ['trace', '--live', c2, c1]);
    assert.equal(traced.code, 0, traced.stdout + traced.stderr);
    assert.match(traced.stdout, /A packet arrives, and its answer comes back/);
    assertQuiet(host, log());
  });

  await t.test('it serves its local API', () => {
    for (const command of ['peers', 'events', 'leases', 'doctor']) {
      const { code, stdout, stderr } = host.run(['weft', command]);
      assert.equal(code, 0, `${command}: ${stdout} ${stderr}`);
    }
  });

  await t.test('a restart takes over what is there', async () => {
    const shown = host.must(['ip', '-j', 'link', 'show', 'flannel.1']);
    const since = await restart(host);
    assert.equal(
      JSON.parse(host.must(['ip', '-j', 'link', 'show', 'flannel.1']))[0].ifindex,
      JSON.parse(shown)[0].ifindex,
    );
    ping();
    assertQuiet(host, since());
  });

  const family = ['', '-save', '-restore'].flatMap((it) => [
    { name: `iptables${it}`, legacy: `iptables-legacy${it}` },
    { name: `ip6tables${it}`, legacy: `ip6tables-legacy${it}` },
  ]);

  await t.test('with iptables-legacy', { skip: cannotRun('iptables-legacy') }, async () => {
    host.must(['nft', 'flush', 'ruleset']);
    for (const { name, legacy } of family) host.setProgram(name, `#!/bin/sh\nexec ${legacy} "$@"\n`);
    const since = await restart(host);
    assert.match(host.must(['iptables-legacy-save']), /FLANNEL-POSTRTG/);
    assertQuiet(host, since());
    for (const { name } of family) host.removeProgram(name);
    for (const table of ['nat', 'filter', 'mangle', 'raw']) {
      host.must(['iptables-legacy', '-t', table, '-F']);
      host.must(['iptables-legacy', '-t', table, '-X']);
    }
  });

  await t.test('with nftables alone', async () => {
    for (const { name } of family) host.setProgram(name, '#!/bin/sh\nexit 127\n');
    const since = await restart(host);
    assert.match(host.must(['nft', 'list', 'tables']), /table ip flannel-ipv4/);
    ping();
    assertQuiet(host, since());
  });

  await t.test('with host-gw', async () => {
    writeConfig(host, '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"host-gw"}}');
    host.must(['systemctl', 'restart', 'peer']);
    const since = await restart(host);
    ping();
    assertQuiet(host, since());
  });

  await t.test('the store did it all without a right', () => {
    assert.equal(Number.parseInt(processField(host, 'weft-store', 'CapBnd'), 16), 0);
    assert.notEqual(processField(host, 'weft-store', 'Uid').split('\t')[0], '0');
    assert.equal(processField(host, 'weft-store', 'Seccomp'), '2');
    assert.equal(host.must(['systemctl', 'show', '--property=NRestarts', '--value', 'weft-store']), '0');
  });
});
