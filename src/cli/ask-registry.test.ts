import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askRegistry } from '#src/cli/ask-registry.ts';
import { systemClock } from '#src/sys/clock.ts';

const failure = 'no network config';

test('a command gets its result, and its own errors as they are', async () => {
  const { signal } = new AbortController();
  assert.equal(await askRegistry({ signal, failure }, async () => 7), 7);
  const refused = new Error('refused');
  await assert.rejects(
    askRegistry({ signal, failure }, () => Promise.reject(refused)),
    refused,
  );
});

test('after the deadline the error has the last warning', async () => {
  const { signal } = new AbortController();
  const asking = askRegistry({ signal, failure, patienceMs: 1 }, async (logger, either) => {
    logger.warning('10.0.0.1 does not answer');
    await systemClock.sleep(60_000, either);
  });
  await assert.rejects(asking, {
    code: 'registry',
    message: 'no network config after 0.001 s: 10.0.0.1 does not answer',
  });
});

test('an interrupted command ends with the reason of its signal', async () => {
  const stopper = new AbortController();
  const asking = askRegistry({ signal: stopper.signal, failure }, (_, either) =>
    systemClock.sleep(60_000, either),
  );
  stopper.abort(new Error('SIGINT'));
  await assert.rejects(asking, { message: 'SIGINT' });
});
