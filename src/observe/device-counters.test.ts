import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDeviceCounters } from '#src/observe/device-counters.ts';

test('the counters of each device, as the kernel prints them', () => {
  const devices =
    parseDeviceCounters(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1564 18 0 0 0 0 0 0 1564 18 0 0 0 0 0 0
flannel.1:    1    2    3    4    5     6          7         8       9      10   11   12    13    14      15         16
a:b: 21 22 23 24 0 0 0 0 25 26 27 28 0 0 0 0
short: 1 2
`);
  assert.deepEqual([...devices.keys()], ['lo', 'flannel.1', 'a:b']);
  assert.deepEqual(devices.get('flannel.1'), {
    receive: { bytes: 1, packets: 2, errors: 3, drops: 4 },
    transmit: { bytes: 9, packets: 10, errors: 11, drops: 12 },
  });
});
