import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ipv4, ipv6, isGlobalUnicast, parseIp } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import { addressName, formatAddress, parseAddress, parseAddressName } from '#src/tenant/address-codec.ts';
import type { AddressRecord } from '#src/tenant/tenant.ts';

const sure = <T>(value: T | undefined): T => value ?? assert.fail();
const ENDPOINT = 'ab'.repeat(32);
const CONTAINER = '01'.repeat(32);

const RESERVED: AddressRecord = {
  ip: sure(parseIp('10.5.0.7')),
  state: 'reserved',
  host: '1b671a64-40d5-491e-99b0-da01ff1f3341',
  vtep: sure(parseIp('192.168.0.1')),
  names: [],
  keep: false,
  since: 1_764_201_600_000,
};
const PUBLISHED: AddressRecord = {
  ...RESERVED,
  ip: sure(parseIp('fd00:5::7')),
  state: 'published',
  mac: sure(parseMac('02:42:0a:05:00:07')),
  endpoint: ENDPOINT,
  container: CONTAINER,
  names: ['web', 'www', 'bücher'],
  to: 'a5a1a0d8-1111-4222-8333-0123456789ab',
  keep: true,
};

test('the text of an address', () => {
  assert.equal(
    formatAddress(RESERVED),
    '{"state":"reserved","host":"1b671a64-40d5-491e-99b0-da01ff1f3341","vtep":"192.168.0.1","since":1764201600000}',
  );
  assert.equal(
    formatAddress(PUBLISHED),
    '{"state":"published","host":"1b671a64-40d5-491e-99b0-da01ff1f3341","vtep":"192.168.0.1","mac":"02:42:0a:05:00:07",' +
      `"endpoint":"${ENDPOINT}","container":"${CONTAINER}","names":["web","www","bücher"],"to":"a5a1a0d8-1111-4222-8333-0123456789ab","keep":true,"since":1764201600000}`,
  );
});

test('what was written is read', () => {
  for (const record of [RESERVED, PUBLISHED])
    assert.deepEqual(parseAddress(addressName(record.ip), formatAddress(record)), {
      ok: true,
      value: record,
    });
});

test('an address has one name, which no other has', () => {
  for (const name of ['10.5.0.7', 'fd00:5::7', '2001:db8::1:0:0:1'])
    assert.equal(addressName(sure(parseAddressName(name))), name);
  for (const name of [
    '',
    '10.5.0.07',
    '010.5.0.7',
    'FD00:5::7',
    'fd00:5:0::7',
    'fd00:5::7/64',
    '::ffff:10.5.0.7',
    '127.0.0.1',
    '224.0.0.1',
    '0.0.0.0',
    'junk',
    'a/b',
  ])
    assert.equal(parseAddress(name, formatAddress(RESERVED)).ok, false, name);
  const ip = fc.oneof(fc.nat(0xffffffff).map(ipv4), fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map(ipv6));
  fc.assert(
    fc.property(ip.filter(isGlobalUnicast), (any) => {
      assert.equal(parseAddressName(addressName(any)), any);
      assert.match(addressName(any), /^[0-9a-f.:]+$/);
    }),
  );
});

const value = (change: object): string =>
  JSON.stringify({ ...JSON.parse(formatAddress(RESERVED)), ...change });

const REFUSED: readonly (readonly [text: string, reason: string])[] = [
  ['junk', 'its value is not JSON'],
  ['7', 'its value is not a JSON object'],
  [value({ state: 'lost' }), 'its state must be one of reserved, published, released, kept, it is "lost"'],
  [value({ state: null }), 'its state must be one of reserved, published, released, kept, it is null'],
  [value({ host: undefined }), 'it has no host'],
  [value({ host: '../x' }), 'its host must be the identity of a host, it is "../x"'],
  [value({ vtep: '224.0.0.1' }), 'its vtep must be an address that a host can have, it is "224.0.0.1"'],
  [value({ vtep: 5 }), 'its vtep must be an address that a host can have, it is 5'],
  [value({ mac: '01:00:5e:00:00:01' }), 'its mac must be a unicast MAC, it is "01:00:5e:00:00:01"'],
  [value({ endpoint: 'abc' }), 'its endpoint must be 64 hex digits, it is "abc"'],
  [value({ names: 'web' }), 'its names must be a list of names, it is "web"'],
  [value({ keep: 1 }), 'its keep must be true or false, it is 1'],
  [value({ since: -1 }), 'its since must be milliseconds since 1970, it is -1'],
  [value({ since: 1e300 }), 'its since must be milliseconds since 1970, it is 1e+300'],
  [value({ names: ['x'.repeat(40_000)] }), 'its value has 40122 characters'],
];
for (const [text, reason] of REFUSED) {
  test(`refused: ${text.slice(0, 90)}`, () => {
    assert.deepEqual(parseAddress('10.5.0.7', text), { ok: false, reason });
  });
}

test('names that nobody can ask for are left out, and the address is used all the same', () => {
  const strange = ['web', '', 'two words', 'line\nbreak', '\u001b[31m', 5, null, 'x'.repeat(254), 'www'];
  const parsed = parseAddress('10.5.0.7', value({ names: strange }));
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value.names, ['web', 'www']);
  const many = parseAddress('10.5.0.7', value({ names: Array.from({ length: 100 }, (_, n) => `n${n}`) }));
  assert.ok(many.ok && many.value.names.length === 64);
  assert.equal(formatAddress({ ...RESERVED, names: ['a b'] }), formatAddress(RESERVED));
});

test('fields of a later version are ignored, and stay where the former value is given', () => {
  const later = value({ policy: 'strict' });
  assert.deepEqual(parseAddress('10.5.0.7', later), { ok: true, value: RESERVED });
  assert.equal(formatAddress(RESERVED, later), later);
  assert.equal(formatAddress(RESERVED), formatAddress(RESERVED, 'junk'));
});

test('no value throws, and each reason is one line', () => {
  const field = fc.constantFrom(
    'state',
    'host',
    'vtep',
    'mac',
    'endpoint',
    'container',
    'names',
    'keep',
    'since',
  );
  const text = fc.oneof(fc.json(), fc.dictionary(field, fc.jsonValue()).map(value));
  fc.assert(
    fc.property(text, (any) => {
      const parsed = parseAddress('10.5.0.7', any);
      if (!parsed.ok) assert.match(parsed.reason, /^\S[^\n]{3,300}$/);
      else assert.deepEqual(parseAddress('10.5.0.7', formatAddress(parsed.value)), parsed);
    }),
    { numRuns: 500 },
  );
});
