import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { silentLogger } from '#src/lib/log.ts';
import { removeOrphanedFastPaths } from '#src/node/fast-path/orphaned-fast-paths.ts';
import { artefactsOf } from '#src/node/network-id.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';

const PLACES = { stateDir: '/var/lib/weft', subnetFile: '/run/flannel/subnet.env' };
const hook = (set: string): KernelObject => ({
  ...{ kind: 'fast-hook', set, device: 'eth0', program: 'from-wire', isCurrent: true },
});

/** Networks that had a fast path each, of which some are served by another flanneld. */
async function clean(users: Readonly<Record<string, string[]>>, served: string[], elsewhere: string[] = []) {
  const kernel = new MemoryKernel(KINDS);
  for (const set of Object.values(users).flat()) kernel.interfere({ verb: 'add', object: hook(set) });
  const held = new Set(elsewhere.map((prefix) => artefactsOf({ prefix }, PLACES).lock));
  const left: string[] = [];
  await removeOrphanedFastPaths(
    {
      actuators: [kernel],
      users: {
        networks: async () => Object.keys(users),
        devicesOf: async (user) => users[user],
        leave: async (user) => void left.push(user),
      },
      reconciler: { check: () => {} },
      locks: { claim: async (name) => (held.has(name) ? undefined : async () => {}) },
      log: silentLogger,
    },
    { places: PLACES, served },
  );
  return { left, there: kernel.text.map((text) => text.split(' of ')[1]?.split(' ')[0]) };
}

test('networks that nobody serves any more lose their fast paths, on all devices that they had', async () => {
  const users = { '/blue': ['flannel.1', 'flannel.5'], '/red': ['flannel.2'] };
  assert.deepEqual(await clean(users, ['/red']), { left: ['/blue'], there: ['flannel.2'] });
  assert.deepEqual(await clean(users, []), { left: ['/blue', '/red'], there: [] });
});

test('those of another flanneld stay', async () => {
  const users = { '/blue': ['flannel.1'], '/red': ['flannel.2'] };
  assert.deepEqual(await clean(users, ['/red'], ['/blue']), { left: [], there: ['flannel.1', 'flannel.2'] });
});
