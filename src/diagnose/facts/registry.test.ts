import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { known } from '#src/diagnose/facts/fact.ts';
import { readRegistry } from '#src/diagnose/facts/registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import type { AskHttp, HttpOutcome } from '#src/sys/http-question.ts';
import { systemRandom } from '#src/sys/random.ts';

test('where no endpoint answers, nothing more is waited for', async (t) => {
  // As a frozen etcd: the kernel takes the connections.
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket));
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  const endpoints = `http://127.0.0.1:${port}`;
  const asked: { url: string; signal: AbortSignal | undefined }[] = [];
  const ask: AskHttp = async ({ url, signal }) => {
    asked.push({ url, signal });
    return url.endsWith('/version') ? { kind: 'silent' } : new Promise(() => {});
  };
  const noTime = { unref: () => {} } as NodeJS.Timeout;
  const deadlines = t.mock.method(globalThis, 'setInterval', () => noTime);
  const components = { clock: systemClock, files: systemFiles, random: systemRandom, ask };
  const seen = known(
    await readRegistry(
      components,
      { endpoints, prefix: '/x', api: 'auto', tls: {} },
      '10.0.65.0-24',
      new AbortController().signal,
    ),
  );
  assert.ok(deadlines.mock.callCount() > 0);
  assert.deepEqual(seen.endpoints, [{ url: endpoints, why: 'no answer' }]);
  for (const store of [seen.stores.v2, seen.stores.v3])
    assert.deepEqual(store, { kind: 'failed', reason: 'timeout', why: 'no answer in time' });
  assert.deepEqual(
    asked.filter(({ url }) => url.endsWith('/health')).map(({ signal }) => signal?.aborted),
    [true],
  );
});

for (const [what, url, outcomes, why] of [
  [
    'https where the server knows no TLS',
    'https://127.0.0.1:1',
    // The kernel's word when the server closed with the greeting unread.
    { https: { kind: 'failed', why: 'read ECONNRESET' }, http: { kind: 'answer', status: 200, body: '{}' } },
    'TLS: the server answers without TLS; its address may be http, not https',
  ],
  [
    'a reset of a server that does know TLS',
    'https://127.0.0.1:1',
    {
      https: { kind: 'failed', why: 'read ECONNRESET' },
      http: { kind: 'answer', status: 400, body: 'Client sent an HTTP request to an HTTPS server.\n' },
    },
    'read ECONNRESET',
  ],
  [
    'http where the server wants TLS',
    'http://127.0.0.1:1',
    {
      http: { kind: 'failed', why: 'socket hang up' },
      https: { kind: 'failed', why: 'self-signed certificate' },
    },
    'TLS: the server answers with TLS alone; its address may be https, not http',
  ],
  [
    'a server that speaks neither',
    'http://127.0.0.1:1',
    {
      http: { kind: 'failed', why: 'socket hang up' },
      https: { kind: 'failed', why: 'read ECONNRESET' },
    },
    'socket hang up',
  ],
] as const satisfies readonly (readonly [string, string, Partial<Record<string, HttpOutcome>>, string])[]) {
  test(`${what} is named`, async () => {
    const byScheme: Partial<Record<string, HttpOutcome>> = outcomes;
    const ask: AskHttp = async (question) =>
      byScheme[new URL(question.url).protocol.slice(0, -1)] ?? { kind: 'silent' };
    const seen = known(
      await readRegistry(
        { clock: systemClock, files: systemFiles, random: systemRandom, ask },
        { endpoints: url, prefix: '/x', api: 'v3', tls: {} },
        undefined,
        new AbortController().signal,
      ),
    );
    assert.deepEqual(seen.endpoints, [{ url, why }]);
  });
}
