import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isUnicastMac, macFromBytes, macToBytes, parseMac } from '#src/lib/mac.ts';

test('six colon separated octets are read in either case and kept in lower case', () => {
  assert.equal(parseMac('82:4B:b6:2F:54:4e'), '82:4b:b6:2f:54:4e');
});

test('anything else is refused', () => {
  const wrong = [
    '',
    '82:4b:b6:2f:54',
    '82:4b:b6:2f:54:4e:00',
    '82-4b-b6-2f-54-4e',
    '824b.b62f.544e',
    '8:4b:b6:2f:54:4e',
    '82:4b:b6:2f:54:4g',
    '82:4b:b6:2f:54:4e\n',
    ' 82:4b:b6:2f:54:4e',
  ];
  assert.deepEqual(
    wrong.filter((text) => parseMac(text) !== undefined),
    [],
  );
});

test('octets survive a round trip through text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (octets) => {
      const mac = macFromBytes(octets);
      assert.equal(parseMac(mac), mac);
      assert.deepEqual(macToBytes(mac), octets);
    }),
  );
  assert.throws(() => macFromBytes(new Uint8Array(5)), RangeError);
});

test('group addresses and zero are no VTEP', () => {
  const unicast = (text: string) => {
    const mac = parseMac(text);
    return mac !== undefined && isUnicastMac(mac);
  };
  assert.deepEqual(
    ['00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '33:33:00:00:00:01'].map(unicast),
    [false, false, false, false],
  );
  assert.deepEqual(['82:4b:b6:2f:54:4e', '00:00:00:00:00:01'].map(unicast), [true, true]);
});
