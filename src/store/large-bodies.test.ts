import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LargeBodies, type LargeBody } from '#src/store/large-bodies.ts';

test('large bodies take turns, by connection and in all, and a turn ends', () => {
  let now = 0;
  const bodies = new LargeBodies(() => now, { total: 3, perConnection: 2, turnMs: 100 });
  const said: string[] = [];
  const body = (name: string): LargeBody => ({
    begin: () => said.push(`begin ${name}`),
    expire: () => said.push(`expire ${name}`),
  });
  const [one, two] = [{}, {}];
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(body);
  assert.ok(a && b && c && d && e);
  for (const mine of [a, b, c]) bodies.enter(mine, one);
  bodies.enter(d, two);
  bodies.enter(e, two);
  assert.deepEqual(said, ['begin a', 'begin b', 'begin d']);
  bodies.leave(a);
  assert.deepEqual(said.slice(3), ['begin c']);
  now = 99;
  bodies.tick();
  bodies.leave(d);
  assert.deepEqual(said.slice(4), ['begin e']);
  now = 100;
  bodies.tick();
  assert.deepEqual(said.slice(5), ['expire b', 'expire c']);
});
