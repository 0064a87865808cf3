import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fastPathScope, localObjects, peerObjects } from '#src/fast-path/fast-path-objects.ts';
import { MAPS, peerKey } from '#src/fast-path/map-layouts.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import type { FormName } from '#src/reconcile/fast-path/hooks.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import {
  besides,
  fastPathHosts,
  runFastPath,
  SET,
  scratchBpffs,
  wantedOf,
  wishOf,
  withMap,
} from '../support/fast-path-hosts.ts';

/* Many peers, two networks on one host, and hosts that are gone. The hosts are drawn in test/support/fast-path-hosts.ts. */

const forms = await bpfForms('bridge', 'tc');
const PEERS = 10_000;

function setUp(t: TestContext, form: FormName) {
  const bpffs = scratchBpffs(t);
  const [h1, h2] = fastPathHosts(t);
  const wish = wishOf(h1, h2);
  return { bpffs, h1, h2, wish, place: { form, bpffs } };
}

const manyPeers = (wish: ReturnType<typeof wishOf>) =>
  Array.from({ length: PEERS }, (_, index) =>
    peerObjects(SET, {
      subnet: prefix4(ipv4(0x0b000000 + index * 256), 24),
      vtep: ipv4(0xac100000 + index),
      mac: wish.mac,
    }),
  );

for (const [form, lack] of forms) {
  test(`${form}: ${PEERS} peers, of which one is taken away by another program`, {
    skip: lack,
  }, async (t) => {
    const { h1, wish, place } = setUp(t, form);
    const fast = await runFastPath(t, h1, wantedOf(wish), place);
    const began = systemClock.monotonic();
    const all = manyPeers(wish);
    for (const [index, objects] of all.entries()) fast.owner.set(`peer ${index}`, objects);
    await fast.owner.settled();
    t.diagnostic(`${PEERS} peers took ${Math.round(systemClock.monotonic() - began)} ms`);
    assert.deepEqual(fast.owner.status.failing, []);
    const subnet = prefix4(ipv4(0x0b000000 + 7777 * 256), 24);
    const count = (work?: 'delete') =>
      withMap(h1, place, 'peers', (bpf, fd) => {
        if (work === 'delete') assert.ok(bpf.delete(fd, peerKey({ subnet })));
        return [...bpf.chunks(fd, MAPS.peers)].reduce((total, chunk) => total + chunk.count, 0);
      });
    assert.equal(await count(), PEERS + 1);
    assert.equal(await count('delete'), PEERS);
    await until(async () => (await count()) === PEERS + 1, { what: 'peer again' });
    for (const index of all.keys()) fast.owner.set(`peer ${index}`, []);
    await fast.owner.settled();
    assert.equal(await count(), 1);
  });

  test(`${form}: two networks on one host, and one of them ends`, { skip: lack }, async (t) => {
    const { h1, wish, place } = setUp(t, form);
    h1.run(
      'ip link add flannel.2 mtu 1450 type vxlan id 2 dstport 8472 nolearning local 192.168.77.1 dev eth0',
    );
    h1.run('ip link set flannel.2 up');
    const fast = await runFastPath(t, h1, wantedOf(wish), place);
    const scopes = [fastPathScope('flannel.2')];
    const second = fast.reconciler.own({ name: 'green', scopes: () => scopes });
    second.allowRemoval();
    second.set('own', wantedOf({ ...wish, set: 'flannel.2', vni: 2, peers: [], locals: [] }));
    await second.settled();
    assert.deepEqual([second.status.failing, fast.owner.status.failing], [[], []]);
    const hooks = () =>
      besides(h1, place, async ({ hooks, names }) =>
        (await hooks.list(names)).map(({ set, program }) => `${set} ${program}`).sort(),
      );
    const ofFirst = ['from-container', 'from-wire', 'note-in', 'note-out'].map((name) => `${SET} ${name}`);
    assert.deepEqual(await hooks(), [...ofFirst, 'flannel.2 from-wire', 'flannel.2 note-out']);
    second.set('own', []);
    await second.settled();
    assert.deepEqual(await hooks(), ofFirst);
    assert.notEqual(fast.actuator.counts(SET), undefined);
    assert.equal(fast.actuator.counts('flannel.2'), undefined);
  });
}

