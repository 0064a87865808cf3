import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idOf, makeTable } from '#src/firewall/own-table.ts';
import { tunnelElements, tunnelTable } from '#src/firewall/tenant-tunnels.ts';
import { ipv4, ipv6 } from '#src/lib/ip.ts';

test('the rules are for one UDP port, and another port has other rules', () => {
  const text = makeTable(tunnelTable(8473), []);
  assert.equal(text.match(/udp dport 8473 /g)?.length, 2);
  assert.match(text, /hook prerouting priority -300; policy accept;/);
  assert.equal(makeTable(tunnelTable(8474), []).match(/udp dport 8474 /g)?.length, 2);
});

test('hosts of both families, and the devices by which they come', () => {
  const peers = { vteps: [ipv4(0xc0000202), ipv6((0xfd00n << 112n) | 2n)], underlays: ['eth0', 'bond0.7'] };
  assert.deepEqual(tunnelElements(peers).map(idOf), [
    'underlays eth0',
    'underlays bond0.7',
    'vteps4 192.0.2.2',
    'vteps6 fd00::2',
  ]);
});
