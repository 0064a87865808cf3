import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NETLINK_ROUTE, systemNetlink } from '#src/sys/netlink-socket.ts';

test('a device is named by its index, also after one that there is not', async () => {
  const socket = await systemNetlink.open({ protocol: NETLINK_ROUTE });
  try {
    // The kernel makes it first in each network namespace.
    assert.equal(socket.deviceName(1), 'lo');
    assert.equal(socket.deviceName(0x7fffffff), undefined);
    assert.equal(socket.deviceName(1), 'lo');
  } finally {
    socket.close();
  }
  assert.throws(() => socket.deviceName(1), /EBADF/);
});
