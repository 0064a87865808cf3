import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { encodeRequests, messagesIn } from '#src/kernel/message.ts';
import { readQueue } from '#src/kernel/queue-events.ts';

/** A message whose struct tcmsg has this parent. */
function messageOf(type: number, parent: number, size = 20) {
  const write = (view: DataView, offset: number): void => {
    if (size >= 16) view.setUint32(offset + 12, parent, LITTLE_ENDIAN);
  };
  const [message] = messagesIn(encodeRequests([{ type, flags: 0, size, write }], 0));
  return message ?? assert.fail('no message');
}

test('another root qdisc is news; the place of BPF programs, other messages and one cut short are none', () => {
  const ROOT = 0xffff_ffff;
  for (const type of [k.RTM_NEWQDISC, k.RTM_DELQDISC])
    assert.deepEqual(readQueue(messageOf(type, ROOT)), { type: 'qdisc' });
  assert.equal(readQueue(messageOf(k.RTM_NEWQDISC, 0xffff_fff1)), undefined);
  assert.equal(readQueue(messageOf(k.RTM_NEWLINK, ROOT)), undefined);
  assert.equal(readQueue(messageOf(k.RTM_NEWQDISC, ROOT, 8)), undefined);
});
