import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifetime } from '#src/lib/lifetime.ts';

/** A part that takes a moment to end after its signal. */
function slowPart(log: string[], name: string) {
  return (signal: AbortSignal): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () =>
      queueMicrotask(() => {
        log.push(`${name} ended`);
        resolve();
      }),
    );
    return promise;
  };
}

test('stop waits for every part', async () => {
  const log: string[] = [];
  const life = new Lifetime();
  life.run(slowPart(log, 'one'));
  life.run(slowPart(log, 'two'));
  await life.stop();
  assert.deepEqual(log, ['one ended', 'two ended']);
  await life.stop();
});

test('a part that fails ends the others, with its error', async () => {
  const log: string[] = [];
  const life = new Lifetime();
  life.run(slowPart(log, 'one'));
  life.run(async () => {
    throw new Error('broken');
  });
  await assert.rejects(life.ended(), /broken/);
  await life.stop();
  assert.deepEqual(log, ['one ended']);
});

test('a part may start parts while the lifetime ends', async () => {
  const log: string[] = [];
  const life = new Lifetime();
  life.run(async (signal) => {
    await slowPart(log, 'outer')(signal);
    life.run(async () => void log.push('inner'));
  });
  await life.stop();
  assert.deepEqual(log, ['outer ended', 'inner']);
});

test('the end of the parent is the end of its child', async () => {
  const parent = new AbortController();
  const life = new Lifetime(parent.signal);
  const ended = life.ended();
  parent.abort(new Error('the host stops'));
  await assert.rejects(ended, /the host stops/);
});
