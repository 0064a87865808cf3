import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  escapeControls,
  formatGoDuration,
  goQuote,
  parseGoBool,
  parseGoDuration,
  parseGoInt,
} from '#src/lib/go-values.ts';

const PARSE = { problem: 'parse error' };
const RANGE = { problem: 'value out of range' };

test('an integer is what strconv.ParseInt with base 0 reads', () => {
  const read: [string, number][] = [
    ['0', 0],
    ['60', 60],
    ['-5', -5],
    ['+5', 5],
    ['0x1F', 31],
    ['0X_f', 15],
    ['0b101', 5],
    ['0o17', 15],
    ['017', 15],
    ['0_7', 7],
    ['1_000', 1000],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, value] of read) assert.deepEqual(parseGoInt(text), { value }, text);
  for (const text of ['', 'x', '08', '1__0', '_1', '1_', '0x', '1.0', ' 1', '1e3', '--1']) {
    assert.deepEqual(parseGoInt(text), PARSE, text);
  }
  assert.deepEqual(parseGoInt('99999999999999999999'), RANGE);
});

test('every safe integer is read back in each of its notations', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const sign = value < 0 ? '-' : '';
      const size = Math.abs(value);
      for (const text of [
        `${size}`,
        `0x${size.toString(16)}`,
        `0o${size.toString(8)}`,
        `0${size.toString(8)}`,
        `0b${size.toString(2)}`,
      ]) {
        assert.deepEqual(parseGoInt(sign + text), { value: value === 0 ? 0 : value }, sign + text);
      }
    }),
  );
});

test('a boolean is one of the twelve words of strconv.ParseBool', () => {
  for (const text of ['1', 't', 'T', 'TRUE', 'true', 'True']) {
    assert.deepEqual(parseGoBool(text), { value: true }, text);
  }
  for (const text of ['0', 'f', 'F', 'FALSE', 'false', 'False']) {
    assert.deepEqual(parseGoBool(text), { value: false }, text);
  }
  for (const text of ['', 'tRUE', 'yes', 'no', 'on', '2', ' true']) {
    assert.deepEqual(parseGoBool(text), PARSE, text);
  }
});

