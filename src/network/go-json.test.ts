import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { excerpt, GoObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';

const read = (text: string): GoObject => new GoObject(JSON.parse(text));

test('names match in any case, unknown ones are ignored, the last of two wins', () => {
  assert.equal(read('{"network":"a","other":1,"NETWORK":"b"}').string('Network'), 'b');
  assert.equal(read('{"Network":"a","Network":"b"}').string('network'), 'b');
});

test('null leaves a field at its default, and at the value it had', () => {
  const object = read('{"SubnetLen":24,"subnetlen":null,"EnableIPv6":null}');
  assert.equal(object.integer('SubnetLen', 0, 32), 24);
  assert.equal(object.boolean('EnableIPv6'), undefined);
});

/** encoding/json refuses each of these; the message has to name the field and the value. */
const REFUSED: readonly [json: string, read: (object: GoObject) => unknown, message: string][] = [
  ['{"N":"24"}', (o) => o.integer('N', 0, 32), 'N must be a whole number, it is "24"'],
  ['{"N":24.5}', (o) => o.integer('N', 0, 32), 'N must be a whole number, it is 24.5'],
  ['{"N":-1}', (o) => o.integer('N', 0, 32), 'N must be between 0 and 32, it is -1'],
  ['{"N":1e99}', (o) => o.integer('N', 0, 32), 'N must be between 0 and 32, it is 1e+99'],
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
