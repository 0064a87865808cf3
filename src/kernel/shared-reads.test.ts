import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { sharedReads } from '#src/kernel/shared-reads.ts';

test('a hundred that ask at once cost two lists, and each has what was there when it asked', async (t) => {
  const kernel = new MemoryKernel();
  const [links, dump] = [t.mock.method(kernel, 'links'), t.mock.method(kernel, 'dump')];
  const shared = sharedReads(kernel);
  const first = [shared.links(), shared.dump({ kinds: ['address'] })] as const;
  await Promise.resolve();
  await kernel.apply([{ verb: 'add', object: { kind: 'link', name: 'late', type: 'dummy' } }]);
  const later = await Promise.all(Array.from({ length: 100 }, () => shared.links()));
  assert.ok(later.every((list) => list.some(({ name }) => name === 'late')));
  await Promise.all(Array.from({ length: 100 }, () => shared.dump({ kinds: ['address'] })));
  await Promise.all(first);
  assert.ok(links.mock.callCount() <= 2, `${links.mock.callCount()}`);
  assert.ok(dump.mock.callCount() <= 3, `${dump.mock.callCount()}`);
  const [one, other] = await Promise.all([
    shared.dump({ kinds: ['link'] }),
    shared.dump({ kinds: ['link'], device: 'none' }),
  ]);
  assert.deepEqual([one.length > 0, other.length], [true, 0]);
});
