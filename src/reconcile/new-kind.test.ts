import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CODECS, Codecs } from '#src/kernel/codecs.ts';
import type { KindCodec } from '#src/kernel/kind-codec.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { RULE_CODEC } from '../../test/support/rule-codec.ts';
import type { Rule } from '../../test/support/rule-kind.ts';

/*
 * A kind that weft does not have, in two files (test/support/rule-kind.ts, rule-codec.ts). In the house, its type and its
 * codec would be lines in the two tables; here they come in from outside, past the type of all kinds.
 */
const rule = (priority: number, mark: number, table: number): KernelObject => {
  const made: Rule = { kind: 'rule', priority, mark, table };
  return made as unknown as KernelObject;
};
const SCOPES: readonly Scope[] = [{ kinds: ['rule' as KernelObject['kind']], owns: () => true }];

async function host(t: TestContext) {
  const codecs = new Codecs([...CODECS, RULE_CODEC as unknown as KindCodec<KernelObject>]);
  const kernel = new MemoryKernel(codecs.kinds);
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: new FakeClock(), log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  kernel.interfere({ verb: 'add', object: rule(9, 9, 9) });
  const owner = reconciler.own({ name: 'blue', scopes: () => SCOPES });
  owner.set('own', [rule(1, 7, 100)]);
  await reconciler.start(stopper.signal);
  return { kernel, owner };
}

test('a new kind is made, repaired, changed by its own operations and removed', async (t) => {
  const { kernel, owner } = await host(t);
  const foreign = 'rule fwmark 9 table 9 priority 9';
  assert.deepEqual(kernel.text, ['rule fwmark 7 table 100 priority 1', foreign]);
  owner.allowRemoval();
  kernel.interfere({ verb: 'remove', object: rule(1, 7, 100) });
  await owner.settled();
  assert.deepEqual(kernel.text, ['rule fwmark 7 table 100 priority 1']);
  owner.set('own', [rule(1, 7, 200)]);
  await owner.settled();
  assert.deepEqual(kernel.history.slice(-2), [
    'ip rule del fwmark 7 table 100 priority 1',
    'ip rule add fwmark 7 table 200 priority 1',
  ]);
  owner.set('own', []);
  await owner.settled();
  assert.deepEqual(kernel.text, []);
});
