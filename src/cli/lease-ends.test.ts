import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AskApi } from '#src/cli/ask-networks.ts';
import { LeaseEnds } from '#src/cli/lease-ends.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Leases, Peer } from '#src/observe/api.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const peer = (n: number, parts: Partial<Peer> = {}): Peer => ({
  lease: `10.5.${n}.0-24`,
  subnet: `10.5.${n}.0/24`,
  lastSeen: '2026-01-01T00:00:00Z',
  programmed: 'yes',
  since: '2026-01-01T00:00:00Z',
  ...parts,
});

const LEASES: Leases = {
  network: '10.5.0.0/16',
  subnetLength: 24,
  capacity: 255,
  used: 1,
  leases: [{ lease: '10.5.1.0-24', own: false, expiry: 'expires', remainingSeconds: 100 }],
};

/** The ends as a daemon with one lease answers them, and how often it was asked. */
function ends(answer: () => Leases) {
  const clock = new FakeClock();
  let asked = 0;
  const ask = async () => {
    asked++;
    return answer();
  };
  const { signal } = new AbortController();
  return { clock, ends: new LeaseEnds({ ask: ask as unknown as AskApi, clock, signal }), asked: () => asked };
}

const network = (...peers: Peer[]) => [{ socket: '/s', answer: { peers } }];
const left = (it: LeaseEnds, ...peers: Peer[]) => it.fill({ peers }).peers.map((one) => one.remainingSeconds);

test('what the peers do not say is asked for at most twice a minute, and counts down', async () => {
  const { clock, ends: it, asked } = ends(() => LEASES);
  await it.read(network(peer(1)));
  assert.deepEqual(left(it, peer(1), peer(2), peer(3, { remainingSeconds: 7 })), [100, undefined, 7]);
  await clock.advance(20_000);
  await it.read(network(peer(1)));
  assert.equal(asked(), 1);
  assert.deepEqual(left(it, peer(1)), [80]);
  await clock.advance(20_000);
  await it.read(network(peer(1)));
  assert.equal(asked(), 2);
});

test('nothing is asked where the peers say it', async () => {
  const { ends: it, asked } = ends(() => LEASES);
  await it.read(network(peer(1, { remainingSeconds: 7 })));
  assert.equal(asked(), 0);
});

test('a refusal leaves the ends unknown', async () => {
  const { ends: it } = ends(() => {
    throw new WeftError('local-api', 'refused');
  });
  await it.read(network(peer(1)));
  assert.deepEqual(left(it, peer(1)), [undefined]);
});