const COMING = 40;
for (const [form, lack] of forms) {
  test(`${form}: ${COMING} containers come and go`, { skip: lack }, async (t) => {
    const { h1, wish, place } = setUp(t, form);
    const fast = await runFastPath(t, h1, wantedOf(wish), place);
    const devices = Array.from({ length: COMING }, (_, index) => `w${index}`);
    const batch = (line: (device: string) => string) =>
      execFileSync('ip', ['-n', h1.path.replace('/run/netns/', ''), '-batch', '-'], {
        input: devices.map(line).join('\n'),
        stdio: ['pipe', 'ignore', 'pipe'],
      });
    const hooked = () =>
      besides(h1, place, async ({ hooks, names }) =>
        (await hooks.list(names)).filter(({ device }) => devices.includes(device)),
      );
    for (const round of [1, 2]) {
      batch((device) => `link add ${device} type veth peer name x${device}`);
      for (const [index, device] of devices.entries())
        fast.owner.set(device, localObjects(SET, { ip: ipv4(0x0af40110 + index), device, mac: h1.mac }));
      await fast.owner.settled();
      assert.deepEqual(fast.owner.status.failing, [], `round ${round}`);
      assert.equal((await hooked()).length, 2 * COMING);
      // Docker takes the device first.
      batch((device) => `link del ${device}`);
      for (const device of devices) fast.owner.set(device, []);
      await fast.owner.settled();
      await until(async () => (await hooked()).length === 0, { what: 'end of the hooks' });
    }
    assert.ok(fast.owner.stateOf('own').isDone);
  });
}

for (const [form, lack] of forms) {
  test(`${form}: a container’s device is made ready before its programs come`, { skip: lack }, async (t) => {
    const { h1, wish, place } = setUp(t, form);
    const fast = await runFastPath(t, h1, wantedOf(wish), place);
    const filters = () =>
      h1.run('tc filter show dev late ingress') + h1.run('tc filter show dev late egress');
    h1.run('ip link add late type veth peer name xlate');
    const ifindex = h1.ifindex('late');
    fast.actuator.prepare(ifindex);
    await until(() => h1.run('tc qdisc show dev late').includes('clsact'), { what: 'qdisc' });
    assert.equal(filters(), '');
    h1.run('ip link set late up');
    const others = 'tc filter add dev late ingress pref 7 bpf bytecode'.split(' ');
    execFileSync('ip', ['netns', 'exec', h1.path.replace('/run/netns/', ''), ...others, '1,6 0 0 0,']);
    fast.actuator.prepare(ifindex);
    fast.owner.set('late', localObjects(SET, { ip: ipv4(0x0af40110), device: 'late', mac: h1.mac }));
    await fast.owner.settled();
    assert.deepEqual(fast.owner.status.failing, []);
    assert.match(filters(), /pref 7 bpf/);
    assert.match(filters(), /weft\/flannel\.1\/from-container[\s\S]*weft\/flannel\.1\/note-in/);
    fast.owner.set('late', []);
    await fast.owner.settled();
    assert.match(filters(), /pref 7 bpf/);
    assert.doesNotMatch(filters(), /weft/);
    h1.run('ip link del late');
    fast.actuator.prepare(ifindex);
    await fast.owner.settled();
    assert.deepEqual(fast.owner.status.failing, []);
  });
}

