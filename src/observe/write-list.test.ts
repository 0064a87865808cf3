import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { type TestContext, test } from 'node:test';
import type { ListReply } from '#src/observe/reply.ts';
import { writeList } from '#src/observe/write-list.ts';
import { systemClock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { until } from '#src/sys/until.ts';
import { openAnswer } from '../../test/support/open-answer.ts';

interface Served {
  readonly response: IncomingMessage;
  /** Resolves when the server has done with it. */
  readonly written: Promise<void>;
}

/** Asks once for a list; the reader reads nothing until the test does. */
async function served(t: TestContext, reply: ListReply, stallMs = 60_000): Promise<Served> {
  const { answer, head } = await openAnswer(t);
  const written = writeList(answer, reply, { clock: systemClock, stallMs });
  return { response: await head, written };
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

const LONG = 'x'.repeat(500);
function* counted(until: number, made: { count: number }): Generator<object> {
  for (; made.count < until; made.count++) yield { n: made.count, LONG };
}

test('a list is one JSON value, with the other fields as they are after its last item', async (t) => {
  const made = { count: 0 };
  const reply: ListReply = {
    kind: 'list',
    name: 'items',
    items: counted(5_000, made),
    rest: () => ({ ...made }),
  };
  const { response, written } = await served(t, reply);
  const value = JSON.parse(await textOf(response));
  await written;
  assert.deepEqual([value.count, value.items.length, value.items[4_999].n], [5_000, 5_000, 4_999]);
  const empty = await served(t, { kind: 'list', name: 'items', items: [] });
  assert.equal(await textOf(empty.response), '{"items":[]}');
});

test('what the reader does not take is not made', async (t) => {
  const made = { count: 0 };
  const { response, written } = await served(t, {
    kind: 'list',
    name: 'items',
    items: counted(100_000, made),
  });
  const before = await until(
    async () => {
      const { count } = made;
      for (let turn = 0; turn < 50; turn++) await nextTurn();
      return count > 0 && made.count === count ? count : undefined;
    },
    { what: 'writer that waits for its reader' },
  );
  // 50 MB, of which a socket takes some hundred KiB.
  assert.ok(before < 10_000, String(before));
  response.destroy();
  await written;
  assert.ok(made.count < 10_000, String(made.count));
});

test('a reader that takes nothing is ended', async (t) => {
  const made = { count: 0 };
  const reply: ListReply = { kind: 'list', name: 'items', items: counted(100_000, made) };
  const { response, written } = await served(t, reply, 50);
  response.on('error', () => {});
  await written;
  assert.ok(made.count < 10_000, String(made.count));
});

test('other work has its turn while a long list is made', async (t) => {
  const made = { count: 0 };
  const { response, written } = await served(t, {
    kind: 'list',
    name: 'items',
    items: counted(60_000, made),
  });
  const text = textOf(response);
  const steps: number[] = [];
  while (made.count < 60_000) {
    const before = made.count;
    await nextTurn();
    if (made.count > before) steps.push(made.count - before);
  }
  await Promise.all([written, text]);
  assert.ok(steps.length > 20, String(steps.length));
});
