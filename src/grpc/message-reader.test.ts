import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MessageReader, messagePrefix } from '#src/grpc/message-reader.ts';

test('messages come out as they went in, however the bytes are cut', () => {
  void fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
      (messages, cuts) => {
        const wire = Buffer.concat(messages.flatMap((message) => [messagePrefix(message.length), message]));
        const reader = new MessageReader(300);
        const read: Buffer[] = [];
        for (let at = 0, n = 0; at < wire.length; n++) {
          const end = at + (cuts[n % cuts.length] ?? 1);
          reader.push(wire.subarray(at, end));
          at = end;
          for (let next = reader.next(); next.kind === 'message'; next = reader.next()) read.push(next.bytes);
        }
        assert.equal(reader.size, 0);
        // Compared at the end, so that a buffer that is written again would be seen.
        assert.deepEqual(
          read.map(String),
          messages.map((message) => String(Buffer.from(message))),
        );
      },
    ),
  );
});

test('a message that is compressed, too large or incomplete is called that', () => {
  const reader = (bytes: readonly number[]): MessageReader => {
    const made = new MessageReader(10);
    made.push(Buffer.from(bytes));
    return made;
  };
  assert.deepEqual(reader([1, 0, 0, 0, 0]).next(), { kind: 'compressed' });
  assert.deepEqual(reader([0, 0, 0, 0, 11]).next(), { kind: 'tooLarge', length: 11 });
  assert.deepEqual(reader([0, 255, 255, 255, 255]).next(), { kind: 'tooLarge', length: 0xffffffff });
  assert.deepEqual(reader([0, 0, 0, 0, 10, 1]).next(), { kind: 'incomplete', length: 10 });
  assert.deepEqual(reader([0, 0, 0]).next(), { kind: 'incomplete', length: 0 });
});

test('a message in a million pieces is put together in linear time and memory', () => {
  const size = 1_000_000;
  const reader = new MessageReader(size);
  reader.push(messagePrefix(size));
  const piece = Buffer.alloc(1, 7);
  for (let n = 0; n < size; n++) reader.push(piece);
  const next = reader.next();
  assert.equal(next.kind, 'message');
  assert.equal(next.kind === 'message' && next.bytes.equals(Buffer.alloc(size, 7)), true);
});