/** Texts, and what Go 1.26's time.ParseDuration makes of them in nanoseconds. The second column was printed by Go. */
const DURATIONS: readonly [text: string, nanoseconds: string][] = [
  ['0', '0'],
  ['+0', '0'],
  ['-0', '0'],
  ['5s', '5000000000'],
  ['30s', '30000000000'],
  ['1478s', '1478000000000'],
  ['-5s', '-5000000000'],
  ['+5s', '5000000000'],
  ['5.0s', '5000000000'],
  ['5.6s', '5600000000'],
  ['5.s', '5000000000'],
  ['.5s', '500000000'],
  ['1.0s', '1000000000'],
  ['1.00s', '1000000000'],
  ['1.004s', '1004000000'],
  ['1.0040s', '1004000000'],
  ['100.00100s', '100001000000'],
  ['10ns', '10'],
  ['11us', '11000'],
  ['12µs', '12000'],
  ['12μs', '12000'],
  ['13ms', '13000000'],
  ['14s', '14000000000'],
  ['15m', '900000000000'],
  ['16h', '57600000000000'],
  ['1.1h', '3960000000000'],
  ['1.9h', '6840000000000'],
  ['0.3333333333333333333h', '1200000000000'],
  ['3h30m', '12600000000000'],
  ['10.5s4m', '250500000000'],
  ['-2m3.4s', '-123400000000'],
  ['1h2m3s4ms5us6ns', '3723004005006'],
  ['39h9m14.425s', '140954425000000'],
  ['52763797000ns', '52763797000'],
  ['1h1h', '7200000000000'],
  ['0.1ms', '100000'],
  ['0.0001us', '0'],
  ['1.5ns', '1'],
  ['9007199254.740993ms', '9007199254740993'],
  ['9223372036854775807ns', '9223372036854775807'],
  ['9223372036854775.807us', '9223372036854775807'],
  ['9223372036s854ms775us807ns', '9223372036854775807'],
  ['-9223372036854775808ns', '-9223372036854775808'],
  ['-9223372036854775.808us', '-9223372036854775808'],
  ['9223372036854775808ns', 'error'],
  ['2562047h47m16.854775807s', '9223372036854775807'],
  ['2562047h47m16.854775808s', 'error'],
  ['-2562047h47m16.854775808s', '-9223372036854775808'],
  ['-2562047h47m16.854775809s', 'error'],
  ['0.9223372036854775807h', '3320413933267'],
  ['0.100000000000000000000h', '360000000000'],
  ['0.830103483285477580700h', '2988372539827'],
  ['0.00000000000000000000000000001s', '0'],
  ['99999999999999999999s', 'error'],
  ['9223372037s', 'error'],
  ['3000000h', 'error'],
  ['99999999h', 'error'],
  ['000000000000000000000000000001s', '1000000000'],
  ['1.', 'error'],
  ['', 'error'],
  ['3', 'error'],
  ['-', 'error'],
  ['s', 'error'],
  ['.', 'error'],
  ['-.', 'error'],
  ['.s', 'error'],
  ['+.s', 'error'],
  ['1d', 'error'],
  ['1h1', 'error'],
  ['1 h', 'error'],
  ['1h ', 'error'],
  [' 1h', 'error'],
  ['1h-1m', 'error'],
  ['1e3s', 'error'],
  ['0x1s', 'error'],
  ['1_0s', 'error'],
  ['1S', 'error'],
  ['1H', 'error'],
  ['١s', 'error'],
  ['1.2.3s', 'error'],
  ['1..2s', 'error'],
  ['--1s', 'error'],
  ['+-1s', 'error'],
  ['00', 'error'],
  ['0.0', 'error'],
  ['1h.5', 'error'],
  ['\u00001s', 'error'],
];

for (const [text, nanoseconds] of DURATIONS) {
  test(`the duration "${text}" is ${nanoseconds} ns`, () => {
    const expected = nanoseconds === 'error' ? PARSE : { value: Number(nanoseconds) / 1e6 };
    assert.deepEqual(parseGoDuration(text), expected);
  });
}

test('durations of whole milliseconds are whole numbers', () => {
  for (let ms = 0; ms < 100_000; ms += 7)
    assert.deepEqual(parseGoDuration(`${(ms / 1000).toFixed(3)}s`), { value: ms });
});

test('a duration of very many digits is refused as fast as it is read', () => {
  // With one step for each pair of digits this would take hours.
  for (const text of ['1'.repeat(1e6), `${'1'.repeat(1e6)}s`, `${'1.'.repeat(5e5)}s`])
    assert.deepEqual(parseGoDuration(text), PARSE);
  assert.deepEqual(parseGoDuration(`${'0'.repeat(1e6)}1.${'0'.repeat(1e6)}s`), { value: 1_000 });
});

test('a duration of whole seconds is written so that it reads back', () => {
  assert.equal(formatGoDuration(86_400_000), '24h0m0s');
  assert.equal(formatGoDuration(90_000), '1m30s');
  assert.equal(formatGoDuration(0), '0s');
  fc.assert(
    fc.property(fc.nat({ max: 1e7 }), (seconds) => {
      assert.deepEqual(parseGoDuration(formatGoDuration(seconds * 1_000)), { value: seconds * 1_000 });
    }),
  );
});

test('quoting follows %q', () => {
  assert.equal(goQuote('a "b" \\ c'), '"a \\"b\\" \\\\ c"');
  assert.equal(
    goQuote('é\t\n\u0007\u001b\u00a0\u2028\u{e0001}'),
    '"é\\t\\n\\a\\x1b\\u00a0\\u2028\\U000e0001"',
  );
});

test('an escaped text is one line without control characters, whatever went in', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.match(escapeControls(text), /^[^\p{Cc}\p{Zl}\p{Zp}]*$/u);
    }),
  );
});
