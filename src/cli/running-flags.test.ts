import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addRunningFlags } from '#src/cli/running-flags.ts';
import type { FlagValue } from '#src/lib/go-flags.ts';
import type { RunningProgram } from '#src/sys/process-list.ts';

const program = (pid: number, ...argv: string[]): RunningProgram => ({ pid, name: argv[0] ?? '', argv });

const added = async (
  programs: readonly RunningProgram[],
  given: Readonly<Record<string, FlagValue>> = {},
  environ = '',
): Promise<Record<string, FlagValue>> => {
  const components = { processes: { here: () => [...programs] }, files: { read: async () => environ } };
  return Object.fromEntries(await addRunningFlags(components, new Map(Object.entries(given))));
};

test('the flags of the flanneld that runs are taken, run by itself or by an interpreter', async () => {
  const wanted = { 'etcd-endpoints': ['http://10.0.0.1:2379'], 'etcd-prefix': '/a' };
  const words = ['-etcd-endpoints=http://10.0.0.1:2379', '--etcd-prefix', '/a'];
  assert.deepEqual(await added([program(1, '/usr/bin/flanneld', ...words)]), wanted);
  assert.deepEqual(await added([program(1, 'node', '/src/cli/flanneld.ts', ...words)]), wanted);
  assert.deepEqual(await added([program(1, 'dockerd', ...words)]), {});
});

test('its variables count where it has no flag, and a user’s flags before both', async () => {
  const flanneld = program(1, 'flanneld', '--etcd-prefix=/flag');
  const environ = 'PATH=/bin\0FLANNELD_ETCD_PREFIX=/variable\0FLANNELD_ETCD_USERNAME=u\0';
  assert.deepEqual(await added([flanneld], {}, environ), { 'etcd-prefix': '/flag', 'etcd-username': 'u' });
  assert.deepEqual(await added([flanneld], { 'etcd-username': 'me' }, environ), {
    'etcd-prefix': '/flag',
    'etcd-username': 'me',
  });
});

test('of several, one counts that has the prefix that was given', async () => {
  const both = [
    program(1, 'flanneld', '--etcd-prefix=/a', '--public-ip=10.0.0.1'),
    program(2, 'flanneld', '--etcd-prefix=/b', '--public-ip=10.0.0.2'),
  ];
  assert.deepEqual(await added(both), {});
  assert.deepEqual(await added(both, { 'etcd-prefix': '/b' }), {
    'etcd-prefix': '/b',
    'public-ip': '10.0.0.2',
  });
});

test('a flanneld with flags that weft does not know has none', async () => {
  assert.deepEqual(await added([program(1, 'flanneld', '--strange=1')]), {});
});
