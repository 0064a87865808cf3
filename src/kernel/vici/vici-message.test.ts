import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeViciMessage,
  encodeViciMessage,
  listIn,
  sectionsIn,
  textIn,
  type ViciSection,
  type ViciValue,
} from '#src/kernel/vici/vici-message.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const decoded = (text: string) => decodeViciMessage(Buffer.from(text, 'hex'));

/** The example of strongSwan's README of the protocol ("Message encoding"), byte by byte. */
const EXAMPLE = {
  key1: 'value1',
  section1: { 'sub-section': { key2: 'value2' }, list1: ['item1', 'item2'] },
};
const EXAMPLE_BYTES = [
  '03 04 6b657931 0006 76616c756531',
  '01 08 73656374696f6e31',
  '01 0b 7375622d73656374696f6e',
  '03 04 6b657932 0006 76616c756532',
  '02',
  '04 05 6c69737431',
  '05 0005 6974656d31',
  '05 0005 6974656d32',
  '06',
  '02',
]
  .join('')
  .replaceAll(' ', '');

test('a message is what the protocol’s own example says', () => {
  assert.equal(hex(encodeViciMessage(EXAMPLE)), EXAMPLE_BYTES);
  assert.deepEqual(decoded(EXAMPLE_BYTES), EXAMPLE);
});

for (const [what, bytes, message] of [
  ['nothing', '', {}],
  ['an empty value', '03 01 61 0000', { a: '' }],
  ['an empty list', '04 01 61 06', { a: [] }],
  ['an empty section', '01 01 61 02', { a: {} }],
  ['a name twice: the later one', '03 01 61 0001 31 03 01 61 0001 32', { a: '2' }],
  ['a name of JavaScript', '03 09 5f5f70726f746f5f5f 0001 31', JSON.parse('{"__proto__":"1"}')],
] as const)
  test(`reads ${what}`, () => assert.deepEqual(decoded(bytes.replaceAll(' ', '')), message));

for (const [what, bytes] of [
  ['a type that there is not', '07 01 61'],
  ['an end without a beginning', '02'],
  ['a section without an end', '01 01 61'],
  ['a list without an end', '04 01 61 05 0001 31'],
  ['an item outside of a list', '05 0001 31'],
  ['a value in a list', '04 01 61 03 01 61 0000 06'],
  ['a value that is cut off', '03 01 61 0002 31'],
  ['a length that is cut off', '03 01 61 00'],
  ['a name that is cut off', '03 05 61'],
  ['sections without an end in sight', '01 01 61 '.repeat(1000)],
] as const)
  test(`refuses ${what}`, () => assert.equal(decoded(bytes.replaceAll(' ', '')), undefined));

const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const { section } = fc.letrec<{ section: ViciSection; value: ViciValue }>((tie) => ({
  section: fc.dictionary(text, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  value: fc.oneof({ maxDepth: 5 }, text, fc.array(text, { maxLength: 4 }), tie('section')),
}));

test('any message is read as it was written', () => {
  fc.assert(
    fc.property(section, (message) =>
      assert.deepEqual(decodeViciMessage(encodeViciMessage(message)), message),
    ),
  );
});

test('bytes of any kind are read without harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const message = decodeViciMessage(bytes);
      if (message !== undefined) assert.deepEqual(decodeViciMessage(encodeViciMessage(message)), message);
    }),
  );
});

test('a message that is cut or changed at one place is refused or another message, and never an exception', () => {
  const bytes = Buffer.from(EXAMPLE_BYTES, 'hex');
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
      const changed = Buffer.from(bytes);
      changed[at] = byte;
      decodeViciMessage(changed);
      assert.notDeepEqual(decodeViciMessage(bytes.subarray(0, at)), EXAMPLE);
    }),
  );
});

test('what does not fit is refused without its value', () => {
  const secret = 's'.repeat(70_000);
  for (const message of [{ data: secret }, { data: [secret] }, { [`${'n'.repeat(256)}`]: '' }])
    assert.throws(
      () => encodeViciMessage(message),
      (error: Error) =>
        error.name === 'WeftError' && /VICI takes/.test(error.message) && !/sss/.test(error.message),
    );
});

test('parts of a message are asked for by name', () => {
  const message = { a: '1', b: ['2'], c: { d: '3' } };
  assert.deepEqual(
    [textIn(message, 'a'), textIn(message, 'b'), textIn(message, 'x')],
    ['1', undefined, undefined],
  );
  assert.deepEqual([listIn(message, 'b'), listIn(message, 'a'), listIn(message, 'c')], [['2'], [], []]);
  assert.deepEqual(sectionsIn(message), [['c', { d: '3' }]]);
});
