import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lane } from '#src/driver/lane.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

test('at most so many are inside, and the others follow in their order', async () => {
  const lane = new Lane(2);
  const inside: number[] = [];
  const never = new AbortController().signal;
  for (let n = 0; n < 5; n++) void lane.enter(never).then(() => inside.push(n));
  await nextTurn();
  assert.deepEqual(inside, [0, 1]);
  for (let n = 0; n < 5; n++) {
    lane.leave();
    await nextTurn();
  }
  assert.deepEqual(inside, [0, 1, 2, 3, 4]);
});

test('one that gives up takes no place', async () => {
  const lane = new Lane(1);
  const never = new AbortController().signal;
  const impatient = new AbortController();
  await lane.enter(never);
  const waiting = lane.enter(impatient.signal);
  impatient.abort(new Error('late'));
  await assert.rejects(waiting, { message: 'late' });
  await assert.rejects(lane.enter(impatient.signal), { message: 'late' });
  lane.leave();
  await lane.enter(never);
});
