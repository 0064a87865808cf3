import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as k from '#src/kernel/constants.ts';
import { messagesIn } from '#src/kernel/message.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import type { Operation } from '#src/state/operation.ts';
import { SystemError } from '#src/sys/errno.ts';
import type { Netlink, NetlinkSocket } from '#src/sys/netlink-socket.ts';

/** A kernel that takes at most `room` messages in one send, and acknowledges them. */
function narrowKernel(room: number): { netlink: Netlink; sends: number[] } {
  const sends: number[] = [];
  const socket: NetlinkSocket = {
    port: 1,
    send(bytes) {
      const messages = messagesIn(bytes);
      if (messages.length > room) throw new SystemError('sendto', 105);
      sends.push(messages.length);
      const acknowledgement = new DataView(new ArrayBuffer(36));
      acknowledgement.setUint32(0, 36, true);
      acknowledgement.setUint16(4, k.NLMSG_ERROR, true);
      acknowledgement.setUint32(8, messages.at(-1)?.sequence ?? 0, true);
      queue.push(new Uint8Array(acknowledgement.buffer));
    },
    async sendAside(bytes) {
      this.send(bytes);
    },
    receive: () => queue.shift(),
    deviceName: () => undefined,
    setMute() {},
    watch() {},
    close() {},
  };
  const queue: Uint8Array[] = [];
  return { netlink: { open: async () => socket }, sends };
}

const down = (index: number): Operation => ({
  verb: 'set',
  object: { kind: 'link', name: `d${index}`, up: false },
});
const blackhole = (index: number): Operation => ({
  verb: 'replace',
  object: {
    kind: 'route',
    destination: { family: 4, address: index as never, length: 32 },
    type: 'blackhole',
    onlink: false,
    metric: 1,
    protocol: 3,
    scope: 0,
  },
});

test('a send that finds no room is tried again, smaller, and in order', async () => {
  const { netlink, sends } = narrowKernel(20);
  const operations = Array.from({ length: 200 }, (_, index) => blackhole(index));
  const results = await new RtnetlinkKernel({ netlink }).apply(operations);
  assert.ok(results.every(({ done }) => done));
  assert.deepEqual(
    results.map(({ operation }) => operation),
    operations,
  );
  assert.ok(sends.every((count) => count <= 20));
});

test('without room for a single message, the lack of room is the result of each change', async () => {
  const { netlink } = narrowKernel(0);
  const results = await new RtnetlinkKernel({ netlink }).apply([blackhole(1), down(1)]);
  assert.deepEqual(
    results.map((result) => result.done || result.error.errno),
    ['ENOBUFS', 'ENOBUFS'],
  );
});

test('after close nothing is opened again', async () => {
  const { netlink } = narrowKernel(1);
  const kernel = new RtnetlinkKernel({ netlink });
  kernel.close();
  kernel.close();
  await assert.rejects(kernel.apply([down(1)]), { code: 'kernel-closed' });
});