test('tcx: a container that runs already gets links, and no qdisc that would cost it packets', {
  skip: forms.get('tcx') ?? false,
}, async (t) => {
  const { h1, wish, place } = setUp(t, 'tcx');
  const fast = await runFastPath(t, h1, wantedOf(wish), place);
  const found = () =>
    besides(h1, place, async ({ hooks, names }) =>
      (await hooks.list(names)).filter(({ device }) => device === 'vc' || device === 'azure'),
    );
  const filters = (device: string) => h1.run(`tc filter show dev ${device} ingress`);
  assert.doesNotMatch(h1.run('tc qdisc show dev vc'), /clsact/);
  const first = await found();
  assert.deepEqual(
    first.map(({ program, isFormed }) => `${program} ${isFormed}`),
    ['from-container true', 'note-in true'],
  );
  // The next weft takes them over.
  await fast.stop();
  const again = await runFastPath(t, h1, wantedOf(wish), place);
  assert.equal(again.owner.status.repairs, 0);
  assert.deepEqual(await found(), first);
  // Another user's qdisc does not move them, and what is made again is a filter then.
  h1.run('tc qdisc add dev vc clsact');
  await again.set(wantedOf({ ...wish, generation: 1 }));
  assert.deepEqual(await found(), first);
  assert.equal(filters('vc'), '');
  await again.set(wantedOf({ ...wish, locals: [] }));
  assert.deepEqual(await found(), []);
  await again.set(wantedOf(wish));
  assert.match(filters('vc'), /weft\/flannel\.1\/from-container/);
  // Somebody takes the qdisc away, and the filters with it.
  h1.run('tc qdisc del dev vc clsact');
  await until(async () => (await found()).length === 2 && again.owner.stateOf('own').isDone, {
    what: 'links in place of the filters',
  });
  assert.doesNotMatch(h1.run('tc qdisc show dev vc'), /clsact/);
  // Under another name the device keeps its links, and loses them when it is to.
  h1.run('ip link set vc name azure');
  await again.set(wantedOf({ ...wish, locals: wish.locals.map((local) => ({ ...local, device: 'azure' })) }));
  assert.deepEqual((await found()).map(({ program, device }) => `${program} ${device}`).sort(), [
    'from-container azure',
    'note-in azure',
  ]);
  await again.set(wantedOf({ ...wish, locals: [] }));
  assert.deepEqual(await found(), []);
  assert.deepEqual(again.owner.status.failing, []);
});

test('a weft that chooses the other form replaces each hook, and none is there twice', {
  skip: forms.get('tcx') ?? false,
}, async (t) => {
  const { bpffs, h1, wish } = setUp(t, 'tcx');
  for (const form of ['tcx', 'clsact', 'tcx', 'clsact'] as const) {
    const fast = await runFastPath(t, h1, wantedOf(wish), { form, bpffs });
    assert.ok(fast.owner.stateOf('own').isDone, form);
    const found = await besides(h1, { form, bpffs }, ({ hooks, names }) => hooks.list(names));
    assert.deepEqual(
      found.map(({ program, isFormed }) => `${program} ${isFormed}`).sort(),
      ['from-container', 'from-wire', 'note-in', 'note-out'].map((program) => `${program} true`),
    );
    await fast.stop();
  }
});

test('tcx: what a host that is gone has left is removed by the next start of another, and not adopted', {
  skip: forms.get('tcx') ?? false,
}, async (t) => {
  const { bpffs, h1, h2, wish, place } = setUp(t, 'tcx');
  const name = `weft-gone-${process.pid}`;
  const call = (...words: string[]) => execFileSync('ip', words, { stdio: 'ignore' });
  call('netns', 'add', name);
  let isThere = true;
  t.after(() => isThere && call('netns', 'del', name));
  call('-n', name, 'link', 'add', 'eth0', 'type', 'bridge');
  call('-n', name, 'link', 'add', SET, 'type', 'bridge');
  const gone = await runFastPath(
    t,
    { ...h1, path: `/run/netns/${name}` },
    wantedOf({ ...wish, locals: [], peers: [] }),
    place,
  );
  assert.deepEqual(gone.owner.status.failing, []);
  await gone.stop();
  const folders = () => readdirSync(`${bpffs}/weft`);
  assert.equal(folders().length, 1);
  const [left] = folders();
  call('netns', 'del', name);
  isThere = false;
  // The kernel takes a namespace's devices down a moment later.
  await until(
    async () => {
      const next = await runFastPath(t, h2, wantedOf(wishOf(h2, h1)), place);
      await next.stop();
      return !folders().includes(left ?? '');
    },
    // One worker of the kernel takes them down, for all tests that run.
    { what: 'removal of what is left', intervalMs: 200, timeoutMs: 60_000 },
  );
  assert.equal(folders().length, 1);
});
