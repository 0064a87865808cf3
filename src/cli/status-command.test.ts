import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDriver } from '#src/cli/status-command.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';

const network = (name: string, containers: readonly string[], cutOff = 0): DriverNetwork => ({
  name,
  vni: 70_001,
  subnets: ['10.5.0.0/24', 'fd00::/64'],
  containers,
  cutOff,
});

test("what Docker's driver does, in words", () => {
  const networks = [
    network('blue', ['web']),
    network('green', []),
    network('red', ['a', 'b', 'c', 'd', 'e', 'f'], 1),
  ];
  assert.deepEqual(formatDriver({ state: 'on', troubles: ['Docker has not answered yet'], networks }), [
    "Docker's driver: on, NOT READY",
    '  trouble    Docker has not answered yet',
    '  network    blue: VNI 70001, 10.5.0.0/24, fd00::/64, 1 container here (web)',
    '  network    red: VNI 70001, 10.5.0.0/24, fd00::/64, 6 containers here (a, b, c, d, e, …), 1 cut off',
    '  networks   1 more without a container here',
  ]);
  assert.deepEqual(formatDriver({ state: 'waiting', troubles: [], networks: [] }), [
    "Docker's driver: waits for Docker on this host",
  ]);
  assert.deepEqual(formatDriver({ state: 'on', troubles: [], networks: [network('green', [])] }), [
    "Docker's driver: on",
    '  networks   1 without a container here',
  ]);
});
