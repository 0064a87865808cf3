import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { systemLabComponents } from '#src/lab/components.ts';
import { makeBridge, makeContainer } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { Lab } from '#src/lab/lab.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * The lab itself: every other end-to-end test stands on it.
 *
 *     store .190 ──┐
 *     h1    .191 ── br0     h1: docker0 10.0.1.1/24 ── c1 .2, c2 .3
 *     h2    .192 ──┘
 */
const skip = cannotRun('ping');

const namespacesOf = (lab: Lab): string[] =>
  readdirSync('/run/netns').filter((name) => name.startsWith(`weft-${lab.name}-`));

/** What the machine has mounted for it. */
const mountsOf = (lab: Lab): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`/${lab.name}/`) || line.includes(`weft-${lab.name}-`));

for (const underlay of ['l2', 'l3'] as const) {
  test(`hosts on an ${underlay} underlay reach each other and the store`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 2, underlay });
    const [h1, h2] = lab.hosts;
    assert.ok(h1 && h2);
    assert.equal(lab.store.address, '172.16.70.190');
    assert.equal(h2.address, underlay === 'l2' ? '172.16.70.192' : '172.16.72.190');
    await h1.must(['ping', '-c1', '-W5', h2.address]);
    await h2.must(['ping', '-c1', '-W5', lab.store.address]);
    const route = await h1.must(['ip', 'route', 'get', h2.address]);
    assert.match(route, underlay === 'l2' ? /^172\S+ dev eth0/ : /via 172\.16\.71\.1 dev eth0/);
  });
}

test('a host has its own name, identity, /run and /var/lib', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 2 });
  const [h1, h2] = lab.hosts;
  assert.ok(h1 && h2);
  assert.equal(await h1.must(['hostname']), 'h1\n');
  assert.notEqual(await h1.must(['cat', '/etc/machine-id']), await h2.must(['cat', '/etc/machine-id']));
  await h1.must([
    'sh',
    '-c',
    'mkdir /run/flannel /var/lib/weft; echo a > /run/flannel/x; echo b > /var/lib/weft/y',
  ]);
  assert.equal(await h1.read('/run/flannel/x'), 'a\n');
  assert.equal(await h1.read('/var/lib/weft/y'), 'b\n');
  assert.equal(await h2.read('/run/flannel/x'), undefined);
  assert.equal(existsSync('/run/flannel'), false);
});

test('what one program of a host mounts, the next one finds, and nobody else', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 2 });
  const [h1, h2] = lab.hosts;
  assert.ok(h1 && h2);
  const inode = (host: Host) =>
    host.run(['stat', '-Lc', '%d:%i', '/run/netns/weft']).then(({ stdout }) => stdout.trim());
  await h1.must(['ip', 'netns', 'add', 'weft']);
  await h1.must(['ip', '-n', 'weft', 'link', 'add', 'br-7', 'type', 'bridge']);
  assert.equal(await h1.must(['ip', 'netns']), 'weft\n');
  // By another process of the lab as well.
  const again = (await Lab.open(systemLabComponents(), { name: lab.name })).host('h1');
  assert.equal((await again.must(['ip', '-n', 'weft', '-br', 'link', 'show', 'br-7'])).split(' ')[0], 'br-7');
  assert.equal(await h2.must(['ip', 'netns']), '');
  assert.equal(existsSync('/run/netns/weft'), false);

  await h2.must(['ip', 'netns', 'add', 'weft']);
  assert.notEqual(await inode(h1), await inode(h2));
  assert.equal(await h2.must(['ip', '-n', 'weft', '-br', 'link', 'show', 'type', 'bridge']), '');
  assert.match(await h1.must(['findmnt', '-rno', 'TARGET']), /^\/run\/netns\/weft$/m);

  // A program in there is in none of the namespaces that the machine knows by name.
  const inside = await h1.start('inside', ['ip', 'netns', 'exec', 'weft', 'sleep', '1000']);
  await h1.must(['ip', 'netns', 'delete', 'weft']);
  assert.equal(await h1.must(['ip', 'netns']), '');
  await lab.down();
  assert.equal(inside.isAlive(), false);
  assert.deepEqual(mountsOf(lab), []);
  assert.deepEqual(namespacesOf(lab), []);
  assert.equal(existsSync(lab.folder), false);
});

test('a host’s namespaces go with the lab, also from labs that were made meanwhile', { skip }, async (t) => {
  const one = await testLab(t, { hosts: 1 });
  const [h1] = one.hosts;
  assert.ok(h1);
  await h1.must(['ip', 'netns', 'add', 'weft']);
  const other = await testLab(t, { hosts: 1 });
  const [stranger] = other.hosts;
  assert.ok(stranger);
  const inOther = () => stranger.must(['findmnt', '-rno', 'TARGET']);
  await one.down();
  assert.doesNotMatch(await inOther(), new RegExp(`weft-${one.name}-|/${one.name}/`));
  await stranger.must(['ping', '-c1', '-W5', other.store.address]);
});

