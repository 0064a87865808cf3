import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeRestores } from '#src/firewall/merge-restores.ts';

const input = (n: number): string =>
  [
    '*nat',
    `:OWN-${n} - [0:0]`,
    `-A OWN-${n} -j RETURN`,
    `-A POSTROUTING -j OWN-${n}`,
    'COMMIT',
    '*filter',
    `:FWD-${n} - [0:0]`,
    `-I FORWARD 3 -j FWD-${n}`,
    'COMMIT',
    '',
  ].join('\n');

test('inputs that only add become one, each table once and chains before what leads to them', () => {
  assert.equal(
    mergeRestores([input(1), input(2)]),
    [
      '*nat',
      ':OWN-1 - [0:0]',
      ':OWN-2 - [0:0]',
      '-A OWN-1 -j RETURN',
      '-A POSTROUTING -j OWN-1',
      '-A OWN-2 -j RETURN',
      '-A POSTROUTING -j OWN-2',
      'COMMIT',
      '*filter',
      ':FWD-1 - [0:0]',
      ':FWD-2 - [0:0]',
      '-I FORWARD 3 -j FWD-1',
      '-I FORWARD 3 -j FWD-2',
      'COMMIT',
      '',
    ].join('\n'),
  );
});

test('one that removes anything stays apart', () => {
  for (const line of ['-D FORWARD -j FWD-1', '-X FWD-1', '-F FWD-1', '-A FORWARD -j X\n# what is this'])
    assert.equal(mergeRestores([input(1), `*filter\n${line}\nCOMMIT\n`]), undefined, line);
});
