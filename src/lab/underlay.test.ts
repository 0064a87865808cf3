import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeOf, type UnderlayPlan, underlayFor, underlayLines } from '#src/lab/underlay.ts';
import { ipv4 } from '#src/lib/ip.ts';

const base = ipv4(0xac1046be);
const l2: UnderlayPlan = { kind: 'l2', base, mtu: 1500 };
const l3: UnderlayPlan = { kind: 'l3', base, mtu: 9000 };

test('on l2 the hosts sit on one bridge, with the addresses of the scenario', () => {
  assert.deepEqual(underlayLines(l2), [
    'link set lo up',
    'link add br0 mtu 1500 type bridge',
    'addr add 172.16.70.1/16 dev br0',
    'link set br0 up',
  ]);
  assert.deepEqual(placeOf(l2, 'h1', 1, 'weft-x-h1'), {
    address: '172.16.70.191',
    wire: [
      'link add h1 mtu 1500 type veth peer name eth0 mtu 1500 netns weft-x-h1',
      'link set h1 master br0',
      'link set h1 up',
    ],
    host: ['addr add 172.16.70.191/16 dev eth0', 'link set eth0 up', 'route add default via 172.16.70.1'],
  });
});

test('on l3 each host has a subnet and a gateway of its own', () => {
  const place = placeOf(l3, 'h2', 2, 'weft-x-h2');
  assert.equal(place.address, '172.16.72.190');
  assert.deepEqual(place.wire.slice(1), ['addr add 172.16.72.1/24 dev h2', 'link set h2 up']);
  assert.deepEqual(place.host.slice(-1), ['route add default via 172.16.72.1']);
});

test('a hundred hosts have a hundred addresses', () => {
  for (const plan of [l2, l3]) {
    const addresses = Array.from({ length: 100 }, (_, n) => placeOf(plan, `h${n}`, n, '').address);
    assert.equal(new Set(addresses).size, 100);
  }
});

test('more hosts than the neighbour table holds on one link get a router', () => {
  assert.equal(underlayFor(2), 'l2');
  assert.equal(underlayFor(30), 'l2');
  assert.equal(underlayFor(31), 'l3');
});
