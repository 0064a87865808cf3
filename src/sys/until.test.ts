import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { until } from '#src/sys/until.ts';

test('until() returns the first answer that is one', async () => {
  const answers = [undefined, false, 0, 1] as const;
  let asked = 0;
  assert.equal(await until(() => answers[asked++], { what: 'answer', intervalMs: 0 }), 0);
  assert.equal(asked, 3);
});

test('until() says what it waited for in vain', async () => {
  await assert.rejects(
    until(() => false, { what: 'lease of h1', timeoutMs: 0 }),
    { code: 'timed-out', message: 'no lease of h1 after 0 s' },
  );
});

test('until() stops with the signal', async () => {
  const abort = new AbortController();
  const waiting = until(() => false, { what: 'answer', signal: abort.signal });
  abort.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
});

test('until() asks less often the longer it waits', async () => {
  const clock = new FakeClock();
  const asked: number[] = [];
  const waiting = until(() => void asked.push(clock.monotonic()), {
    what: 'answer',
    timeoutMs: 4_000,
    clock,
  });
  await Promise.all([assert.rejects(waiting, { code: 'timed-out' }), clock.advance(5_000)]);
  const pauses = asked.slice(1).map((at, n) => at - (asked[n] ?? 0));
  assert.ok(pauses[0] === 20 && pauses.at(-1) === 100, pauses.join());
});
