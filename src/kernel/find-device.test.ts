import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RTM_NEWLINK } from '#src/kernel/constants.ts';
import { DeviceIndexes } from '#src/kernel/find-device.ts';
import { linkQuery } from '#src/kernel/kinds/link.ts';
import { encodeRequests, messagesIn, type Request } from '#src/kernel/message.ts';
import type { Answer } from '#src/kernel/rtnetlink-client.ts';

const ENODEV = { errno: 'ENODEV', message: 'no such device' };

/** Devices as a kernel has them, and how often it was asked for one. */
class Devices {
  readonly names = new Map<number, string>();
  asked = 0;

  deviceName(index: number): string | undefined {
    return this.names.get(index);
  }

  request(request: Request): Answer {
    this.asked++;
    const [index] = [...this.names].find(([, name]) => includes(encodeRequests([request], 1), name)) ?? [];
    if (index === undefined) return { error: ENODEV };
    const bytes = encodeRequests([{ ...linkQuery(this.names.get(index) ?? ''), type: RTM_NEWLINK }], 1);
    // ifi_index, behind the message's header and four bytes of the link's.
    new DataView(bytes.buffer).setInt32(16 + 4, index, true);
    const [message] = messagesIn(bytes);
    return message === undefined ? { error: ENODEV } : { message };
  }
}

const includes = (bytes: Uint8Array, text: string): boolean => Buffer.from(bytes).includes(`${text}\0`);

test('the kernel is asked once for a device that keeps its name', () => {
  const devices = new Devices();
  devices.names.set(7, 'flannel.1');
  const indexes = new DeviceIndexes(devices);
  assert.deepEqual(
    [1, 2, 3].map(() => indexes.of('flannel.1')),
    [7, 7, 7],
  );
  assert.equal(devices.asked, 1);
});

test('a device that was made again, renamed or deleted is never taken for the one before', () => {
  const devices = new Devices();
  devices.names.set(7, 'flannel.1');
  const indexes = new DeviceIndexes(devices);
  assert.equal(indexes.of('flannel.1'), 7);
  devices.names.delete(7);
  devices.names.set(9, 'flannel.1');
  assert.equal(indexes.of('flannel.1'), 9);
  devices.names.set(9, 'other');
  assert.equal(indexes.of('flannel.1'), undefined);
  devices.names.delete(9);
  assert.equal(indexes.of('flannel.1'), undefined);
});
