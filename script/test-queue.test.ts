import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processorRoom, runQueue } from './test-queue.ts';

/** Entries that end when they are ended, and what runs at the moment. */
function entriesByHand() {
  const ends = new Map<string, () => void>();
  const run = (entry: string): Promise<void> =>
    new Promise((resolve) =>
      ends.set(entry, () => {
        ends.delete(entry);
        resolve();
      }),
    );
  return { run, running: () => [...ends.keys()], end: (entry: string) => ends.get(entry)?.() };
}

const settled = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test('without room so many run at once as always may, and the next follows one that ended', async () => {
  const { run, running, end } = entriesByHand();
  const options = { least: 2, most: 4, hasRoom: () => false, pause: () => new Promise(() => {}) };
  const all = runQueue(['a', 'b', 'c', 'd'], options, run);
  await settled();
  assert.deepEqual(running(), ['a', 'b']);
  end('a');
  await settled();
  assert.deepEqual(running(), ['b', 'c']);
  end('c');
  end('b');
  await settled();
  assert.deepEqual(running(), ['d']);
  end('d');
  await all;
});

test('one more begins each time that there is room, and no more than the most', async () => {
  const { run, running, end } = entriesByHand();
  let room = false;
  let asked = 0;
  let goOn = () => {};
  const options = {
    least: 1,
    most: 3,
    hasRoom: () => {
      asked++;
      const had = room;
      room = false;
      return had;
    },
    pause: () => new Promise<void>((resolve) => (goOn = resolve)),
  };
  const all = runQueue(['a', 'b', 'c', 'd'], options, run);
  for (const expected of [['a'], ['a', 'b'], ['a', 'b', 'c'], ['a', 'b', 'c']]) {
    await settled();
    assert.deepEqual(running(), expected);
    room = true;
    goOn();
  }
  const before = asked;
  await settled();
  assert.equal(asked, before, 'asked although no more may run');
  for (const entry of ['b', 'a', 'c']) end(entry);
  await settled();
  end('d');
  await all;
});

test('one that fails fails the whole', async () => {
  const fails = () => Promise.reject(new Error('of one'));
  await assert.rejects(runQueue(['a'], { least: 1, most: 1, hasRoom: () => false }, fails), /of one/);
});

test('there is room where processors were idle for a quarter of a whole window', () => {
  let now = { idle: 0, user: 0 };
  const hasRoom = processorRoom(() => [
    { times: { ...now, nice: 0, sys: 0, irq: 0 } },
    { times: { idle: 0, user: 0, nice: 0, sys: 0, irq: 0 } },
  ]);
  const after = (idle: number, user: number): boolean => {
    now = { idle: now.idle + idle, user: now.user + user };
    return hasRoom();
  };
  assert.equal(after(1_000, 0), false, 'the window is not over');
  assert.equal(after(0, 1_000), true, 'half of two seconds');
  assert.equal(after(450, 1_550), false, 'less than a quarter');
  assert.equal(after(1_000, 1_000), true, 'a window of its own');
});
