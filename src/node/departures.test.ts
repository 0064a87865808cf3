import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { Departures } from '#src/node/departures.ts';

/** A clock that a test moves; sleepers wake in the order of their time. */
class TestClock {
  #now = 0;
  readonly #sleepers: { readonly at: number; readonly wake: () => void }[] = [];
  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ at: this.#now + ms, wake }));
  }
  async advance(ms: number): Promise<void> {
    this.#now += ms;
    for (const sleeper of this.#sleepers.splice(0)) {
      if (sleeper.at <= this.#now) sleeper.wake();
      else this.#sleepers.push(sleeper);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function start(): { clock: TestClock; departures: Departures; gone: string[] } {
  const clock = new TestClock();
  const gone: string[] = [];
  const departures = new Departures({ clock, log: silentLogger }, async (names) => {
    gone.push(...names);
  });
  departures.start(new AbortController().signal);
  return { clock, departures, gone };
}

test('a peer that a list lacks goes after the grace period, not before', async () => {
  const { clock, departures, gone } = start();
  departures.missing(['a', 'b']);
  await clock.advance(29_000);
  assert.deepEqual(gone, []);
  await clock.advance(1_000);
  assert.deepEqual(gone, ['a', 'b']);
});

test('one that shows itself again stays', async () => {
  const { clock, departures, gone } = start();
  departures.missing(['a', 'b']);
  departures.cancel('a');
  await clock.advance(60_000);
  assert.deepEqual(gone, ['b']);
});

test('one that the next list lacks as well keeps its time, one that it names again stays', async () => {
  const { clock, departures, gone } = start();
  departures.missing(['a', 'b']);
  await clock.advance(20_000);
  departures.missing(['a', 'c']);
  await clock.advance(10_000);
  assert.deepEqual(gone, ['a']);
  await clock.advance(20_000);
  assert.deepEqual(gone, ['a', 'c']);
});

test('one that was removed has a second to claim its lease again', async () => {
  const { clock, departures, gone } = start();
  departures.removed(['a', 'b']);
  await clock.advance(500);
  departures.cancel('a');
  await clock.advance(500);
  assert.deepEqual(gone, ['b']);
});

test('one that comes back and is removed again has its time anew', async () => {
  const { clock, departures, gone } = start();
  departures.removed(['a']);
  await clock.advance(900);
  departures.cancel('a');
  departures.removed(['a']);
  await clock.advance(500);
  assert.deepEqual(gone, []);
  await clock.advance(500);
  assert.deepEqual(gone, ['a']);
});
