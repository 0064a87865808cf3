import assert from 'node:assert/strict';
import { test } from 'node:test';
import { standingOf } from '#src/ui/model/slots.ts';

test('a slot stands as wanted where the command ends with what is found', () => {
  const slot = { key: 'route 10.0.2.0/24', kind: 'route' };
  const wanted = 'ip route add 10.0.2.0/24 via 10.0.2.0 dev flannel.1 onlink';
  const found = '10.0.2.0/24 via 10.0.2.0 dev flannel.1 onlink';
  assert.equal(standingOf({ ...slot, wanted, found }), 'as wanted');
  assert.equal(standingOf({ ...slot, wanted, found, failure: 'EEXIST' }), 'not as wanted');
  assert.equal(standingOf({ ...slot, wanted, found: `${found} metric 1` }), 'not as wanted');
  assert.equal(standingOf({ ...slot, wanted }), 'not as wanted');
  assert.equal(standingOf({ ...slot, found }), 'foreign');
});
