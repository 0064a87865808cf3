import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { EtcdV2Http } from '#src/registry/etcd-v2-http.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { systemRandom } from '#src/sys/random.ts';

const NODES = 20_000;
/** More than two pieces of 64 kB, whose nodes are read in one go. */
const MOST_IN_A_TURN = 1_500;

/** The answer to a recursive GET, as etcd writes it. */
function answer(): string {
  const nodes = Array.from({ length: NODES }, (_, n) => {
    const key = `/coreos.com/network/subnets/10.${n >> 8}.${n & 255}.0-24`;
    return { key, value: 'x'.repeat(100), modifiedIndex: n + 1, createdIndex: n + 1 };
  });
  const node = { key: '/coreos.com/network/subnets', dir: true, nodes, modifiedIndex: 1, createdIndex: 1 };
  return JSON.stringify({ action: 'get', node });
}

/** By it, no work fits into a turn: each look finds it spent. */
function impatientClock(): Clock {
  let ms = 0;
  const monotonic = () => {
    ms += 1_000;
    return ms;
  };
  return { ...systemClock, monotonic };
}

test('a long list is read in many turns of the event loop, however much of it has come', async (t) => {
  const text = answer();
  const server = createServer((_, response) => void response.end(text)).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const http = new EtcdV2Http(
    { clock: impatientClock(), random: systemRandom },
    { endpoints: parseEndpoints(`http://127.0.0.1:${port}`, { tls: false }), tls: {} },
  );
  t.after(() => http.close());
  let [taken, most, isDone] = [0, 0, false];
  const request = { method: 'GET', key: '/coreos.com/network/subnets', query: '?recursive=true' } as const;
  const list = http
    .list(request, { what: 'list', repeatable: true }, AbortSignal.timeout(60_000), (node) => {
      taken++;
      return [node];
    })
    .finally(() => {
      isDone = true;
    });
  for (let before = taken; !isDone; before = taken) {
    await nextTurn();
    most = Math.max(most, taken - before);
  }
  const { items } = await list;
  assert.equal(items.length, NODES);
  assert.ok(most > 0 && most <= MOST_IN_A_TURN, `${most} nodes in one turn`);
});
