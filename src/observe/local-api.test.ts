import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { followEvents } from '#src/observe/api-client.ts';
import type { Handlers } from '#src/observe/api-router.ts';
import { askSocket } from '#src/observe/ask-socket.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { EventRing } from '#src/observe/event-ring.ts';
import { LocalApi } from '#src/observe/local-api.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { valueReply } from '#src/observe/reply.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { socketIn } from '../../test/support/socket-holder.ts';

const STATUS: NodeStatus = {
  version: '0',
  node: 'n',
  ready: true,
  troubles: [],
  registry: { description: 'etcd', state: 'connecting' },
  peers: { accepted: 0, quarantined: [] },
  kernel: { wanted: 0, failing: [], repairs: 0, checks: 0 },
  eventLoopDelayMs: 0,
};

const componentsOf = (handlers: Handlers = { '/status': () => valueReply(STATUS) }) => ({
  files: systemFiles,
  folders: systemFolders,
  clock: systemClock,
  ring: new EventRing(systemClock),
  handlers,
});

test('a node answers with its status; when it has stopped, nobody holds the socket', async (t) => {
  const path = socketIn(t);
  assert.equal(await askNode(path), undefined);
  const components = componentsOf();
  const api = new LocalApi(components, path);
  await api.start();
  assert.deepEqual(await askNode(path), STATUS);
  await assert.rejects(new LocalApi(components, path).start(), { code: 'running' });
  await api.stop();
  assert.equal(await askNode(path), undefined);
});

test('of several that start at one instant one serves, and those that give up leave it its socket', async (t) => {
  const path = socketIn(t);
  const components = componentsOf();
  const apis = Array.from({ length: 6 }, () => new LocalApi(components, path));
  const started = await Promise.allSettled(apis.map((api) => api.start()));
  const serving = apis.filter((_, n) => started[n]?.status === 'fulfilled');
  const stopAll = (): Promise<unknown> => Promise.all(serving.splice(0).map((api) => api.stop()));
  t.after(stopAll);
  const codes = started.map((it) => (it.status === 'rejected' ? it.reason.code : 'serves'));
  assert.deepEqual(codes.sort(), [...Array(5).fill('running'), 'serves']);
  assert.deepEqual(await askNode(path), STATUS);
  await stopAll();
  assert.equal(await askNode(path), undefined);
});

test('only root may use the socket, and each answer says which version it is', async (t) => {
  const path = socketIn(t);
  const api = new LocalApi(componentsOf(), path);
  await api.start();
  t.after(() => api.stop());
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const found = await askSocket(path, '/status');
  assert.ok(typeof found === 'object');
  assert.deepEqual(
    [found.status, found.headers['weft-api'], found.headers['content-type']],
    [200, '1', 'application/json'],
  );
  const missing = await askSocket(path, '/nothing');
  assert.ok(typeof missing === 'object');
  assert.deepEqual([missing.status, missing.headers['weft-api']], [404, '1']);
});

test('events can be followed until the daemon ends', async (t) => {
  const path = socketIn(t);
  const components = componentsOf({ '/v1/events': () => ({ kind: 'stream', after: 0 }) });
  const api = new LocalApi(components, path);
  await api.start();
  const note = (subject: string) =>
    components.ring.note({ type: 'lease', severity: 'info', subject, text: 'It is gone' });
  note('a');
  const seen: string[] = [];
  const follow = async (): Promise<void> => {
    for await (const { subject } of followEvents(path, {}, t.signal)) {
      seen.push(subject);
      if (seen.length === 1) note('b');
      else await api.stop();
    }
  };
  await assert.rejects(follow(), { code: 'not-running' });
  assert.deepEqual(seen, ['a', 'b']);
});
