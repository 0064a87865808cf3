import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { V2Node } from '#src/registry/etcd-v2-http.ts';
import { NodeList } from '#src/registry/node-list.ts';

/** What is handed over, and what is left, when the text comes in pieces of these sizes, again and again. */
function read(text: string, sizes: readonly number[]): { early: V2Node[]; left: string } {
  const early: V2Node[] = [];
  const list = new NodeList((node) => early.push(node as V2Node));
  const bytes = Buffer.from(text);
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1;
    list.push(bytes.subarray(at, at + size));
    at += size;
  }
  return { early, left: list.end() };
}

interface Answer {
  readonly action: string;
  readonly node: { readonly key: string; readonly nodes: readonly object[]; readonly modifiedIndex: number };
}

/** Texts with everything that could be taken for the answer's own structure, long enough that many pieces come. */
const text = fc
  .string({
    unit: fc.constantFrom(
      '"',
      '\\',
      '[',
      ']',
      '{',
      '}',
      ',',
      '},{',
      '},{"key":',
      '"nodes":[',
      'é',
      '\u{1f578}',
      'a',
    ),
  })
  .chain((text) => fc.constantFrom(text, text.padEnd(20_000, '*')));
const leaf = fc.record({ key: text, value: text, modifiedIndex: fc.nat(), createdIndex: fc.nat() });
const folder = fc.record({
  key: text,
  dir: fc.constant(true),
  nodes: fc.array(leaf, { maxLength: 3 }),
});
const sizes = fc.array(fc.integer({ min: 1_000, max: 90_000 }), { minLength: 1, maxLength: 5 });
const answer: fc.Arbitrary<Answer> = fc.record({
  action: fc.constant('get'),
  node: fc.record({
    key: text,
    dir: fc.constant(true),
    nodes: fc.array(fc.oneof({ weight: 9, arbitrary: leaf }, folder), { maxLength: 40 }),
    modifiedIndex: fc.nat(),
  }),
});

test('what is handed over and what is left is the answer, wherever the pieces are cut', () => {
  fc.assert(
    fc.property(answer, sizes, fc.boolean(), (answer, sizes, spaced) => {
      const text = JSON.stringify(answer, undefined, spaced ? 1 : 0);
      const { early, left } = read(text, sizes);
      const rest = JSON.parse(left) as Answer;
      const nodes = [...early, ...rest.node.nodes];
      assert.deepEqual({ ...rest, node: { ...rest.node, nodes } }, JSON.parse(text));
    }),
  );
});

test('of a long list of leases only the last piece is left', () => {
  const nodes = Array.from({ length: 5_000 }, (_, n) => ({ key: `/p/${n}`, value: `{"a":${n}}`, ttl: 7 }));
  const text = JSON.stringify({ action: 'get', node: { key: '/p', dir: true, nodes } });
  const { early, left } = read(text, [65_536]);
  assert.ok(left.length < 200_000, `${left.length} of ${text.length} characters`);
  assert.deepEqual(early, nodes.slice(0, early.length));
});

test('an answer without a list is left as it is, whatever it is', () => {
  for (const text of [
    '{"errorCode":100,"message":"Key not found","cause":"/a/b","index":7}',
    '<html>no etcd here</html>',
    '',
    `{"message":"${'x'.repeat(300_000)}"}`,
  ]) {
    assert.deepEqual(read(text, [7_000]), { early: [], left: text });
  }
});

test('a value that takes many pieces is joined a few times, not once for each piece', (t) => {
  const concat = Buffer.concat;
  let joined = 0;
  t.mock.method(Buffer, 'concat', (pieces: readonly Buffer[]) => {
    const all = concat(pieces);
    joined += all.length;
    return all;
  });
  const value = 'v'.repeat(16 << 20);
  const { left } = read(`{"node":{"nodes":[{"key":"/a","value":"${value}"}]}}`, [64 << 10]);
  assert.ok(left.includes(value));
  assert.ok(joined < 5 * value.length, `${joined} bytes were copied for a value of ${value.length}`);
});
