import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPrefix } from '#src/lib/ip.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { parseTrustedKeys } from '#src/network/trusted-keys.ts';

const [A, B, C] = ['A', 'B', 'C'].map((letter) => `${letter.repeat(42)}A`) as [string, string, string];
const TRUSTED = parseTrustedKeys(
  [
    '# hosts',
    `${A} 10.5.1.0/24 # web1`,
    `${A}\tfd00:0:0:1::/64`,
    '',
    `${B} any`,
    `  ${C} 10.5.16.0/20`,
    `${A} 10.5.17.0/24`,
  ].join('\n'),
  '/etc/weft/trusted-keys',
);
const allows = (key: string, name: string): boolean =>
  TRUSTED.allows(key, parseSubnetName(name) ?? assert.fail(name));

test('a key may hold the subnets that its lines name, and their parts', () => {
  assert.ok(allows(A, '10.5.1.0-24'));
  assert.ok(allows(A, '10.5.1.0-25'));
  assert.ok(allows(A, '10.5.1.0-24&fd00:0:0:1::-64'));
  assert.ok(allows(C, '10.5.18.0-24'));
  assert.ok(allows(A, '10.5.17.0-24'));
  assert.ok(allows(C, '10.5.17.0-24'));
});

test('a key may not hold another subnet, nor a wider one', () => {
  for (const name of ['10.5.2.0-24', '10.5.0.0-23', '10.5.1.0-24&fd00:0:0:2::-64', '10.5.18.0-24'])
    assert.ok(!allows(A, name), name);
  assert.ok(!allows(C, '10.5.0.0-19'));
});

test('the word any is for the subnets that no line names', () => {
  assert.ok(allows(B, '10.5.9.0-24'));
  assert.ok(allows(B, '10.5.9.0-24&fd00:0:0:9::-64'));
  for (const name of [
    '10.5.1.0-24',
    '10.5.1.0-25',
    '10.5.0.0-16',
    '10.5.20.0-24',
    '10.5.9.0-24&fd00:0:0:1::-64',
  ])
    assert.ok(!allows(B, name), name);
});

test('a key that has no line may hold nothing', () => {
  assert.ok(!allows(`${'D'.repeat(42)}A`, '10.5.9.0-24'));
});

test('the subnets of a key are known', () => {
  const subnets = (key: string): string[] => TRUSTED.namedFor(key).map(formatPrefix);
  assert.deepEqual(subnets(A), ['10.5.1.0/24', '10.5.17.0/24', 'fd00:0:0:1::/64']);
  assert.deepEqual(subnets(B), []);
});

test('it is known which subnets lines name', () => {
  const names = (name: string): boolean => TRUSTED.names(parseSubnetName(name) ?? assert.fail(name));
  for (const name of ['10.5.1.0-24', '10.5.1.0-30', '10.5.0.0-16', '10.5.9.0-24&fd00:0:0:1::-64'])
    assert.ok(names(name), name);
  assert.ok(!names('10.5.9.0-24'));
});

for (const [line, why] of [
  [A, /a key and a subnet/],
  [`${A} 10.5.1.0/24 10.5.2.0/24`, /a key and a subnet/],
  ['key any', /"key" is not a key/],
  [`${A.slice(1)} any`, /is not a key/],
  // Bits that no byte has: another spelling of a key.
  [`${'A'.repeat(42)}B any`, /is not a key/],
  [`${A} 10.5.1.7/24`, /"10.5.1.7\/24" is not a subnet/],
  [`${A} 10.5.1.0`, /is not a subnet/],
  [`${A} all`, /"all" is not a subnet/],
] as const) {
  test(`the line ${JSON.stringify(line)} is refused with its number`, () => {
    assert.throws(() => parseTrustedKeys(`# one\n\n${line}\n`, '/etc/keys'), {
      code: 'trust-file',
      message: new RegExp(`line 3 of /etc/keys: .*${why.source}`),
    });
  });
}
