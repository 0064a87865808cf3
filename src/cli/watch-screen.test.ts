import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Screen } from '#src/cli/screen.ts';
import { type Watched, watchScreen } from '#src/cli/watch-screen.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

interface Value {
  readonly state: string;
  readonly age: number;
}

/** A watch of `values`, one a second: what it wrote, and what it asked of the terminal. */
function watching(values: readonly (Value | Error)[], options: Partial<Screen> = {}) {
  const clock = new FakeClock();
  const stopper = new AbortController();
  const printed: string[] = [];
  const written: string[] = [];
  const listeners = new Set<() => void>();
  const screen = {
    isTerminal: false,
    width: 100,
    height: 24,
    hasColour: false,
    // Readable, and fit for an expression.
    write: (text: string) => void written.push(text.replaceAll('\x1b', 'ESC')),
    onResize(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    ...options,
  };
  const take = (line: string): void => void printed.push(line);
  const output = { print: take, complain: take, progress: take, progressEnds: () => {} };
  let asked = 0;
  const watched: Watched<Value> = {
    title: 'weft x',
    async ask() {
      const value = values[Math.min(asked++, values.length - 1)];
      if (value instanceof Error || value === undefined) throw value;
      return value;
    },
    lines: ({ state, age }) => [`state ${state}`, `age ${age} of ${screen.width}`],
    essence: ({ state }) => state,
  };
  const end = watchScreen(watched, { screen, output, clock }, stopper.signal);
  const stop = async (): Promise<void> => {
    stopper.abort();
    await end;
  };
  return { clock, printed, written, screen, listeners, stop };
}

const up = { state: 'up', age: 1 };

test('without a terminal a block is written each time when something changed', async () => {
  const watch = watching([up, { state: 'up', age: 2 }, { state: 'down', age: 3 }, { state: 'down', age: 4 }]);
  await watch.clock.advance(5_000);
  await watch.stop();
  assert.deepEqual(watch.printed, ['state up', 'age 1 of 100', '', 'state down', 'age 3 of 100']);
  assert.deepEqual(watch.written, []);
});

test('a failure is said once, and the watch goes on', async () => {
  const watch = watching([up, new Error('no answer'), new Error('no answer'), up]);
  await watch.clock.advance(5_000);
  await watch.stop();
  const block = ['state up', 'age 1 of 100'];
  assert.deepEqual(watch.printed, [...block, 'weft x: no answer', '', ...block]);
});

test('on a terminal each second is drawn over the last one, on a screen of its own', async () => {
  const watch = watching([up, { state: 'up', age: 2 }], { isTerminal: true });
  await watch.clock.advance(1_500);
  await watch.stop();
  const [begin, first, second, end, ...rest] = watch.written;
  assert.match(begin ?? '', /^ESC\[\?1049h/);
  assert.match(first ?? '', /^ESC\[Hweft x, each second, 00:00:00 UTC; Ctrl-C ends itESC\[K\r\n/);
  assert.match(first ?? '', /\r\nstate upESC\[K\r\nage 1 of 100ESC\[KESC\[J$/);
  assert.match(second ?? '', /age 2 of 100/);
  assert.match(end ?? '', /ESC\[\?1049l$/);
  assert.deepEqual(rest, []);
  assert.deepEqual(watch.printed, []);
  assert.equal(watch.listeners.size, 0);
});

test('another size of the terminal is drawn at once', async () => {
  const watch = watching([up], { isTerminal: true });
  await watch.clock.advance(0);
  watch.screen.width = 40;
  watch.screen.height = 3;
  for (const listener of watch.listeners) listener();
  const drawn = watch.written.at(-1) ?? '';
  await watch.stop();
  assert.match(drawn, /… 2 more lines: the window is too lowESC\[KESC\[J$/);
  assert.equal(drawn.split('\r\n').length, 3);
});

test('a failure is shown on the terminal, too', async () => {
  const watch = watching([new Error('no flanneld')], { isTerminal: true });
  await watch.clock.advance(0);
  const drawn = watch.written.at(-1) ?? '';
  await watch.stop();
  assert.match(drawn, /\r\nno flanneldESC\[K/);
});
