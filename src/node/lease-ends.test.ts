import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawLease } from '#src/network/lease-rules.ts';
import { leaseEnds } from '#src/node/lease-ends.ts';

const leased = (n: number): RawLease => ({
  name: `lease ${n}`,
  value: '',
  revision: 1n,
  expiry: { kind: 'leased', leaseId: BigInt(n) },
});

test('the registry is asked for leases that do not say their end, not for more than 256, and some at once', async () => {
  let [asked, under, most] = [0, 0, 0];
  const expiryOf = async ({ name }: RawLease): Promise<number | undefined> => {
    asked++;
    most = Math.max(most, ++under);
    await Promise.resolve();
    under--;
    if (name === 'lease 3') throw new Error('refused');
    return name === 'lease 4' ? undefined : 7;
  };
  const records = [
    { ...leased(1), expiry: { kind: 'reservation' } as const },
    ...Array.from({ length: 1_000 }, (_, n) => leased(n + 2)),
  ];
  const ends = await leaseEnds({ expiryOf }, records);
  assert.deepEqual([asked, most, ends.size], [256, 16, 254]);
  assert.deepEqual(
    [ends.get('lease 2'), ends.get('lease 3'), ends.get('lease 4')],
    [7, undefined, undefined],
  );
});

test('what is not answered in time is left out', async () => {
  const expiryOf = (_: RawLease, signal: AbortSignal): Promise<number> =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  assert.equal((await leaseEnds({ expiryOf }, [leased(1)], 20)).size, 0);
});
