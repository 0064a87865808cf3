import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp, parseIpv4, parseIpv6 } from '#src/lib/ip.ts';
import { excerpt, fieldOf, GoObject, isJsonObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';

const read = (text: string): GoObject => GoObject.parse(text) ?? assert.fail(text);

/**
 * Texts, and what Go 1.26 made of them: the second column was printed by a Go program that unmarshals each text into
 * struct { Word string; Number int; Flag bool; Raw json.RawMessage; Address IP4; Pointer *IP6 }, with flannel v0.26.7's
 * types for the last two, and prints what is set. `error`: Unmarshal refuses the text.
 */
const AS_GO_READS: readonly [text: string, read: string][] = [
  ['{}', ''],
  ['{"Word":"a","word":"b","Word":"c"}', 'Word="c"'],
  ['{"word":"a","WORD":"b","Word":"c","wORD":"d"}', 'Word="d"'],
  ['{"Word":"a","WORD":"b"}', 'Word="b"'],
  ['{"WORD":"b","Word":"a"}', 'Word="a"'],
  ['{"Word":"a","Word":null}', 'Word="a"'],
  ['{"Word":null,"Word":"a"}', 'Word="a"'],
  ['{"Word":null}', ''],
  ['{"Word":1,"Word":"a"}', 'error'],
  ['{"Word":"a","word":1}', 'error'],
  ['{"Word":"\\u0061\\\\\\""}', 'Word="a\\\\\\""'],
  ['{"W\\u006frd":"a"}', 'Word="a"'],
  ['{"Word ":"a"}', ''],
  ['{"Word":[]}', 'error'],
  ['{"Wor\\u0434":"a"}', ''],
  ['{"Number":24}', 'Number=24'],
  ['{"Number":24.0}', 'error'],
  ['{"Number":2.4e1}', 'error'],
  ['{"Number":24e0}', 'error'],
  ['{"Number":-0}', ''],
  ['{"Number":-7}', 'Number=-7'],
  ['{"Number":"24"}', 'error'],
  ['{"Number":true}', 'error'],
  ['{"Number":24,"NUMBER":null}', 'Number=24'],
  ['{"Number":24,"number":25,"Number":26}', 'Number=26'],
  ['{"Number":24.0,"Number":24}', 'error'],
  ['{"Flag":true,"flag":false}', ''],
  ['{"Flag":true,"flag":null}', 'Flag=true'],
  ['{"Flag":1}', 'error'],
  ['{"Flag":"true"}', 'error'],
  ['{"Raw":null}', 'Raw=null'],
  ['{"Raw":{"a":1}}', 'Raw={"a":1}'],
  ['{"Raw":{"a":1},"raw":null}', 'Raw=null'],
  ['{"Raw":null,"raw":{"a":1}}', 'Raw={"a":1}'],
  ['{"Raw":[1],"Raw":"x"}', 'Raw="x"'],
  ['{"Addreſſ":"10.0.0.1"}', 'Address=10.0.0.1'],
  ['{"addreſs":"10.0.0.1","Address":"10.0.0.2"}', 'Address=10.0.0.2'],
  ['{"Address":"10.0.0.1"}', 'Address=10.0.0.1'],
  ['{"Address":null}', 'error'],
  ['{"Address":"10.0.0.1","Address":null}', 'error'],
  ['{"Address":"10.0.0.1","ADDRESS":"10.0.0.2","Address":"10.0.0.3"}', 'Address=10.0.0.3'],
  ['{"Address":"junk","Address":"10.0.0.3"}', 'error'],
  ['{"Address":"\\u00310.0.0.1"}', 'error'],
  ['{"Address":5}', 'error'],
  ['{"Address":"10.0.0.01"}', 'error'],
  ['{"Address":""}', 'error'],
  ['{"Pointer":null}', ''],
  ['{"Pointer":"fd00::1"}', 'Pointer=fd00::1'],
  ['{"Pointer":"fd00::1","pointer":null}', ''],
  ['{"Pointer":null,"pointer":"fd00::1"}', 'Pointer=fd00::1'],
  ['{"Pointer":"fd00::1","pointer":"fd00::2","Pointer":"fd00::3"}', 'Pointer=fd00::3'],
  ['{"Pointer":"junk","pointer":null}', 'error'],
  [' \n{ "Word" :\t"a" , "Number" : 24 }\r\n', 'Word="a" Number=24'],
  ['{"Word":"a",}', 'error'],
  ['{"Word":"a"} x', 'error'],
  ['{"Word":\'a\'}', 'error'],
  ['{"Number":024}', 'error'],
  ['{"Number":+24}', 'error'],
  ['{"Word":"a","Unknown":{"Word":"b","x":["}",{"Word":"c"}]}}', 'Word="a"'],
  ['{"Unknown":"\\"\\\\","Word":"a"}', 'Word="a"'],
  ['{"":"x","Word":"a"}', 'Word="a"'],
  ['{"__proto__":{"Word":"b"},"Word":"a"}', 'Word="a"'],
  ['{"Word":"\\ud800"}', 'Word="�"'],
];

function readAsGo(text: string): string {
  const object = read(text);
  const [word, number, flag] = [
    object.string('Word'),
    object.integer('Number', -1e6, 1e6),
    object.boolean('Flag'),
  ];
  const raw = object.raw('Raw');
  const address = object.parsed('Address', parseIpv4, 'no address');
  const pointer = object.parsedOrNull('Pointer', parseIpv6, 'no address');
  return [
    word ? `Word=${JSON.stringify(word)}` : '',
    number ? `Number=${number}` : '',
    flag ? 'Flag=true' : '',
    raw === undefined ? '' : `Raw=${JSON.stringify(raw)}`,
    address ? `Address=${formatIp(address)}` : '',
    pointer ? `Pointer=${formatIp(pointer)}` : '',
  ]
    .filter(Boolean)
    .join(' ');
}

for (const [text, expected] of AS_GO_READS) {
  test(`${text}: ${expected}`, () => {
    if (expected === 'error') assert.throws(() => readAsGo(text));
    else assert.equal(readAsGo(text), expected);
  });
}

/** The same of a field that is read later, of an object that was kept as it is: flannel's VtepMAC in BackendData. */
const READ_LATER: readonly [text: string, read: string][] = [
  ['{"Mac":"02:00:00:00:00:0a","mac":"02:00:00:00:00:0b","Mac":"02:00:00:00:00:0c"}', '02:00:00:00:00:0c'],
  ['{"Mac":"02:00:00:00:00:0a","Mac":null}', 'error'],
  ['{"Mac":"02:00:00:00:00:0a","mac":null}', 'error'],
  ['{"Mac":null,"mac":"02:00:00:00:00:0a"}', 'error'],
];

for (const [text, expected] of READ_LATER) {
  test(`kept, and read later: ${text}: ${expected}`, () => {
    const kept = read(`{"Raw":${text}}`).raw('Raw');
    assert.ok(isJsonObject(kept));
    assert.equal(fieldOf(kept, 'Mac') ?? 'error', expected);
  });
}

test('an object of no members is one, and other values are none', () => {
  assert.equal(GoObject.parse(' {} ')?.raw('x'), undefined);
  for (const text of ['null', '[]', '"{}"', '7']) assert.equal(GoObject.parse(text), undefined);
  assert.throws(() => GoObject.parse(''), SyntaxError);
});

/** encoding/json refuses each of these; the message has to name the field and the value. */
const REFUSED: readonly [json: string, read: (object: GoObject) => unknown, message: string][] = [
  ['{"N":"24"}', (o) => o.integer('N', 0, 32), 'N must be a whole number, it is "24"'],
  ['{"N":24.5}', (o) => o.integer('N', 0, 32), 'N must be a whole number, it is 24.5'],
  ['{"N":24.0}', (o) => o.integer('N', 0, 32), 'N must be a whole number, it is 24.0'],
  ['{"N":-1}', (o) => o.integer('N', 0, 32), 'N must be between 0 and 32, it is -1'],
  ['{"N":1e99}', (o) => o.integer('N', 0, 32), 'N must be a whole number, it is 1e99'],
  [
    '{"N":99999999999999999999}',
    (o) => o.integer('N', 0, 32),
    'N must be between 0 and 32, it is 99999999999999999999',
  ],
  ['{"N":{ "a":\n1 }}', (o) => o.string('N'), 'N must be a string, it is {"a":1}'],
  ['{"N":"x"}', (o) => o.parsed('N', parseIpv4, 'no address'), 'no address (N: "x")'],
  ['{"N":null}', (o) => o.parsed('N', parseIpv4, 'no address'), 'N must be a string, it is null'],
  ['{"N":1}', (o) => o.boolean('N'), 'N must be true or false, it is 1'],
  ['{"N":"true"}', (o) => o.boolean('N'), 'N must be true or false, it is "true"'],
  ['{"N":1}', (o) => o.string('N'), 'N must be a string, it is 1'],
  ['{"N":[]}', (o) => o.object('N'), 'N must be an object, it is []'],
  ['{"A":{"n":"x"}}', (o) => o.object('a')?.integer('N', 0, 9), 'a.N must be a whole number, it is "x"'],
];

for (const [json, get, message] of REFUSED) {
  test(`${json}: ${message}`, () => assert.throws(() => get(read(json)), { code: 'config', message }));
}

test('a message quotes a long value only in part, and on one line', () => {
  assert.throws(
    () => new GoObject({ N: `\n${'x'.repeat(5000)}` }).integer('N', 0, 1),
    ({ message }: Error) => message.length < 150 && !message.includes('\n'),
  );
});

test('any JSON at all is read or refused with a config error', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('N', 'n', '__proto__'), fc.jsonValue()), (object) => {
      const go = new GoObject(object as { [key: string]: Json });
      for (const get of [() => go.string('N'), () => go.integer('N', 0, 9), () => go.object('N')]) {
        try {
          get();
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'config');
        }
      }
      assert.ok(excerpt(go.raw('N') ?? null).length <= 81);
    }),
  );
});
