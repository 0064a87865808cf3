import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatKnownKeys, type KnownKey, KnownKeys, parseKnownKeys } from '#src/network/known-keys.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

const known = (key: string, name: string, count = 1): KnownKey => ({ key, name, count, digest: `d${count}` });
const subnets = (name: string) => parseSubnetName(name) ?? assert.fail();

test('a key holds its last subnet alone', () => {
  const keys = new KnownKeys();
  keys.hold(known('a', '10.5.1.0-24'));
  keys.hold(known('a', '10.5.2.0-24', 2));
  assert.equal(keys.size, 1);
  assert.equal(keys.holderBeside(undefined, subnets('10.5.1.0-24')), undefined);
  assert.equal(keys.holderBeside(undefined, subnets('10.5.2.0-24'))?.key, 'a');
  assert.equal(keys.holderBeside('a', subnets('10.5.2.0-24')), undefined);
});

test('a part of a subnet, and several subnets together, are held by its holder', () => {
  const keys = new KnownKeys();
  keys.hold(known('a', '10.5.1.0-24'));
  keys.hold(known('b', '10.5.2.0-24&fd00:0:0:2::-64'));
  for (const name of ['10.5.1.128-25', '10.5.1.7-32', '10.5.0.0-16'])
    assert.equal(keys.holderBeside(undefined, subnets(name))?.key, 'a', name);
  assert.equal(keys.holderBeside('a', subnets('10.5.0.0-16'))?.key, 'b');
  assert.equal(keys.holderBeside('a', subnets('10.5.9.0-24&fd00:0:0:2:1::-80'))?.key, 'b');
  assert.equal(keys.holderBeside('b', subnets('10.5.2.0-24&fd00:0:0:2::-64')), undefined);
  assert.deepEqual(
    Array.from(keys.holdersBeside('c', subnets('10.5.0.0-16&fd00::-16')), ({ key }) => key),
    ['a', 'b', 'b'],
  );
  assert.throws(() => keys.hold(known('c', '10.5.1.0-25')), RangeError);
  assert.throws(() => keys.hold(known('c', 'no subnet')), RangeError);
  keys.forget('a');
  keys.hold(known('c', '10.5.1.0-25'));
});

test('a key without a lease is due after its time, and not before', () => {
  const keys = new KnownKeys();
  keys.hold(known('a', '10.5.1.0-24'));
  keys.hold(known('b', '10.5.2.0-24'));
  keys.seen('a', 1_000);
  assert.deepEqual(keys.due(1_999, 1_000), []);
  assert.deepEqual(
    keys.due(2_000, 1_000).map(({ key }) => key),
    ['a'],
  );
  keys.seen('a');
  assert.deepEqual(keys.due(9_999, 1_000), []);
});

for (const count of [0, 1, 499, 500, 501, 1_234]) {
  test(`${count} keys are read as they were written`, () => {
    const keys = new KnownKeys();
    for (let n = 0; n < count; n++) {
      keys.hold(known(`key ${n}`, `10.${n >> 8}.${n & 255}.0-24`, n));
      if (n % 3 === 0) keys.seen(`key ${n}`, n);
    }
    const text = [...formatKnownKeys('/n', keys)].join('');
    assert.deepEqual([...parseKnownKeys(text, '/n').all()], [...keys.all()]);
  });
}

const GOOD = JSON.stringify({ format: 1, network: '/n', keys: [known('a', '10.5.1.0-24')] });
for (const [what, text] of [
  ['is empty', ''],
  ['is cut off', GOOD.slice(0, -5)],
  ['is null', 'null'],
  ['has another format', GOOD.replace('1', '2')],
  ['is of another network', GOOD.replace('/n', '/m')],
  ['has a key without a count', GOOD.replace('"count":1,', '')],
  ['has a key that is none', '{"format":1,"network":"/n","keys":[null]}'],
  ['has two keys for one subnet', GOOD.replace(/\[(.*)\]/, (_, it) => `[${it},${it.replace('"a"', '"b"')}]`)],
  ['has a key for what is no subnet', GOOD.replace('10.5.1.0-24', '10.5.1.7-24')],
] as const) {
  test(`a file that ${what} is not read`, () => {
    assert.throws(() => parseKnownKeys(text, '/n'));
  });
}

test('the good one of these files is read', () => {
  assert.equal(parseKnownKeys(GOOD, '/n').size, 1);
});
