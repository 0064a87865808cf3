import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { NetworkFollower } from '#src/node/network-follower.ts';
import { MemoryNetworks } from '#src/registry/memory-networks.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

async function following(t: TestContext, only: readonly string[] = []) {
  const clock = new FakeClock();
  const networks = new MemoryNetworks({ clock });
  const { signal } = new AbortController();
  const there = new Set<string>();
  const gone: string[] = [];
  const stop = new AbortController();
  const follower = new NetworkFollower(
    { networks, clock, random: () => 0.5, log: silentLogger },
    {
      only,
      onThere: (name) => there.add(name),
      onGone: async (name) => {
        there.delete(name);
        gone.push(name);
      },
      onListed: () => {},
    },
  );
  const parts = [follower.follow(stop.signal), follower.reap(stop.signal)];
  t.after(async () => {
    stop.abort();
    await Promise.allSettled(parts);
  });
  const settle = async (): Promise<void> => {
    for (let turns = 0; turns < 20; turns++) await nextTurn();
  };
  return {
    clock,
    there,
    gone,
    settle,
    add: async (name: string) => {
      assert.ok(await networks.writeConfig(name, '{}', undefined, signal));
      await settle();
    },
    remove: async (name: string) => {
      assert.ok(await networks.removeConfig(name, '{}', signal));
      await settle();
    },
  };
}

test('networks come with their config, and go some time after it', async (t) => {
  const { clock, there, gone, add, remove, settle } = await following(t);
  await add('blue');
  await add('red');
  assert.deepEqual([...there], ['blue', 'red']);
  await remove('blue');
  await clock.advance(29_000);
  assert.deepEqual([...there], ['blue', 'red']);
  await clock.advance(2_000);
  await settle();
  assert.deepEqual([...there], ['red']);
  assert.deepEqual(gone, ['blue']);
});

test('a config that is written again in time keeps its network', async (t) => {
  const { clock, there, gone, add, remove, settle } = await following(t);
  await add('blue');
  await remove('blue');
  await clock.advance(20_000);
  await add('blue');
  await clock.advance(60_000);
  await settle();
  assert.deepEqual([...there], ['blue']);
  assert.deepEqual(gone, []);
});

test('only the networks that were named are served', async (t) => {
  const { there, add } = await following(t, ['red']);
  await add('blue');
  await add('red');
  assert.deepEqual([...there], ['red']);
});
