import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addEnvironment, formatUsage, optionsOf, parseFlags, unknownVariables } from '#src/lib/go-flags.ts';

const TABLE = {
  text: { kind: 'string', default: '/run/x', description: 'a `path` to write' },
  count: { kind: 'int', default: 7, description: 'how many' },
  'is-on': { kind: 'bool', default: true, description: 'whether' },
  b: { kind: 'bool', default: false, description: 'short' },
  wait: { kind: 'duration', default: 90_000, description: 'how long' },
  iface: { kind: 'repeatable', default: [], description: 'again and again' },
  ends: { kind: 'list', default: ['a', 'b'], description: 'several' },
  api: { kind: 'choice', default: 'auto', choices: ['auto', 'v2'], description: 'which' },
  log_at: {
    kind: 'string',
    default: '',
    description: 'where',
    check: (text) => (text.includes(':') ? undefined : 'syntax error: expect file.go:234'),
  },
  version: { kind: 'bool', default: false, environment: false, description: 'which one' },
} as const satisfies Parameters<typeof parseFlags>[0];

/** What a command line gives: the values that differ from nothing, the words left over, or the error. */
function outcome(...words: string[]): unknown {
  const parsed = parseFlags(TABLE, words);
  if (parsed.outcome === 'invalid') return parsed.message;
  if (parsed.outcome === 'help') return 'help';
  return { ...Object.fromEntries(parsed.given), ...(parsed.rest.length > 0 ? { rest: parsed.rest } : {}) };
}

// The rows on Go's own kinds of flag were also given to Go 1.26's flag package, with the same result.
const RULES: readonly (readonly [rule: string, words: readonly string[], result: unknown])[] = [
  ['one dash and two are the same', ['-text', 'a', '--count=2'], { text: 'a', count: 2 }],
  ['a value follows = or is the next word', ['--text=a=b', '-count', '3'], { text: 'a=b', count: 3 }],
  ['the next word is a value even if it looks like a flag', ['-text', '-b'], { text: '-b' }],
  ['an empty value is a value', ['-text='], { text: '' }],
  ['a boolean needs no value', ['-b'], { b: true }],
  ['a boolean takes a value after = only', ['-is-on=F', '-b=1'], { 'is-on': false, b: true }],
  [
    'a boolean never eats the next word',
    ['-b', 'false', '-count=1'],
    { b: true, rest: ['false', '-count=1'] },
  ],
  ['-- ends the flags', ['-b', '--', '-count=1'], { b: true, rest: ['-count=1'] }],
  ['a lone dash is no flag', ['-', '-b'], { rest: ['-', '-b'] }],
  ['an empty word is no flag', ['', '-b'], { rest: ['', '-b'] }],
  ['the last of several wins', ['-count=1', '-count=2'], { count: 2 }],
  ['a repeatable flag collects', ['-iface=a,b', '--iface', 'c'], { iface: ['a,b', 'c'] }],
  ['a list is split at commas, blanks kept', ['-ends=x, y'], { ends: ['x', ' y'] }],
  ['an unknown flag', ['--logtostderr=1'], 'flag provided but not defined: -logtostderr'],
  ['a name of Object.prototype', ['-constructor'], 'flag provided but not defined: -constructor'],
  ['three dashes', ['---b'], 'bad flag syntax: ---b'],
  ['no name', ['-=1'], 'bad flag syntax: -=1'],
  ['a missing value', ['-count'], 'flag needs an argument: -count'],
  ['a bad number', ['-count=x'], 'invalid value "x" for flag -count: parse error'],
  ['a number too big', ['-count=1e99'], 'invalid value "1e99" for flag -count: parse error'],
  [
    'a number out of range',
    ['-count', '99999999999999999999'],
    'invalid value "99999999999999999999" for flag -count: value out of range',
  ],
  ['a bad boolean', ['-b=maybe'], 'invalid boolean value "maybe" for -b: parse error'],
  ['a bad duration', ['-wait=5'], 'invalid value "5" for flag -wait: parse error'],
  ['a checked text', ['-log_at=x'], 'invalid value "x" for flag -log_at: syntax error: expect file.go:234'],
  ['no such choice', ['-api=v3'], 'invalid value "v3" for flag -api: must be one of auto, v2'],
  ['-h asks for help', ['-b', '-h', '-x'], 'help'],
  ['so does --help', ['--help'], 'help'],
  ['an error before -h comes first', ['-x', '-h'], 'flag provided but not defined: -x'],
];

