import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deriveMac } from '#src/backend/derive-mac.ts';

const UUID = '0f8fad5b-d9cb-469f-a165-70867728950e';

test('a MAC stays the same for a node and a device, and is a local unicast one', () => {
  // Peers know a node by it: no version may derive another.
  assert.equal(deriveMac(UUID, 'flannel.1'), 'a6:66:23:d7:91:07');
  assert.notEqual(deriveMac(UUID, 'flannel.1'), deriveMac(UUID, 'flannel-v6.1'));
  for (let n = 0; n < 64; n++)
    assert.equal(Number.parseInt(deriveMac(`${UUID}${n}`, 'flannel.1').slice(0, 2), 16) & 3, 2);
});
