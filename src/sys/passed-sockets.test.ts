import assert from 'node:assert/strict';
import { test } from 'node:test';
import { passedSockets } from '#src/sys/passed-sockets.ts';

const passed = (environment: Record<string, string>): unknown =>
  Object.fromEntries(passedSockets(environment, 42));

test('the sockets of systemd by their names', () => {
  assert.deepEqual(passed({ LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'a:docker-plugin:a' }), {
    a: 3,
    'docker-plugin': 4,
  });
  assert.deepEqual(passed({ LISTEN_PID: '42', LISTEN_FDS: '1' }), { unknown: 3 });
});

test('none without systemd, and none that are for another process', () => {
  assert.deepEqual(passed({}), {});
  assert.deepEqual(passed({ LISTEN_FDS: '1' }), {});
  assert.deepEqual(passed({ LISTEN_PID: '41', LISTEN_FDS: '1', LISTEN_FDNAMES: 'docker-plugin' }), {});
  assert.deepEqual(passed({ LISTEN_PID: '42', LISTEN_FDS: '0', LISTEN_FDNAMES: '' }), {});
});

test('a count that is none is refused', () => {
  for (const LISTEN_FDS of ['', '-1', '1e9', '99999', 'x'])
    assert.throws(() => passedSockets({ LISTEN_PID: '42', LISTEN_FDS }, 42), { code: 'systemd' });
});