for (const [rule, words, result] of RULES) {
  test(`${rule}: ${JSON.stringify(words)}`, () => assert.deepEqual(outcome(...words), result));
}

test('any given values are read back, whatever the notation', () => {
  const notation = fc.record({ dashes: fc.constantFrom('-', '--'), apart: fc.boolean() });
  const flag = fc.oneof(
    fc.tuple(fc.constant('text' as const), fc.string({ unit: 'binary' })),
    fc.tuple(fc.constant('iface' as const), fc.string({ unit: 'binary' })),
    fc.tuple(fc.constant('count' as const), fc.maxSafeInteger()),
    fc.tuple(fc.constant('b' as const), fc.boolean()),
  );
  const rest = fc.array(fc.string()).map((words) => (words.length > 0 ? ['--', ...words] : []));
  fc.assert(
    fc.property(fc.array(fc.tuple(flag, notation)), rest, (flags, tail) => {
      const words: string[] = [];
      const expected: Record<string, unknown> = {};
      for (const [[name, value], { dashes, apart }] of flags) {
        if (apart && name !== 'b') words.push(dashes + name, String(value));
        else words.push(`${dashes}${name}=${value}`);
        const before = expected[name];
        expected[name] = name === 'iface' ? [...(Array.isArray(before) ? before : []), value] : value;
      }
      const parsed = parseFlags(TABLE, [...words, ...tail]);
      assert.equal(parsed.outcome, 'parsed');
      if (parsed.outcome !== 'parsed') return;
      assert.deepEqual(Object.fromEntries(parsed.given), JSON.parse(JSON.stringify(expected)));
      assert.deepEqual(parsed.rest, tail.slice(1));
    }),
  );
});

test('no command line makes the parser throw', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('-b', '--', '-', '-text', '-count', '--wait=1s'),
    fc.string().map((text) => `-${text}`),
  );
  fc.assert(fc.property(fc.array(word), (words) => void parseFlags(TABLE, words)));
});

test('the environment fills in what the command line left out', () => {
  const given = new Map([['count', 1]]);
  const read = addEnvironment(TABLE, given, 'X_', {
    X_COUNT: '2',
    X_TEXT: 'env',
    X_IFACE: 'a,b',
    X_ENDS: 'a,b',
    X_IS_ON: 'false',
    X_LOG_AT: 'a.go:1',
    X_VERSION: 'true',
    X_B: '',
    X_WAIT: 'soon',
    X_UNKNOWN: '1',
  });
  assert.deepEqual(Object.fromEntries(read.given), {
    count: 1,
    text: 'env',
    iface: ['a,b'],
    ends: ['a', 'b'],
    'is-on': false,
    log_at: 'a.go:1',
  });
  assert.deepEqual(read.problems, ['X_WAIT: invalid value "soon" for flag -wait: parse error']);
});

test('variables of no flag are named, but for the one that holds flags', () => {
  const environment = { X_COUNT: '1', X_CUONT: '2', X_OPTIONS: '-count=3', X_ELSEWHERE: '4', PATH: '/bin' };
  assert.deepEqual(unknownVariables(TABLE, 'X_', environment), [
    'X_CUONT: did you mean X_COUNT?',
    'X_ELSEWHERE: no flag has this name',
  ]);
});

test('options are named in camelCase and default where nothing was given', () => {
  const options = optionsOf(TABLE, new Map([['is-on', false]]));
  const typed: { isOn: boolean; api: 'auto' | 'v2'; wait: number; iface: readonly string[] } = options;
  assert.equal(typed.isOn, false);
  assert.equal(options.logAt, '');
  assert.equal(options.wait, 90_000);
  assert.deepEqual(options.ends, ['a', 'b']);
});

test('the usage is laid out as Go prints it', () => {
  assert.equal(
    formatUsage(TABLE),
    `  -api auto|v2
    \twhich (default "auto")
  -b\tshort
  -count int
    \thow many (default 7)
  -ends string
    \tseveral (default "a,b")
  -iface string
    \tagain and again
  -is-on
    \twhether (default true)
  -log_at string
    \twhere
  -text path
    \ta path to write (default "/run/x")
  -version
    \twhich one
  -wait duration
    \thow long (default 1m30s)
`,
  );
});