test('containers on one bridge have addresses of its subnet and its MTU', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const [h1] = lab.hosts;
  assert.ok(h1);
  await makeBridge(h1, { bip: '10.0.1.1/24', mtu: 1450 });
  const c1 = await makeContainer(h1, 'c1');
  const c2 = await makeContainer(h1, 'c2');
  assert.deepEqual([c1.address, c2.address], ['10.0.1.2', '10.0.1.3']);
  assert.equal((await c1.ip(['link', 'show', 'eth0']))[0]?.mtu, 1450);
  for (const [at, device] of [
    [c2, 'eth0'],
    [h1, 'veth-c2'],
    [h1, 'docker0'],
    [h1, 'eth0'],
  ] as const)
    assert.doesNotMatch(
      (await at.ip(['link', 'show', 'dev', device]))[0]?.operstate ?? 'DOWN',
      /DOWN/,
      device,
    );
  await c1.must(['ping', '-c1', '-W5', c2.address]);
  assert.match(await c1.must(['ip', 'route']), /^default via 10\.0\.1\.1 dev eth0/);
});

test('a program is stopped politely, then by force, and found again by its name', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const [h1] = lab.hosts;
  assert.ok(h1);
  const polite = await h1.start('polite', [
    'sh',
    '-c',
    'trap "echo bye; exit 7" TERM; echo up; while :; do sleep 0.05; done',
  ]);
  await polite.waitForLog(/up/);
  assert.equal((await h1.daemon('polite'))?.pid, polite.pid);
  assert.equal(await polite.stop(), 7);
  assert.match(await polite.log(), /bye/);
  assert.equal(polite.isAlive(), false);
  const stubborn = await h1.start('stubborn', [
    'sh',
    '-c',
    'trap "" TERM; echo up; while :; do sleep 0.05; done',
  ]);
  await stubborn.waitForLog(/up/);
  assert.equal(await stubborn.stop(100), 128 + 9);
  await assert.rejects(
    h1.start('missing', ['/no/such/program']).then((it) => it.waitForLog(/never/)),
    /not found|No such file/,
  );
});

test('down takes all of a lab away, programs included, and leaves the other lab alone', {
  skip,
}, async (t) => {
  const [one, other] = [await testLab(t, { hosts: 1 }), await testLab(t, { hosts: 1 })];
  const [h1, stranger] = [one.hosts[0], other.hosts[0]];
  assert.ok(h1 && stranger);
  const ours = await h1.start('sleeper', ['sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done']);
  const theirs = await stranger.start('sleeper', ['sleep', '1000']);
  await one.down();
  assert.equal(ours.isAlive(), false);
  assert.deepEqual(namespacesOf(one), []);
  assert.deepEqual(mountsOf(one), []);
  assert.equal(existsSync(one.folder), false);
  assert.equal(theirs.isAlive(), true);
  await stranger.must(['ping', '-c1', '-W5', other.store.address]);
  await one.down();
});

test('a lab that was left half made goes by its name', { skip }, async (t) => {
  const components = systemLabComponents();
  const abort = new AbortController();
  const options = { name: `t${process.pid}half`, hosts: 3, signal: abort.signal };
  t.after(() => Lab.remove(components, options));
  const steps: string[] = [];
  const onStep = (step: string) => {
    steps.push(step);
    // A crash: nothing of the lab's own clean-up is run after this.
    if (step === 'host h2') throw { crash: true };
  };
  const crashing = {
    ...components,
    folders: { ...components.folders, remove: async () => {}, list: async () => [] },
  };
  await assert.rejects(Lab.create(crashing, { ...options, onStep }));
  assert.deepEqual(steps, ['underlay l2', 'host h1', 'host h2']);
  await assert.rejects(Lab.create(components, options), { code: 'lab-exists' });
  const left = await Lab.open(components, options);
  assert.equal(namespacesOf(left).length, 3);
  await Lab.remove(components, options);
  assert.deepEqual(namespacesOf(left), []);
  assert.deepEqual(mountsOf(left), []);
  await assert.rejects(Lab.open(components, options), { code: 'no-such-lab' });
});

test('a failed create leaves nothing', { skip }, async () => {
  const components = systemLabComponents();
  const name = `t${process.pid}fail`;
  const onStep = (step: string) => assert.notEqual(step, 'host h2');
  await assert.rejects(Lab.create(components, { name, hosts: 2, onStep }));
  await assert.rejects(Lab.open(components, { name }), { code: 'no-such-lab' });
  assert.deepEqual(
    readdirSync('/run/netns').filter((it) => it.startsWith(`weft-${name}-`)),
    [],
  );
});
