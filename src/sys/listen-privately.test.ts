import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { listenPrivately } from '#src/sys/listen-privately.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

test('a private socket has mode 0600 as soon as it is there, and the mask is as before', async (t) => {
  const path = join(scratchFolder(t), 'socket');
  const mask = process.umask();
  const server = createServer();
  t.after(() => server.close());
  const listening = listenPrivately(server, path);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(process.umask(), mask);
  await listening;
});

test('a path that can not be had is an error', async (t) => {
  const path = join(scratchFolder(t), 'missing', 'socket');
  await assert.rejects(listenPrivately(createServer(), path), { code: 'EACCES' });
  assert.notEqual(process.umask(), 0o177);
});
