import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace, and nft in it. Ours only asks.
 */
const skip = cannotRun('nft', 'iptables');

test('the kernel names the tables of a family, and counts each transaction', { skip }, async (t) => {
  const { path, run } = scratchNamespace(t);
  const ruleset = new NftablesRuleset({ netlink: systemNetlink, clock: systemClock }, { namespace: path });
  assert.deepEqual(await ruleset.tables(4), []);
  const fresh = await ruleset.generation();
  assert.ok(fresh !== undefined);
  run('nft add table ip nat; add table ip own; add table ip6 filter');
  assert.deepEqual(await ruleset.tables(4), ['nat', 'own']);
  assert.deepEqual(await ruleset.tables(6), ['filter']);
  assert.equal(await ruleset.generation(), fresh + 1);
  run('nft list ruleset');
  run('iptables-nft-save');
  assert.equal(await ruleset.generation(), fresh + 1, 'who only reads is not counted');
});

test('a kernel that can not be asked gives no answer', async () => {
  const netlink = {
    open: async () => {
      throw new Error('no such protocol');
    },
  };
  const ruleset = new NftablesRuleset({ netlink, clock: systemClock });
  assert.deepEqual([await ruleset.generation(), await ruleset.tables(4)], [undefined, undefined]);
});
