import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ReceivedFrame } from '#src/sys/packet-message.ts';
import { openPacketSocket, type PacketSocket, type PacketSocketOptions } from '#src/sys/packet-socket.ts';
import { until } from '#src/sys/until.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace: u0 192.0.2.1/24 ─ u1.
 */
const skip = cannotRun();
/** IEEE 802, local experimental: nobody else sends it. */
const ETHERTYPE = '88b5';

interface Heard extends ReceivedFrame {
  readonly hex: string;
}

interface Listening {
  readonly socket: PacketSocket;
  readonly frames: Heard[];
  readonly outages: string[];
}

async function listen(
  t: TestContext,
  namespace: ScratchNamespace,
  options: PacketSocketOptions,
): Promise<Listening> {
  const socket = await openPacketSocket({ namespace: namespace.path, ...options });
  t.after(() => socket.close());
  const [frames, outages]: [Heard[], string[]] = [[], []];
  const onFrame = (frame: ReceivedFrame) => {
    const hex = Buffer.from(frame.bytes).toString('hex');
    if (typeOf(hex) === ETHERTYPE) frames.push({ ...frame, hex });
  };
  socket.watch(onFrame, (state) => outages.push(state));
  return { socket, frames, outages };
}

/** Of a frame in hex, behind its VLAN tag. Elsewhere the same digits may be of an address. */
const typeOf = (hex: string): string => hex.slice(...(hex.startsWith('8100', 24) ? [32, 36] : [24, 28]));

const frameOf = (length: number) =>
  Buffer.concat([Buffer.from(`ffffffffffff020000000001${ETHERTYPE}`, 'hex'), Buffer.alloc(length - 14, 7)]);
const heard = (listening: Listening, count: number) =>
  until(() => listening.frames.length >= count, { what: `${count} frames` });

test('a frame is heard at both ends, with time, direction, device and length', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const all = await listen(t, namespace, {});
  const [near, far] = [
    await listen(t, namespace, { device: 'u0' }),
    await listen(t, namespace, { device: 'u1' }),
  ];
  const before = BigInt(Date.now()) * 1_000_000n;
  // A socket does not hear what it sends itself.
  const other = await openPacketSocket({ namespace: namespace.path, device: 'u0' });
  t.after(() => other.close());
  other.send(frameOf(1_514));
  await heard(all, 2);
  await Promise.all([heard(near, 1), heard(far, 1)]);
  const [sent, got] = [near.frames[0] ?? assert.fail(), far.frames[0] ?? assert.fail()];
  assert.equal(sent.hex, frameOf(1_514).toString('hex'));
  assert.equal(got.hex, sent.hex);
  assert.deepEqual([sent.direction, got.direction], ['out', 'in']);
  assert.deepEqual([sent.hardware, sent.originalLength], [1, 1_514]);
  const deviceNames = [sent, got].map(({ deviceIndex }) => all.socket.nameOf(deviceIndex));
  assert.deepEqual(deviceNames, ['u0', 'u1']);
  // The wall clock, to the second: the kernel's own stamp.
  assert.ok(sent.at > before - 1_000_000_000n && sent.at < before + 60_000_000_000n, `${sent.at}`);
  assert.equal(all.socket.nameOf(4_711), undefined);
});

test('one direction, and the first bytes only', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const both = await listen(t, namespace, { device: 'u1' });
  const arriving = await listen(t, namespace, { device: 'u1', direction: 'in', snapLength: 60 });
  const leaving = await listen(t, namespace, { device: 'u1', direction: 'out' });
  const other = await openPacketSocket({ namespace: namespace.path, device: 'u0' });
  t.after(() => other.close());
  other.send(frameOf(500));
  const beside = await openPacketSocket({ namespace: namespace.path, device: 'u1' });
  t.after(() => beside.close());
  beside.send(frameOf(100));
  await Promise.all([heard(both, 2), heard(arriving, 1), heard(leaving, 1)]);
  const lengths = ({ frames }: Listening) =>
    frames.map(({ bytes, originalLength }) => [bytes.length, originalLength]);
  assert.deepEqual(lengths(arriving), [[60, 500]]);
  assert.deepEqual(lengths(leaving), [[100, 100]]);
});

test('a VLAN tag that the kernel has taken out is put back', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const far = await listen(t, namespace, { device: 'u1' });
  const other = await openPacketSocket({ namespace: namespace.path, device: 'u0' });
  t.after(() => other.close());
  // skb_vlan_untag of net/core/skbuff.c takes it out on the way in, before packet sockets hear the frame.
  const tagged = Buffer.concat([
    frameOf(60).subarray(0, 12),
    Buffer.from('8100a005', 'hex'),
    frameOf(60).subarray(12),
  ]);
  other.send(tagged);
  await heard(far, 1);
  const [frame] = far.frames;
  assert.equal(frame?.hex, tagged.toString('hex'));
  assert.deepEqual([frame?.bytes.length, frame?.originalLength], [64, 64]);
});

test('what there is no room for is counted', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const deaf = await openPacketSocket({ namespace: namespace.path, device: 'u1' });
  const other = await openPacketSocket({ namespace: namespace.path, device: 'u0' });
  t.after(() => [deaf, other].map((socket) => socket.close()));
  assert.equal(deaf.dropped(), 0);
  for (let sent = 0; sent < 60_000 && deaf.dropped() === 0; sent++) other.send(frameOf(1_514));
  const before = deaf.dropped();
  assert.ok(before > 0);
  // Others send on this device, too: a second look has no less.
  assert.ok(deaf.dropped() >= before);
});

test('a device that goes down is reported, and one that goes away', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const far = await listen(t, namespace, { device: 'u1' });
  namespace.run('ip link set u1 down');
  await until(() => far.outages.length > 0, { what: 'outage' });
  namespace.run('ip link set u1 up');
  const other = await openPacketSocket({ namespace: namespace.path, device: 'u0' });
  t.after(() => other.close());
  await until(
    () => {
      other.send(frameOf(100));
      return far.frames.length > 0;
    },
    { what: 'frame after the outage' },
  );
  namespace.run('ip link del u1');
  await until(() => far.outages.includes('gone'), { what: 'end of the device' });
  assert.equal(far.outages[0], 'down');
});

test('what can’t be opened says why', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const open = (options: PacketSocketOptions) => openPacketSocket({ namespace: namespace.path, ...options });
  const none = { code: 'packet-socket', message: 'cannot capture on nosuch0: there is no such device' };
  await assert.rejects(open({ device: 'nosuch0' }), none);
  await assert.rejects(open({ device: 'a-name-that-is-too-long' }), { code: 'packet-socket' });
  await assert.rejects(open({ device: 4_711 }), { code: 'packet-socket' });
  await assert.rejects(open({ namespace: '/run/netns/nosuch' }), { code: 'netns' });
  const socket = await open({});
  socket.close();
  socket.close();
  assert.throws(() => socket.send(frameOf(60)), { code: 'EBADF' });
});
