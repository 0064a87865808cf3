import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { inRepository } from '../support/flanneld.ts';
import { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartMachines } from '../support/machine/debian-root.ts';
import { Underlay } from '../support/machine/underlay.ts';
import type { Owner } from '../support/test-lab.ts';

/*
 * The machines that the tests of packages run on:
 *
 *     underlay 172.16.70.1 ─┬─ .190 server-1   systemd, Docker
 *                           └─ .191 server-2   the same
 */
const skip = cannotStartMachines();

test('a clean machine boots, has Docker, keeps its disk over a reboot, and leaves nothing', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const cleanUps: (() => Promise<void>)[] = [];
  const owner: Owner = { signal: t.signal, after: (cleanUp) => void cleanUps.push(cleanUp) };
  const all = [0, 1];
  let folders: string[] = [];
  let namespaces: string[] = [];
  try {
    const underlay = await Underlay.make(owner);
    const [one, two] = (await Promise.all(
      all.map((number) => CleanMachine.start(owner, { name: `server-${number + 1}`, number, underlay })),
    )) as [CleanMachine, CleanMachine];
    folders = [one.folder, two.folder];
    namespaces = [underlay.namespace, one.namespace, two.namespace];

    await t.test('systemd is its first process, and no unit failed', async () => {
      assert.equal(await one.must(['cat', '/proc/1/comm']), 'systemd\n');
      assert.equal(await one.must(['systemctl', '--failed', '--quiet', '--plain']), '');
      assert.equal(await one.must(['systemctl', 'is-system-running']), 'running\n');
      assert.equal(await one.must(['hostname']), 'server-1\n');
      // As on a host: a unit in a sandbox sees what Docker mounts later.
      assert.equal(await one.must(['findmnt', '-no', 'PROPAGATION', '/']), 'shared\n');
    });

    await t.test('Docker runs, and nothing of ours is there', async () => {
      assert.equal(await one.must(['docker', 'info', '--format', '{{.Driver}}']), 'overlay2\n');
      const [bridge] = await one.ip(['addr', 'show', 'docker0']);
      assert.equal(bridge?.addr_info?.[0]?.local, '172.17.0.1');
      const { code } = await one.run(['test', '-e', inRepository('package.json')]);
      assert.equal(code, 1, 'the checkout is seen');
      assert.equal(await one.script('command -v node flanneld weft || echo none'), 'none\n');
    });

    await t.test('they reach each other on the underlay', async () => {
      assert.deepEqual([one.address, two.address], ['172.16.70.190', '172.16.70.191']);
      await one.must(['ping', '-n', '-c1', '-W5', two.address]);
    });

    await t.test('a reboot keeps the disk, and nothing else', async () => {
      one.write('/etc/kept', 'on the disk\n');
      one.write('/run/lost', 'in memory\n');
      await one.must(['ip', 'link', 'add', 'lost', 'type', 'bridge']);
      const first = one.firstPid;
      await one.reboot();
      assert.notEqual(one.firstPid, first);
      assert.equal(one.read('/etc/kept'), 'on the disk\n');
      assert.equal(existsSync(one.path('/run/lost')), false);
      assert.equal((await one.run(['ip', 'link', 'show', 'lost'])).code, 1);
      assert.equal(await one.must(['systemctl', 'is-active', 'docker']), 'active\n');
      await two.must(['ping', '-n', '-c1', '-W5', one.address]);
    });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
  assert.equal(folders.length, 2);
  for (const folder of folders) assert.equal(existsSync(folder), false, folder);
  for (const namespace of namespaces) {
    assert.equal(existsSync(`/run/netns/${namespace}`), false, namespace);
    const groups = readdirSync('/sys/fs/cgroup', { recursive: false }).map(
      (hierarchy) => `/sys/fs/cgroup/${hierarchy}/${namespace}`,
    );
    for (const group of [`/sys/fs/cgroup/${namespace}`, ...groups])
      assert.equal(existsSync(group), false, group);
  }
});
