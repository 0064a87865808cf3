import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RegistryFacts, registryTroubles } from '#src/node/registry-troubles.ts';

const DAY = 86_400_000;
const LEASE = '10.5.1.0-24';
const facts = (changed: Partial<RegistryFacts>): RegistryFacts => ({
  state: 'connected',
  silentMs: 0,
  lease: { name: LEASE, remainingMs: DAY },
  ttlMs: DAY,
  marginMs: 3_600_000,
  ...changed,
});

test('a registry may be silent for five minutes, or for a third of a short lease', () => {
  const away = { state: 'retrying', reason: 'connection refused' } as const;
  assert.deepEqual(registryTroubles(facts({ ...away, silentMs: 299_000 })), []);
  assert.match(
    registryTroubles(facts({ ...away, silentMs: 301_000 })).join(),
    /^the registry has been silent for more than 5 min \(connection refused\): /,
  );
  const short = { ttlMs: 30_000, lease: { name: LEASE, remainingMs: 20_000 } };
  assert.deepEqual(registryTroubles(facts({ ...away, ...short, silentMs: 9_000 })), []);
  assert.match(registryTroubles(facts({ ...away, ...short, silentMs: 11_000 })).join(), /more than 10 s/);
});

test('a registry that is connected and has nothing to say is none', () => {
  assert.deepEqual(registryTroubles(facts({ silentMs: 3 * DAY })), []);
});

test('a lease that was not renewed in time is named, and one that has ended', () => {
  const left = (remainingMs: number | undefined, changed: Partial<RegistryFacts> = {}) =>
    registryTroubles(facts({ lease: { name: LEASE, remainingMs }, ...changed })).join();
  assert.equal(left(1_801_000), '');
  assert.equal(left(1_799_000), `the own lease ${LEASE} ends in less than 30 min and has not been renewed`);
  // The margin is longer than half of the lease: that counts then.
  assert.equal(left(8_000, { ttlMs: 30_000 }), '');
  assert.match(left(7_000, { ttlMs: 30_000 }), /less than 8 s/);
  assert.match(left(0), /^the own lease 10\.5\.1\.0-24 has ended: /);
  assert.equal(left(undefined), '', 'a reservation has no end');
});

test('after a start without the registry there is no lease to speak of', () => {
  assert.match(
    registryTroubles(facts({ state: 'connecting', silentMs: 301_000, lease: undefined })).join(),
    /silent/,
  );
});
