import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatPrefix, ipv4, ipv6, masked, prefix4, prefix6 } from '#src/lib/ip.ts';
import { formatSubnetName, parseSubnetName } from '#src/network/subnet-name.ts';

test('flannel’s own names are read', () => {
  const read = (name: string) => {
    const subnets = parseSubnetName(name);
    return [subnets?.v4, subnets?.v6].map((prefix) => prefix && formatPrefix(prefix));
  };
  assert.deepEqual(read('10.5.52.0-24'), ['10.5.52.0/24', undefined]);
  assert.deepEqual(read('10.5.52.0-24&fd00:10:5:7::-64'), ['10.5.52.0/24', 'fd00:10:5:7::/64']);
  assert.deepEqual(read('fd00:10:5:7::-64'), [undefined, 'fd00:10:5:7::/64']);
});

test('a name is read as a whole or not at all', () => {
  const wrong = [
    '',
    'junk',
    '10.5.52.0',
    '10.5.52.0/24',
    '10.5.52.0-24 ',
    'x10.5.52.0-24',
    '10.5.52.0-24&',
    '10.5.52.0-24/extra',
    '10.5.52.0-33',
    '10.5.52.0-024',
    '10.5.052.0-24',
    '10x5.52.0-24',
    '10.5.52.1-24',
    'fd00:10:5:7::1-64',
    'fd00:10:5:7::-64&10.5.52.0-24',
    '10.5.52.0-24&fd00:10:5:7::1-64',
    '10.5.52.0-24&fd00:10:5:7::-129',
    '10.5.52.0-24&10.5.53.0-24',
    '10.5.52.0-24&fd00:10:5:7::-64&fd00:10:5:8::-64',
  ];
  assert.deepEqual(
    wrong.filter((name) => parseSubnetName(name) !== undefined),
    [],
  );
});

test('names survive a round trip, and any text is read or refused', () => {
  const v4 = fc
    .tuple(fc.nat(0xffffffff), fc.integer({ min: 0, max: 32 }))
    .map(([address, length]) => masked(prefix4(ipv4(address), length)));
  const v6 = fc
    .tuple(fc.bigInt(0n, (1n << 128n) - 1n), fc.integer({ min: 0, max: 128 }))
    .map(([address, length]) => masked(prefix6(ipv6(address), length)));
  const subnets = fc
    .record({ v4, v6 }, { requiredKeys: [] })
    .filter(({ v4, v6 }) => v4 !== undefined || v6 !== undefined);
  fc.assert(
    fc.property(subnets, (both) => assert.deepEqual(parseSubnetName(formatSubnetName(both)), { ...both })),
  );
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'0123456789.-&:af') }),
      (name) => void parseSubnetName(name),
    ),
  );
});
