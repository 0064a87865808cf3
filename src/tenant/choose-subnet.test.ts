import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatPrefix,
  ipv4,
  masked,
  overlaps,
  type Prefix,
  type Prefix4,
  parsePrefix,
  parsePrefix4,
  prefix4,
} from '#src/lib/ip.ts';
import { chooseSubnet, chooseSubnet6 } from '#src/tenant/choose-subnet.ts';

const all = (...texts: readonly string[]): Prefix[] =>
  texts.map((text) => parsePrefix(text) ?? assert.fail(text));
const choose = (avoid: readonly Prefix[], range?: string, length?: number): string | undefined => {
  const wishes = { ...(range && { range: parsePrefix4(range) ?? assert.fail() }), ...(length && { length }) };
  const chosen = chooseSubnet(avoid, wishes);
  return chosen && formatPrefix(chosen);
};

test('the first /24 of 10.128.0.0/9 that is free', () => {
  assert.equal(choose([]), '10.128.0.0/24');
  assert.equal(choose(all('10.128.0.0/24', '10.128.2.0/24', 'fd00::/8', '192.168.0.0/16')), '10.128.1.0/24');
  assert.equal(choose(all('10.128.0.128/25', '10.128.1.7/32', '10.128.0.0/30')), '10.128.2.0/24');
  assert.equal(choose(all('10.128.0.0/10')), '10.192.0.0/24');
  assert.equal(choose(all('10.0.0.0/8')), undefined);
  assert.equal(choose(all('0.0.0.0/0')), undefined);
});

test('of another range, of another length', () => {
  assert.equal(choose(all('172.16.0.0/13'), '172.16.0.0/12', 20), '172.24.0.0/20');
  assert.equal(choose(all('10.5.0.0/25'), '10.5.0.0/24', 24), undefined);
  assert.equal(choose([], '255.255.255.0/24'), '255.255.255.0/24');
  assert.equal(choose(all('255.255.255.0/25'), '255.255.255.0/24'), undefined);
});

test('it is the one that a naive search finds', () => {
  const range = prefix4(ipv4(0x0a800000), 20);
  const prefix = fc
    .tuple(fc.nat(0x1fff), fc.integer({ min: 19, max: 32 }))
    .map(([offset, length]): Prefix4 => masked(prefix4(ipv4(0x0a7ff800 + offset), length)));
  fc.assert(
    fc.property(
      fc.array(prefix, { maxLength: 12, size: 'max' }),
      fc.integer({ min: 20, max: 28 }),
      (avoid, length) => {
        const step = 2 ** (32 - length);
        const candidates = Array.from({ length: 4_096 / step }, (_, n) =>
          prefix4(ipv4(range.address + n * step), length),
        );
        const first = candidates.find((candidate) => !avoid.some((other) => overlaps(other, candidate)));
        assert.deepEqual(chooseSubnet(avoid, { range, length }), first);
      },
    ),
  );
});

test('IPv6: unique local, the same for a name everywhere, and another where that is taken', () => {
  const blue = chooseSubnet6('blue', []);
  assert.match(formatPrefix(blue), /^fd[0-9a-f]{2}:.*::\/64$/);
  assert.deepEqual(chooseSubnet6('blue', all('fd00::/16', '10.0.0.0/8')), blue);
  assert.notDeepEqual(chooseSubnet6('red', []), blue);
  const other = chooseSubnet6('blue', [blue]);
  assert.ok(!overlaps(other, blue));
});
