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
  const departures = new Departures({ clock, log: silentLogger }, async (name) => {
    gone.push(name);
  });
  departures.start(new AbortController().signal);
  return { clock, departures, gone };
}

test('a peer that a list lacks goes after the grace period, not before', async () => {
  const { clock, departures, gone } = start();
  departures.expect(['a', 'b']);
  await clock.advance(29_000);
  assert.deepEqual(gone, []);
  await clock.advance(1_000);
  assert.deepEqual(gone, ['a', 'b']);
});

test('one that shows itself again stays', async () => {
  const { clock, departures, gone } = start();
  departures.expect(['a', 'b']);
  departures.cancel('a');
  await clock.advance(60_000);
  assert.deepEqual(gone, ['b']);
});

test('one that the next list lacks as well keeps its time, one that it names again stays', async () => {
  const { clock, departures, gone } = start();
  departures.expect(['a', 'b']);
  await clock.advance(20_000);
  departures.expect(['a', 'c']);
  await clock.advance(10_000);
  assert.deepEqual(gone, ['a']);
  await clock.advance(20_000);
  assert.deepEqual(gone, ['a', 'c']);
});
