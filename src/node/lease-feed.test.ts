import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifetime } from '#src/lib/lifetime.ts';
import type { PeerMessage } from '#src/membership/membership.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import { LeaseFeed } from '#src/node/lease-feed.ts';
import type { WatchEvent } from '#src/registry/registry.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

const [OWN, PEER, OTHER] = ['10.5.1.0-24', '10.5.2.0-24', '10.5.3.0-24'];
const TTL_MS = 86_400_000;

const lease = (name: string): RawLease => ({
  name,
  value: '{}',
  revision: 1n,
  expiry: { kind: 'reservation' },
});
const list = (...names: string[]): PeerMessage => ({ kind: 'snapshot', records: names.map(lease) });
const removal = (name: string): PeerMessage => ({
  kind: 'batch',
  events: [{ type: 'removed', name }],
});

/** A feed of a node whose last run ended `agoMs` before, with one peer. `taken`: what the peers got. */
function feedOf({ agoMs = 1_000 } = {}) {
  const clock = new FakeClock();
  const taken: unknown[] = [];
  let deliver: (message: PeerMessage) => void = () => assert.fail('nobody follows');
  let failure: Error | undefined;
  const life = new Lifetime();
  const feed = new LeaseFeed(
    {
      clock,
      membership: {
        own: { subnets: {}, record: lease(OWN) },
        follow: (take, signal) => {
          deliver = take;
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
      },
      dataPath: {
        inbox: {
          snapshot: async (records: readonly RawLease[], remembered: readonly RawLease[] = []) => {
            taken.push([records.map(({ name }) => name), remembered.map(({ name }) => name)]);
            if (failure !== undefined) throw failure;
          },
          change: async (events: readonly WatchEvent[]) => {
            taken.push(events.map((event) => event.type === 'removed' && event.name));
          },
        },
        owner: { settled: () => clock.sleep(20) },
      } as unknown as ConstructorParameters<typeof LeaseFeed>[0]['dataPath'],
    },
    {
      leaseTtl: TTL_MS,
      remembered: {
        at: clock.now() - agoMs,
        config: '{}',
        own: { name: OWN, value: '{}' },
        peers: [{ name: PEER, value: '{}' }],
      },
    },
  );
  const first = feed.begin(life);
  return {
    ...{ clock, feed, first, life, taken },
    deliver: (message: PeerMessage) => deliver(message),
    failWith: (error: Error) => {
      failure = error;
    },
  };
}

test('a list with our own lease says who left, and one without it leaves the remembered peers', async () => {
  const kept = feedOf();
  kept.deliver(list(OWN, OTHER));
  await kept.first;
  assert.deepEqual(kept.taken, [[[OWN, OTHER], []]]);

  const emptied = feedOf();
  emptied.deliver(list(OTHER));
  await emptied.first;
  emptied.deliver(list(OTHER));
  assert.deepEqual(emptied.taken, [
    [[OTHER], [PEER]],
    [[OTHER], []],
  ]);
});

test('peers are remembered for as long as their leases could last, and not from the future', async () => {
  for (const agoMs of [TTL_MS, -1]) {
    const { deliver, first, taken } = feedOf({ agoMs });
    deliver(list());
    await first;
    assert.deepEqual(taken, [[[], []]]);
  }
});

test('our lease is lost with a removal, or with a list that lacks it, but for the first', async () => {
  const { clock, feed, deliver } = feedOf();
  deliver(list());
  assert.equal(feed.lostAt, undefined);
  deliver(removal(PEER));
  assert.equal(feed.lostAt, undefined);
  await clock.advance(5_000);
  deliver(removal(OWN));
  const atRemoval = clock.monotonic();
  assert.equal(feed.lostAt, atRemoval);
  await clock.advance(5_000);
  deliver(list(OWN));
  assert.equal(feed.lostAt, atRemoval);
  deliver(list(PEER));
  assert.equal(feed.lostAt, clock.monotonic());
});

test('a batch is measured to its last object, and the next one does not wait for it', async () => {
  const { clock, feed, deliver, taken } = feedOf();
  deliver(list(OWN));
  deliver(removal(PEER));
  deliver(removal(OTHER));
  await nextTurn();
  assert.deepEqual(taken.slice(1), [[PEER], [OTHER]]);
  assert.equal(feed.putToRoute.count, 0);
  await clock.advance(20);
  assert.equal(feed.putToRoute.count, 2);
  assert.equal(feed.putToRoute.sum, 0.04);
});

test('a life that ends before the first list rejects the start, and so does a list that fails', async () => {
  const ended = feedOf();
  ended.life.fail(new Error('the end'));
  await assert.rejects(ended.first, /^Error: the end$/);

  const failed = feedOf();
  failed.failWith(new Error('no table'));
  failed.deliver(list(OWN));
  await assert.rejects(failed.first, /^Error: no table$/);
  await assert.rejects(failed.life.ended(), /^Error: no table$/);
});
