import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseNetworks } from '#src/registry/open-networks.ts';

const some = { kind: 'names', names: ['blue'] } as const;
const none = { kind: 'names', names: [] } as const;
const failed = { kind: 'failed', error: new Error('refused') } as const;
const unsupported = { kind: 'unsupported', error: new Error('no v3 API there') } as const;

/** v3, v2, the round, and which is taken. */
const CASES = [
  [some, some, 1, 0],
  [some, failed, 1, 0],
  [none, some, 1, 1],
  [none, none, 1, 0],
  [none, unsupported, 1, 0],
  [none, failed, 1, -1],
  [none, failed, 4, 0],
  [unsupported, some, 1, 1],
  [unsupported, none, 1, 1],
  [unsupported, failed, 9, -1],
  [unsupported, unsupported, 9, -1],
  [failed, some, 1, -1],
  [failed, some, 4, 1],
  [failed, none, 9, -1],
  [failed, failed, 9, -1],
] as const;

for (const [v3, v2, round, expected] of CASES) {
  const name = ({ kind, ...look }: typeof v3 | typeof v2) =>
    'names' in look ? `${look.names.length} networks` : kind;
  test(`v3: ${name(v3)}, v2: ${name(v2)}, round ${round}: ${['wait', 'v3', 'v2'][expected + 1]}`, () => {
    assert.equal(chooseNetworks([v3, v2], round), expected);
  });
}

test('one API that was asked for is waited for, and taken without networks', () => {
  assert.equal(chooseNetworks([failed], 99), -1);
  assert.equal(chooseNetworks([none], 1), 0);
});
