import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseVni } from '#src/tenant/choose-vni.ts';

const choice = (
  wanted: number | undefined,
  taken: readonly (readonly [number, string])[] = [],
): number | string => {
  const chosen = chooseVni(wanted, new Map(taken));
  return chosen.kind === 'chosen' ? chosen.vni : chosen.reason;
};

test('the lowest free one from 10,000 on', () => {
  assert.equal(choice(undefined), 10_000);
  assert.equal(
    choice(undefined, [
      [10_000, 'a'],
      [10_001, 'b'],
      [10_003, 'c'],
    ]),
    10_002,
  );
});

test('the one that was asked for, unless another network has it', () => {
  for (const vni of [1, 70_001, 16_777_215]) assert.equal(choice(vni), vni);
  assert.equal(choice(70_001, [[70_001, 'red']]), 'VNI 70001 is that of network red');
  for (const bad of [0, -1, 16_777_216, 1.5, Number.NaN])
    assert.equal(choice(bad), `the VNI must be a whole number between 1 and 16777215, it is ${bad}`);
});

test('after the highest comes the lowest', () => {
  const taken = new Map<number, string>();
  // A map of 16 million takes a gigabyte: this one only says what is in it.
  taken.has = (vni) => vni >= 10_000 || vni < 5;
  assert.deepEqual(chooseVni(undefined, taken), { kind: 'chosen', vni: 5 });
  taken.has = () => true;
  assert.equal(chooseVni(undefined, taken).kind, 'refuse');
});
