import assert from 'node:assert/strict';
import { test } from 'node:test';
import { markedPacket, TOKEN_BYTES } from '#src/diagnose/trace/live/marked-packet.ts';
import { TokenWatch } from '#src/diagnose/trace/live/watch-token.ts';
import { parseIp } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { systemClock } from '#src/sys/clock.ts';
import { openPacketSocket } from '#src/sys/packet-socket.ts';
import { ethernet } from '../support/frames.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace: marked packets go from u0 to u1, where they are watched for.
 */
const ip = (text: string) => parseIp(text) ?? assert.fail(text);
const mac = (last: number) => `02:00:00:00:00:0${last}` as Mac;
const TIMEOUT_MS = 200;

test('a marked packet that waits to be read at the deadline is seen', { skip: cannotRun() }, async (t) => {
  const { path } = scratchNamespace(t);
  const token = new Uint8Array(TOKEN_BYTES).fill(9);
  const station = { device: 'u1', in: 'host', wrapped: false, leaving: 'wire', entering: 'wire' } as const;
  const last = { kind: 'request', direction: 'in', station: 0 } as const;
  const watch = new TokenWatch(
    { stations: [station], namespaces: { host: path } },
    { token, timeoutMs: TIMEOUT_MS, last },
  );
  await watch.start();
  t.after(() => watch.stop());
  const sender = await openPacketSocket({ namespace: path, device: 'u0' });
  t.after(() => sender.close());
  const ended = watch.run(systemClock);
  // A turn of its own, as any long work has: what the kernel has meanwhile is read only after it.
  setImmediate(() => {
    sender.send(ethernet(mac(1), mac(2), 0x0800, markedPacket(token, ip('192.0.2.1'), ip('192.0.2.9'), 1)));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * TIMEOUT_MS);
  });
  await ended;
  assert.deepEqual(
    watch.sightings.map(({ kind, direction }) => [kind, direction]),
    [['request', 'in']],
  );
});

test('a watch that sees nothing ends', { skip: cannotRun() }, async (t) => {
  const { path } = scratchNamespace(t);
  const watch = new TokenWatch(
    { stations: [], namespaces: { host: path } },
    {
      token: new Uint8Array(TOKEN_BYTES),
      timeoutMs: 50,
      last: { kind: 'answer', direction: 'in', station: 0 },
    },
  );
  await watch.start();
  t.after(() => watch.stop());
  // The watch keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  await watch.run(systemClock);
  clearInterval(alive);
  assert.deepEqual(watch.sightings, []);
});
