import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { LazyActuator } from '#src/reconcile/lazy-actuator.ts';
import type { Kind } from '#src/state/kind.ts';
import { LINK } from '#src/state/kinds/link.ts';
import type { KernelObject } from '#src/state/object.ts';

const KINDS = [LINK as unknown as Kind<KernelObject>];
const DEVICE: KernelObject = { kind: 'link', name: 'x' };

test('it is loaded when its kinds are asked for, once, and then reports to who waits', async (t) => {
  const kernel = new MemoryKernel();
  let loads = 0;
  const lazy = new LazyActuator(KINDS, async () => {
    loads++;
    return kernel;
  });
  const heard: string[] = [];
  await lazy.monitor(({ type }) => heard.push(type), t.signal);
  await lazy.scan({ kinds: ['route'] }, () => assert.fail('nothing of that kind'));
  assert.deepEqual([loads, lazy.loaded], [0, undefined]);
  const [result] = await lazy.apply([{ verb: 'add', object: DEVICE }]);
  assert.equal(result?.done, true);
  const found: KernelObject[] = [];
  await lazy.scan({ kinds: ['link'] }, (object) => found.push(object));
  assert.deepEqual([loads, lazy.loaded, found.length], [1, kernel, 1]);
  assert.deepEqual(heard, ['changed']);
});

test('a load that failed is tried again', async () => {
  let fails = true;
  const lazy = new LazyActuator(KINDS, async () => {
    if (fails) throw new Error('replaced meanwhile');
    return new MemoryKernel();
  });
  await assert.rejects(lazy.open(), /replaced meanwhile/);
  fails = false;
  await lazy.open();
});
