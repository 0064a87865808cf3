import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MoveCaller } from '#src/driver/moves/move-caller.ts';
import type { MoveWish } from '#src/driver/moves/move-offers.ts';
import { MoveServer } from '#src/driver/moves/move-server.ts';
import type { MoveProgress } from '#src/driver/moves/outgoing-moves.ts';
import { WeftError } from '#src/lib/errors.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemLocks } from '#src/sys/host-lock.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { scratchFolder } from '../../../test/support/scratch-folder.ts';

const { signal } = new AbortController();
const WISH: MoveWish = { container: 'web', to: 'h2', keep: true, anyImage: false, checkpointDir: '' };

async function setUp(t: TestContext) {
  const socket = join(scratchFolder(t), 'moves.sock');
  const done: unknown[] = [];
  const progress: MoveProgress[] = [{ steps: ['made'] }, { steps: ['made', 'stopped'], end: 'moved' }];
  const server = new MoveServer(
    {
      offers: {
        async offer(wish) {
          done.push(wish);
          if (wish.to === 'h9')
            throw new WeftError('move', 'there is no host h9', { remedy: 'name another' });
          return { id: 'm1', lines: ['moves'] };
        },
        begin: async (id) => void done.push(`begin ${id}`),
        cancel: async (id) => void done.push(`cancel ${id}`),
      },
      outgoing: { progress: () => progress.shift() },
      onBegun: (id) => void done.push(`begun ${id}`),
      signal,
      locks: systemLocks,
    },
    { socket },
  );
  await server.start();
  t.after(() => server.stop());
  const caller = new MoveCaller({ http: systemUnixHttp, clock: systemClock }, { socket });
  return { server, caller, done };
}

test('an offer, its beginning, and its steps', async (t) => {
  const { caller, done } = await setUp(t);
  assert.deepEqual(await caller.offer(WISH, signal), { id: 'm1', lines: ['moves'] });
  await caller.begin('m1', signal);
  const steps: string[] = [];
  assert.equal(await caller.follow('m1', (step) => steps.push(step), signal), 'moved');
  assert.deepEqual(steps, ['made', 'stopped']);
  await caller.cancel('m1', signal);
  assert.deepEqual(done, [WISH, 'begin m1', 'begun m1', 'cancel m1']);
});

test('a refusal comes in words, and a daemon that is not there is said so', async (t) => {
  const { caller, server } = await setUp(t);
  await assert.rejects(caller.offer({ ...WISH, to: 'h9' }, signal), {
    code: 'move',
    message: /there is no host h9; name another/,
  });
  await server.stop();
  await assert.rejects(caller.offer(WISH, signal), { code: 'not-running' });
});

test('what is no call of weft’s is refused', async (t) => {
  const { server, done } = await setUp(t);
  const status = async (method: string, path: string, body = ''): Promise<number> =>
    (await server.answer({ method, path, body: Buffer.from(body) })).status;
  assert.equal(await status('GET', '/'), 404);
  assert.equal(await status('PUT', '/moves/m1'), 404);
  assert.equal(await status('POST', '/moves/../x/begin'), 404);
  assert.equal(await status('POST', '/moves', '{}'), 409);
  assert.equal(await status('POST', '/moves', 'junk'), 409);
  assert.equal((await server.answer({ method: 'POST', path: '/moves', body: 'too-long' })).status, 409);
  assert.deepEqual(done, []);
});
