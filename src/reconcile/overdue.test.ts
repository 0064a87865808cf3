import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KernelObject } from '#src/state/object.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const ADDRESS: KernelObject = { kind: 'address', prefix: prefix4(ipv4(0x0a050100), 32), device: 'flannel.1' };
const DEVICE: KernelObject = { kind: 'link', name: 'flannel.1', mtu: 1450, up: true };

async function ownerUnderTest(signal: AbortSignal) {
  const [clock, kernel] = [new FakeClock(), new MemoryKernel()];
  const reconciler = new Reconciler(
    { actuators: [kernel], clock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  await reconciler.start(signal);
  const owner = reconciler.own({
    name: 'network',
    scopes: () => [{ kinds: ['link', 'address'], owns: () => true }],
  });
  owner.set('own', [DEVICE, ADDRESS]);
  await owner.settled();
  return { clock, kernel, owner };
}

const overdue = (owner: { readonly status: { readonly overdue?: readonly { readonly key: string }[] } }) =>
  (owner.status.overdue ?? []).map(({ key }) => key);

test('what waits for a device that can not be made is overdue after ten seconds, and no longer once it is there', async (t) => {
  const { clock, kernel, owner } = await ownerUnderTest(t.signal);
  assert.deepEqual(overdue(owner), []);
  kernel.refuseAlways = () => 'EBUSY';
  kernel.interfere({ verb: 'remove', object: DEVICE });
  await owner.settled();
  assert.deepEqual(overdue(owner), []);
  await clock.advance(5_000);
  assert.deepEqual(overdue(owner), []);
  await clock.advance(5_000);
  assert.deepEqual(overdue(owner).sort(), ['address 10.5.1.0/32 dev flannel.1', 'link flannel.1']);
  kernel.refuseAlways = undefined;
  await clock.advance(30_000);
  await owner.settled();
  assert.deepEqual(overdue(owner), []);
});

test('what was not looked at for a minute may have been right in between', async (t) => {
  const { clock, kernel, owner } = await ownerUnderTest(t.signal);
  kernel.refuseAlways = () => 'EBUSY';
  kernel.interfere({ verb: 'remove', object: DEVICE });
  await owner.settled();
  assert.deepEqual(overdue(owner), []);
  await clock.advance(61_000);
  assert.deepEqual(overdue(owner), []);
});

test('an owner’s objects are counted by kind', async (t) => {
  const { clock, kernel, owner } = await ownerUnderTest(t.signal);
  const count = (kind: string) => owner.kinds.get(kind);
  assert.deepEqual(count('address'), { wanted: 1, found: 1, failing: 0, repairs: 0 });
  kernel.interfere({ verb: 'remove', object: ADDRESS });
  await clock.advance(100);
  await owner.settled();
  assert.deepEqual(count('address'), { wanted: 1, found: 1, failing: 0, repairs: 1 });
  kernel.refuseAlways = () => 'EBUSY';
  kernel.interfere({ verb: 'remove', object: ADDRESS });
  await clock.advance(100);
  await owner.settled();
  assert.deepEqual(count('address'), { wanted: 1, found: 0, failing: 1, repairs: 2 });
});
