import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, nearestWord } from '#src/lib/nearest-word.ts';

const COMMANDS = ['status', 'peers', 'leases', 'release', 'events', 'lab'];

test('the word that was probably meant', () => {
  const meant = { pers: 'peers', peres: 'peers', statsu: 'status', sttaus: 'status', leasess: 'leases' };
  for (const [given, word] of Object.entries(meant)) assert.equal(nearestWord(given, COMMANDS), word, given);
});

test('a word that is far from each of them is none of them', () => {
  for (const given of ['', 'x', 'frobnicate', 'ev', 'la-la-la'])
    assert.equal(nearestWord(given, COMMANDS), undefined, given);
});

test('what a message says of it', () => {
  assert.equal(didYouMean('pers', COMMANDS, 'see --help'), 'did you mean peers?');
  assert.equal(didYouMean('frobnicate', COMMANDS, 'see --help'), 'see --help');
});
