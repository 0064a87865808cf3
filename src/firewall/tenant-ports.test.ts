import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idOf, makeTable } from '#src/firewall/own-table.ts';
import { linkLocalOf, PORT_TABLE, portElements } from '#src/firewall/tenant-ports.ts';
import { formatIp, ipv4, ipv6 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';

const MAC = '02:42:0a:05:00:02' as Mac;

test('a container has its MAC, its addresses, and the link-local address of its MAC', () => {
  const addresses = [ipv4(0x0a050002), ipv6((0xfd000005n << 96n) | 2n)];
  assert.deepEqual(portElements('p1', { mac: MAC, addresses }).map(idOf), [
    `macs p1 ${MAC}`,
    `addresses4 p1 ${MAC} 10.5.0.2`,
    `addresses6 p1 ${MAC} fd00:5::2`,
    `addresses6 p1 ${MAC} fe80::42:aff:fe05:2`,
    `targets6 p1 ${MAC} fd00:5::2`,
    `targets6 p1 ${MAC} fe80::42:aff:fe05:2`,
  ]);
  assert.deepEqual(portElements('p1', undefined), []);
});

test('every set and counter is there that a rule names, and every rule has a comment of its own', () => {
  const text = makeTable(PORT_TABLE, []);
  const named = (pattern: RegExp) => new Set(Array.from(text.matchAll(pattern), ([, name]) => name));
  assert.deepEqual(named(/@([a-z]+\d?)(?![,\w])/g), new Set(PORT_TABLE.sets.map(({ name }) => name)));
  assert.deepEqual(named(/counter name ([\w-]+)/g), new Set(PORT_TABLE.counters));
  for (const { name, rules } of PORT_TABLE.chains) {
    assert.equal(new Set(rules.map(({ comment }) => comment)).size, rules.length, name);
  }
});

test('a name that no device has is refused, so that it is no part of a transaction', () => {
  for (const name of ['', 'p" . x', 'p0123456789abcdef', 'p*', 'p\n']) {
    assert.throws(() => portElements(name, { mac: MAC, addresses: [] }), TypeError, name);
  }
});

for (const [mac, address] of [
  ['02:42:0a:05:00:02', 'fe80::42:aff:fe05:2'],
  ['00:00:00:00:00:00', 'fe80::200:ff:fe00:0'],
  ['ff:ff:ff:ff:ff:ff', 'fe80::fdff:ffff:feff:ffff'],
] as const) {
  test(`the link-local address of ${mac} is ${address}`, () => {
    assert.equal(formatIp(linkLocalOf(mac as Mac)), address);
  });
}
