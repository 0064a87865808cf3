import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decodeStatusMessage, encodeStatusMessage } from '#src/grpc/grpc-status.ts';

test('a status message is percent-encoded', () => {
  assert.equal(encodeStatusMessage('a b: 100 %\n'), 'a b: 100 %25%0A');
  assert.equal(encodeStatusMessage('é'), '%C3%A9');
});

test('and comes back as it was', () => {
  void fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      assert.equal(decodeStatusMessage(encodeStatusMessage(text)), text);
    }),
  );
  assert.equal(decodeStatusMessage('100 % of 5%2'), '100 % of 5%2');
});
