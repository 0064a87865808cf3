import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelObject, Link } from '#src/state/object.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { fdb, host, link, scopesOf } from '../../test/support/reconciled-host.ts';

/* Whatever the kernel refuses is tried again after pauses, and a refusal in one slot leaves the others alone. */

const setting: KernelObject = { kind: 'sysctl', path: 'net/ipv4/conf/blue/forwarding', value: '1' };

test('a list with an object that no actuator carries is refused whole, and nothing of it is made, before or after a release', async (t) => {
  const { clock, kernel, reconciler } = await host(t);
  const scopes = scopesOf('blue');
  const blue = reconciler.own({ name: 'blue', scopes: () => scopes });
  assert.throws(() => blue.set('own', [link('blue'), fdb('blue', 1), setting]), {
    name: 'TypeError',
    message: 'there is no kind of kernel state "sysctl"',
  });
  assert.equal(blue.status.wanted, 0);
  await clock.advance(60_000);
  await blue.release();
  reconciler.check();
  await clock.advance(60_000);
  assert.deepEqual(kernel.history, []);
  assert.deepEqual(reconciler.status, {
    wanted: 0,
    failing: [],
    repairs: 0,
    checks: reconciler.status.checks,
  });
});

test('a device that can’t be made, and can be brought up all the same, is tried again after pauses that grow', async (t) => {
  const { clock, kernel, reconciler } = await host(t);
  kernel.interfere({ verb: 'add', object: link('blue') });
  kernel.refuseAlways = (command) => (command === 'ip link del blue' ? 'EBUSY' : undefined);
  // Out of all scopes: the comparison does not see that it is there.
  const blue = reconciler.own({ name: 'blue', scopes: () => [] });
  const tunnel: Link = {
    ...link('blue'),
    vxlan: { vni: 1, underlay: 'eth0', port: 8472, learning: false, gbp: false },
  };
  blue.set('own', [tunnel]);
  const tries = (): number =>
    kernel.history.filter((command) => command.startsWith('ip link add blue')).length;
  for (let turn = 0; turn < 1_000; turn++) await nextTurn();
  assert.equal(tries(), 1, 'no time has gone by');
  await clock.advance(60_000);
  assert.ok(tries() >= 5 && tries() < 50, `${tries()} tries in a minute`);
  assert.ok(reconciler.status.checks < 100, `${reconciler.status.checks} comparisons in a minute`);
  assert.deepEqual(
    blue.status.failing.map(({ reason }) => reason),
    ['EBUSY (EBUSY)'],
  );
});

test('what finds no device though the device is there is tried again after pauses, without comparisons', async (t) => {
  const { clock, kernel, reconciler, own } = await host(t);
  const blue = own('blue');
  await blue.settled();
  kernel.refuseAlways = (command) => (command.startsWith('bridge fdb') ? 'ENODEV' : undefined);
  blue.set('peer', [fdb('blue', 1), fdb('blue', 2)]);
  const before = reconciler.status.checks;
  await clock.advance(60_000);
  const tries = kernel.history.filter((command) => command.startsWith('bridge fdb')).length;
  assert.ok(tries >= 10 && tries < 50, `${tries} tries in a minute`);
  assert.equal(reconciler.status.checks, before, 'the device might have gone: only that is looked at');
  assert.deepEqual([blue.status.failing.length, blue.status.repairs], [2, 0]);
  kernel.refuseAlways = undefined;
  await clock.advance(30_000);
  assert.deepEqual(blue.status.failing, []);
});

test('a device that goes again and again while something is put on it is made again without a pause', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const blue = own('blue');
  await blue.settled();
  for (let round = 1; round <= 3; round++) {
    kernel.refuseAlways = (command) => {
      if (!command.startsWith('bridge fdb')) return undefined;
      kernel.refuseAlways = undefined;
      kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'blue' } });
      return 'ENODEV';
    };
    blue.set('peer', [fdb('blue', 1, round)]);
    await reconciler.settled();
    assert.ok(kernel.text.some((line) => line.startsWith('fdb') && line.includes(`dst 172.16.0.${round} `)));
    assert.deepEqual(blue.status.failing, []);
  }
});
