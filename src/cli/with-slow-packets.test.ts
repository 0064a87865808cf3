import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { withSlowPackets } from '#src/cli/with-slow-packets.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

/** A daemon's socket, and what it was asked, without the number of this process. */
async function daemon(t: TestContext): Promise<{ socket: string; asked: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-slow-'));
  const socket = join(folder, 'api.sock');
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${decodeURIComponent(request.url ?? '').replace(` #${process.pid}`, '')}`);
    response.end('{}');
  });
  server.listen(socket);
  await once(server, 'listening');
  t.after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  return { socket, asked };
}

const pause = (seconds: number): string => `POST /v1/fast-path/pause?by=weft trace&seconds=${seconds}`;

test('packets are slow before the work begins, for as long as it takes, and fast again when it fails', async (t) => {
  const { socket, asked } = await daemon(t);
  const clock = new FakeClock();
  const complain = () => assert.fail('there is nothing to complain about');
  const work = async (): Promise<void> => {
    assert.deepEqual(asked, [pause(9)]);
    await clock.advance(3_000);
    while (asked.length < 2) await new Promise((next) => setImmediate(next));
    throw new Error('the work failed');
  };
  await assert.rejects(
    withSlowPackets([socket], { by: 'weft trace', clock, complain }, work),
    /the work failed/,
  );
  assert.deepEqual(asked, [pause(9), pause(9), pause(0)]);
});

test('the work is done where no daemon answers, too', async (t) => {
  const { socket, asked } = await daemon(t);
  const clock = new FakeClock();
  const complaints: string[] = [];
  const complain = (line: string): void => {
    complaints.push(line);
  };
  const sockets = [`${socket}.of-nobody`, socket];
  assert.equal(await withSlowPackets(sockets, { by: 'weft trace', clock, complain }, async () => 7), 7);
  assert.deepEqual(asked, [pause(9), pause(0)]);
  assert.deepEqual(complaints, []);
});
