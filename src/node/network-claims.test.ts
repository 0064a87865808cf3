import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix4 } from '#src/lib/ip.ts';
import { NetworkClaims } from '#src/node/network-claims.ts';

function claim(title: string, text: string, device: string) {
  const network = parsePrefix4(text);
  assert.ok(network);
  return { title, networks: { v4: network }, devices: [device] };
}

test('one device, or one range, for two networks is refused with both names', () => {
  const claims = new NetworkClaims();
  claims.take('blue', claim('network blue', '10.5.0.0/16', 'flannel.1'));
  assert.throws(() => claims.take('red', claim('network red', '10.6.0.0/16', 'flannel.1')), {
    code: 'network-clash',
    message: 'network red can not start: its device would be flannel.1, which is that of network blue',
  });
  assert.throws(() => claims.take('red', claim('network red', '10.5.7.0/24', 'flannel.2')), {
    code: 'network-clash',
    message: 'network red can not start: its Network 10.5.7.0/24 overlaps 10.5.0.0/16 of network blue',
  });
  claims.take('red', claim('network red', '10.6.0.0/16', 'flannel.2'));
});

test('a network may take again what it has, and what another gave back', () => {
  const claims = new NetworkClaims();
  claims.take('blue', claim('network blue', '10.5.0.0/16', 'flannel.1'));
  claims.take('blue', claim('network blue', '10.5.0.0/16', 'flannel.1'));
  claims.release('blue');
  claims.take('red', claim('network red', '10.5.0.0/16', 'flannel.1'));
});
