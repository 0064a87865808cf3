import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODECS, Codecs } from '#src/kernel/codecs.ts';
import type { KindCodec } from '#src/kernel/kind-codec.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { RULE_CODEC } from '../support/rule-codec.ts';
import type { Rule } from '../support/rule-kind.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace with rules of `ip rule`: a kind that weft does not have, in two files. Its messages, groups, dumps and
 * comparisons follow from them on a real kernel.
 */
const rule = (table: number): KernelObject => {
  const made: Rule = { kind: 'rule', priority: 77, mark: 7, table };
  return made as unknown as KernelObject;
};

test('a kind of two files is made, watched and removed on a real kernel', {
  skip: cannotRun(),
}, async (t) => {
  const namespace = scratchNamespace(t);
  const codecs = new Codecs([...CODECS, RULE_CODEC as unknown as KindCodec<KernelObject>]);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink, codecs }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const scopes: readonly Scope[] = [{ kinds: ['rule' as KernelObject['kind']], owns: () => true }];
  const owner = reconciler.own({ name: 'blue', scopes: () => scopes });
  owner.set('own', [rule(100)]);
  await reconciler.start(t.signal);
  const shows = async (pattern: RegExp) =>
    until(() => pattern.test(namespace.run('ip rule show')), { what: String(pattern), timeoutMs: 10_000 });
  await shows(/^77:.*fwmark 0x7 lookup 100 *$/m);
  namespace.run('ip rule del priority 77');
  await shows(/^77:.*fwmark 0x7 lookup 100 *$/m);
  owner.set('own', [rule(200)]);
  await shows(/^77:.*fwmark 0x7 lookup 200 *$/m);
  await owner.settled();
  assert.doesNotMatch(namespace.run('ip rule show'), /lookup 100/);
  owner.allowRemoval();
  owner.set('own', []);
  await owner.settled();
  assert.doesNotMatch(namespace.run('ip rule show'), /^77:/m);
  assert.deepEqual(owner.status.failing, []);
});
