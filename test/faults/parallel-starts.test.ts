import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import type { Store } from '#src/lab/store.ts';
import { until } from '#src/sys/until.ts';
import { FLANNELD, flagsFor, PREFIX, startStore, WEFT, writeConfig } from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';
import { TIMES } from './suite.ts';

/*
 * Six flannelds for one network on one host, started at one instant:
 *
 *     store .190 etcd     h1 .191 flanneld × 6, behind a lock that opens for all of them at once
 */
const skip = cannotRun('etcd', 'etcdctl', 'iptables');
const COUNT = 6;
const GATE = '/run/gate';

/** Starts programs that wait at one lock, and opens it when all of them are there. */
async function startTogether(
  host: Host,
  names: readonly string[],
  argv: readonly string[],
): Promise<Daemon[]> {
  const hold = ['flock', '--no-fork', GATE, 'sh', '-c', 'echo shut; exec sleep infinity'];
  const gate = await host.start('gate', hold);
  await gate.waitForLog(/^shut$/m);
  // Shared: the kernel wakes all of them when the exclusive lock goes.
  const script = `echo waiting; flock --shared ${GATE} true; exec "$@"`;
  const daemons = await Promise.all(
    names.map((name) => host.start(name, ['sh', '-c', script, 'sh', ...argv])),
  );
  await Promise.all(daemons.map((daemon) => daemon.waitForLog(/^waiting$/m)));
  gate.kill('SIGKILL');
  await gate.exited();
  return daemons;
}

/** The lines of a program's log that are warnings or errors. */
const complaints = async (daemon: Daemon): Promise<string[]> =>
  (await daemon.log()).split('\n').filter((line) => /^[WEF]\d/.test(line));

/** The others took nothing with them that is the running one's, and left nothing of their own. */
async function assertOneNode(host: Host, etcd: Store): Promise<void> {
  const stdout = await until(
    async () => {
      const { code, stdout } = await host.run([WEFT, 'status', `--etcd-prefix=${PREFIX}`]);
      return code === 0 && stdout;
    },
    { what: 'a flanneld that is ready', timeoutMs: 20_000 },
  );
  // The identity, and the machine that it was made on.
  const [identity = 'none'] = (await host.read('/var/lib/weft/node-id'))?.split(' ') ?? [];
  assert.ok(stdout.includes(identity), `${identity}: ${stdout}`);
  assert.equal((await host.ip(['link', 'show', 'type', 'vxlan'])).length, 1);
  const leases = await etcd.must(3, ['get', '--prefix', '--keys-only', `${PREFIX}/subnets/`]);
  assert.equal(leases.split('\n').filter(Boolean).length, 1, leases);
}

test('of six flannelds that start at one instant one runs, and the others exit with one line', {
  skip,
}, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const [host] = lab.hosts;
  assert.ok(host);
  const etcd = await startStore(lab, 'etcd');
  await writeConfig(etcd, 3);
  const isAlive = (daemon: Daemon): boolean => daemon.isAlive();
  for (let time = 0; time < TIMES; time++) {
    const names = Array.from({ length: COUNT }, (_, n) => `flanneld-${time}-${n}`);
    const daemons = await startTogether(host, names, [FLANNELD, ...flagsFor(host, etcd)]);
    await until(() => daemons.filter(isAlive).length <= 1, {
      what: 'end of all flannelds but one',
      timeoutMs: 60_000,
    });
    const [running] = daemons.filter(isAlive);
    assert.ok(running, 'none runs');
    for (const daemon of daemons) {
      if (daemon === running) continue;
      assert.equal(await daemon.exited(), 1);
      const [line, ...more] = await complaints(daemon);
      assert.match(line ?? '', /^E.* another flanneld serves .* on this host already.*; stop it first; /);
      assert.deepEqual(more, []);
    }
    await running.waitForLog(/Running backend/, 20_000);
    await assertOneNode(host, etcd);
    await running.stop();
    // The next ones are the first on their host.
    await host.must(['sh', '-c', 'rm -r /var/lib/weft /run/flannel']);
    await etcd.must(3, ['del', '--prefix', `${PREFIX}/subnets/`]);
  }
});
