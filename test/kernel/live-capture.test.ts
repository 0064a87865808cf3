import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveCapture } from '#src/diagnose/capture/live-capture.ts';
import type { Mac } from '#src/lib/mac.ts';
import { openPacketSocket } from '#src/sys/packet-socket.ts';
import { patience } from '#src/sys/until.ts';
import { ethernet, openFrames } from '../support/frames.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace: frames go from u0 to u1, where they are captured.
 */
const mac = (last: number) => `02:00:00:00:00:0${last}` as Mac;
/** IEEE 802, local experimental: nobody else sends it. */
const ETHERTYPE = 0x88b5;
const isOurs = (frame: Uint8Array): boolean => frame[12] === 0x88 && frame[13] === 0xb5;
const PATIENCE_MS = 10_000 * patience();
/** More than are read in one turn. */
const COUNT = 1_000;

test('what came before the end of a capture is handed on, however much it is', {
  skip: cannotRun(),
}, async (t) => {
  const { path, json } = scratchNamespace(t);
  // Opened first, it gets each frame after the capture, and is read when the test says so.
  const witness = await openFrames(t, path, Number(json('ip link show u1')[0]?.ifindex));
  const seen: string[] = [];
  const capture = await LiveCapture.start(
    {
      openSocket: openPacketSocket,
      onFrame: ({ bytes }) => {
        if (isOurs(bytes)) seen.push(Buffer.from(bytes).toString('latin1', 14, 18));
      },
      onOutage: () => {},
    },
    [{ device: 'u1', namespace: path }],
    65_535,
  );
  t.after(() => capture.stop());
  const sender = await openPacketSocket({ namespace: path, device: 'u0' });
  t.after(() => sender.close());
  // In one turn, in which nothing is read.
  const texts = Array.from({ length: COUNT }, (_, n) => String(1_000 + n));
  let arrived = 0;
  for (const text of texts) {
    sender.send(ethernet(mac(1), mac(2), ETHERTYPE, Buffer.from(text)));
    arrived += witness.take().filter(isOurs).length;
  }
  const began = performance.now();
  while (arrived < COUNT) {
    assert.ok(performance.now() - began < PATIENCE_MS, `${arrived} of ${COUNT} frames arrived`);
    arrived += witness.take().filter(isOurs).length;
  }
  assert.deepEqual(seen, []);
  await capture.takeRest();
  capture.stop();
  assert.deepEqual(seen, texts);
});
