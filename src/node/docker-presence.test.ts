import assert from 'node:assert/strict';
import { test } from 'node:test';
import { untilDocker } from '#src/node/docker-presence.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Files } from '#src/sys/files.ts';

const SOCKET = '/run/docker.sock';

function host() {
  const clock = new FakeClock();
  let isThere = false;
  let looks = 0;
  const files = {
    exists(path: string) {
      assert.equal(path, SOCKET);
      looks++;
      return isThere;
    },
  } as Partial<Files> as Files;
  const passedSockets = new Map<string, number>();
  return {
    clock,
    passedSockets,
    looks: () => looks,
    install: () => {
      isThere = true;
    },
    wait(dockerDriver: 'auto' | 'on', signal = new AbortController().signal) {
      let isOver = false;
      const options = { dockerDriver, dockerHost: `unix://${SOCKET}` };
      const waiting = untilDocker({ clock, files, passedSockets }, options, signal).finally(() => {
        isOver = true;
      });
      return { waiting, isOver: () => isOver };
    },
  };
}

test('waits for Docker’s socket, with a look every two seconds', async () => {
  const { clock, looks, install, wait } = host();
  const { isOver } = wait('auto');
  await clock.advance(60_000);
  assert.deepEqual([isOver(), looks()], [false, 31]);
  install();
  await clock.advance(2_000);
  assert.equal(isOver(), true);
});

test('does not wait where the driver is asked for', async () => {
  const asked = host();
  await asked.wait('on').waiting;
  const passed = host();
  passed.passedSockets.set('docker-plugin', 3);
  await passed.wait('auto').waiting;
  assert.deepEqual([asked.looks(), passed.looks()], [0, 0]);
});

test('ends with the signal', async () => {
  const stop = new AbortController();
  const { waiting } = host().wait('auto', stop.signal);
  stop.abort(new Error('over'));
  await assert.rejects(waiting, { message: 'over' });
});
