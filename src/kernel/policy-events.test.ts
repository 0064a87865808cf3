import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as k from '#src/kernel/constants.ts';
import { encodeRequests, messagesIn } from '#src/kernel/message.ts';
import { readPolicy } from '#src/kernel/policy-events.ts';

/** A message whose struct rtmsg or fib_rule_hdr has this table. */
function messageOf(type: number, table: number, size = 12) {
  const bytes = encodeRequests(
    [{ type, flags: 0, size, write: (view, offset) => size > 4 && view.setUint8(offset + 4, table) }],
    0,
  );
  const [message] = messagesIn(bytes);
  return message ?? assert.fail('no message');
}

test('rules, and routes of tables that rules lead to, are policy', () => {
  const policy = { type: 'policy' } as const;
  for (const type of [k.RTM_NEWRULE, k.RTM_DELRULE])
    assert.deepEqual(readPolicy(messageOf(type, k.RT_TABLE_MAIN)), policy);
  for (const type of [k.RTM_NEWROUTE, k.RTM_DELROUTE]) {
    assert.deepEqual(readPolicy(messageOf(type, 100)), policy);
    assert.deepEqual(readPolicy(messageOf(type, 252)), policy, 'a table above 255');
    for (const table of [k.RT_TABLE_MAIN, k.RT_TABLE_LOCAL])
      assert.equal(readPolicy(messageOf(type, table)), undefined);
  }
});

test('other messages are not, nor one that is cut short', () => {
  assert.equal(readPolicy(messageOf(k.RTM_NEWLINK, 100)), undefined);
  assert.equal(readPolicy(messageOf(k.RTM_NEWROUTE, 100, 4)), undefined);
});
