import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClaimedDevices } from '#src/node/fast-path/claimed-devices.ts';
import type { KernelObject } from '#src/state/object.ts';

function claims(earlier: readonly string[] | undefined) {
  let noted = earlier;
  let checks = 0;
  const claimed = new ClaimedDevices(
    {
      users: {
        devicesOf: async () => noted,
        only: async (_, device) => {
          noted = [device];
        },
      },
      reconciler: { check: () => void checks++ },
    },
    '/net',
  );
  const owned = (): string[] =>
    ['flannel.1', 'flannel.2', 'flannel.3'].filter((set) => {
      const hook = { kind: 'fast-hook', set, device: 'eth0', program: 'from-wire', isCurrent: true };
      return claimed.scopes.some(({ owns }) => owns(hook as KernelObject));
    });
  return { claimed, owned, noted: () => noted, checks: () => checks };
}

test('without a wish and a past nothing is claimed', async () => {
  const { claimed, owned, checks } = claims(undefined);
  await claimed.claim('flannel.1', false);
  assert.deepEqual([owned(), checks()], [[], 0]);
});

test('what earlier runs had is claimed beside what there is now, until it has gone', async () => {
  const { claimed, owned, noted, checks } = claims(['flannel.1', 'flannel.2']);
  await claimed.claim('flannel.3', true);
  await claimed.claim('flannel.3', true);
  assert.deepEqual(owned(), ['flannel.1', 'flannel.2', 'flannel.3']);
  assert.equal(checks(), 1, 'one look at what is there');
  await claimed.keepOnly('flannel.3');
  assert.deepEqual([owned(), noted()], [['flannel.3'], ['flannel.3']]);
  await claimed.claim('flannel.3', true);
  assert.equal(checks(), 1);
});

test('a network that has no such device any more claims what it had', async () => {
  const { claimed, owned } = claims(['flannel.2']);
  await claimed.claim(undefined, false);
  assert.deepEqual(owned(), ['flannel.2']);
});
