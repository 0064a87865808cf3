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

test('a duration is what time.ParseDuration reads, in milliseconds', () => {
  const read: [string, number][] = [
    ['0', 0],
    ['1h30m', 5_400_000],
    ['1.5s', 1_500],
    ['.5s', 500],
    ['-2m', -120_000],
    ['3us', 0.003],
    ['3µs', 0.003],
    ['250ms', 250],
  ];
  for (const [text, value] of read) assert.deepEqual(parseGoDuration(text), { value }, text);
  for (const text of ['', '5', 's', '.s', '1d', '1h1', '1 h', '99999999h', '1h-1m']) {
    assert.deepEqual(parseGoDuration(text), PARSE, text);
  }
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
