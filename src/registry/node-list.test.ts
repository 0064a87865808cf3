import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { V2Node } from '#src/registry/etcd-v2-http.ts';
import { NodeList } from '#src/registry/node-list.ts';

/** What is read when the text comes in pieces of these sizes, again and again. */
function read(text: string, sizes: readonly number[]): { nodes: V2Node[]; frame: unknown } {
  const nodes: V2Node[] = [];
  const list = new NodeList((node) => nodes.push(node));
  const bytes = Buffer.from(text);
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1;
    list.push(bytes.subarray(at, at + size));
    at += size;
  }
  return { nodes, frame: JSON.parse(list.end()) };
}

/** Texts with everything that could be taken for the answer's own structure. */
const text = fc.string({
  unit: fc.constantFrom('"', '\\', '[', ']', '{', '}', ',', 'é', '\u{1f578}', ' ', 'a'),
});
const leaf = fc.record({ key: text, value: text, modifiedIndex: fc.nat(), createdIndex: fc.nat() });
const folder = fc.record({ key: text, dir: fc.constant(true), nodes: fc.array(leaf, { maxLength: 3 }) });
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });

test('the nodes come one by one, and the rest is the answer without them, wherever the pieces are cut', () => {
  const answer = fc.record({
    action: fc.constant('get'),
    node: fc.record({
      key: text,
      dir: fc.constant(true),
      nodes: fc.array(fc.oneof(leaf, folder)),
      modifiedIndex: fc.nat(),
    }),
  });
  fc.assert(
    fc.property(answer, sizes, fc.boolean(), (any, sizes, spaced) => {
      const text = JSON.stringify(any, undefined, spaced ? 1 : 0);
      const answer = JSON.parse(text) as typeof any;
      const { nodes, frame } = read(text, sizes);
      assert.deepEqual(nodes, answer.node.nodes);
      assert.deepEqual(frame, { ...answer, node: { ...answer.node, nodes: [] } });
    }),
  );
});

test('an answer without a list is left as it is', () => {
  const answers = [
    { errorCode: 100, message: 'Key not found', cause: '/a/b', index: 7 },
    { action: 'get', node: { key: '/a', dir: true, modifiedIndex: 1, createdIndex: 1 } },
    { message: 'Insufficient credentials' },
  ];
  for (const answer of answers) {
    assert.deepEqual(read(JSON.stringify(answer), [7]), { nodes: [], frame: answer });
  }
});

test('what is not JSON is kept for the message, or thrown from inside the list', () => {
  const list = new NodeList(() => {});
  list.push(Buffer.from('<html>no etcd here</html>'));
  assert.equal(list.end(), '<html>no etcd here</html>');
  assert.throws(() => new NodeList(() => {}).push(Buffer.from('{"node":{"nodes":[{bad}]}}')), SyntaxError);
});
