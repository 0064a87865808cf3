import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { LeaseKeeper, type LeaseKeeperOptions } from '#src/membership/lease-keeper.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import type { WatchEvent } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

/** A node's two clocks, and the registry's, which has the true time. Time passes only when a test says so. */
class Clocks implements Clock {
  #wall = 1_000_000_000_000;
  #monotonic = 0;
  #true = 0;
  #sleepers: { readonly at: number; readonly wake: () => void }[] = [];

  now = (): number => this.#wall;
  monotonic = (): number => this.#monotonic;
  readonly ofRegistry: Clock = {
    now: () => this.#true,
    monotonic: () => this.#true,
    sleep: () => new Promise(() => {}),
  };

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((wake, reject) => {
      this.#sleepers.push({ at: this.#monotonic + ms, wake });
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  /** Time passes, in steps that are shorter than any wait for something. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      const step = Math.min(left, STEP_MS);
      this.#wall += step;
      this.#monotonic += step;
      this.#true += step;
      const due = this.#sleepers.filter(({ at }) => at <= this.#monotonic);
      this.#sleepers = this.#sleepers.filter(({ at }) => at > this.#monotonic);
      for (const { wake } of due) wake();
      await turn();
    }
  }

  /** Somebody sets the wall clock. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  /** The machine sleeps: its monotonic clock stands still. */
  suspend(ms: number): void {
    this.#wall += ms;
    this.#true += ms;
  }
}

const STEP_MS = 10_000;
const HOUR_MS = 3_600_000;
const NAME = '10.0.65.0-24';
const ATTRIBUTES: LeaseAttributes = {
  publicIp: ipv4(0xac1046bf),
  backendType: 'vxlan',
  backendData: { VtepMAC: '02:00:00:00:00:01' },
  node: 'n1',
};
const OF_ANOTHER = encodeAttributes({ ...ATTRIBUTES, publicIp: ipv4(0xac1046c0), node: 'n2' });

/** A node that holds a lease of 24 hours, renewed an hour before its end, unless the test says otherwise. */
async function hold({
  ttlSeconds = 86_400,
  marginSeconds = 3_600,
  ...more
}: Partial<LeaseKeeperOptions> = {}) {
  const clocks = new Clocks();
  const registry = new MemoryRegistry({ clock: clocks.ofRegistry });
  const stopper = new AbortController();
  const { signal } = stopper;
  let renewals = 0;
  const renew = registry.renew.bind(registry);
  registry.renew = async (...given) => {
    const renewed = await renew(...given);
    if (renewed) renewals++;
    return renewed;
  };
  const created = await registry.create(NAME, encodeAttributes(ATTRIBUTES), ttlSeconds, signal);
  assert.ok(created.outcome === 'written');
  const keeper = new LeaseKeeper(
    { registry, clock: clocks, random: () => 0.5, log: silentLogger },
    { subnets: { v4: prefix4(ipv4(0x0a004100), 24) }, record: created.record },
    ATTRIBUTES,
    { ttlSeconds, marginSeconds, ...more },
  );
  const kept = keeper.keep(signal).catch(() => {});
  const read = () => registry.read(NAME, signal);
  return {
    clocks,
    registry,
    keeper,
    signal,
    read,
    renewals: () => renewals,
    hear: (event: WatchEvent) => keeper.onEvent(event),
    async stop() {
      stopper.abort();
      await kept;
    },
  };
}

test('a lease is renewed the margin before its end, and not before', async () => {
  const { clocks, renewals, stop } = await hold();
  await clocks.pass(22.9 * HOUR_MS);
  assert.equal(renewals(), 0);
  await clocks.pass(0.2 * HOUR_MS);
  assert.equal(renewals(), 1);
  await stop();
});

test('it knows how long the lease lives, by the clock that leaves less, and counts its writes', async () => {
  const { clocks, keeper, registry, stop } = await hold();
  const hours = (): number => Math.round((keeper.remainingMs ?? 0) / HOUR_MS);
  assert.equal(hours(), 24);
  await clocks.pass(22 * HOUR_MS);
  assert.equal(hours(), 2);
  registry.renew = async () => {
    throw new RegistryError('unreachable', 'connection refused');
  };
  await clocks.pass(1.5 * HOUR_MS);
  assert.ok((keeper.remainingMs ?? 0) <= 0.5 * HOUR_MS);
  assert.ok(keeper.counts.failures > 0);
  assert.equal(keeper.counts.renewals, 0);
  registry.renew = async () => false;
  await clocks.pass(60_000);
  assert.equal(hours(), 24);
  assert.equal(keeper.counts.renewals, 1);
  clocks.suspend(20 * HOUR_MS);
  assert.equal(hours(), 4);
  await stop();
});

test('a reservation has no end', async () => {
  const { clocks, registry, keeper, signal, stop } = await hold();
  const record = await registry.read(NAME, signal);
  assert.ok(record !== undefined);
  const made = await registry.replace(record, record.value, undefined, signal);
  assert.ok(made.outcome === 'written');
  keeper.onEvent({ type: 'put', record: made.record });
  await clocks.pass(STEP_MS);
  assert.equal(keeper.remainingMs, undefined);
  await stop();
});

test('a wall clock that is set back does not delay a renewal', async () => {
  const { clocks, renewals, stop } = await hold();
  clocks.jump(-7 * 24 * HOUR_MS);
  await clocks.pass(23.1 * HOUR_MS);
  assert.equal(renewals(), 1);
  await stop();
});

test('a wall clock that is set forward brings one renewal early, not many', async () => {
  const { clocks, renewals, stop } = await hold();
  clocks.jump(365 * 24 * HOUR_MS);
  await clocks.pass(HOUR_MS);
  assert.equal(renewals(), 1);
  await stop();
});

test('a machine that slept until shortly before the end renews when it wakes', async () => {
  const { clocks, read, stop } = await hold();
  clocks.suspend(23.9 * HOUR_MS);
  await clocks.pass(60_000);
  await clocks.pass(HOUR_MS);
  assert.ok((await read()) !== undefined);
  await stop();
});

test('a lease that ended while the machine slept is claimed again', async () => {
  const { clocks, read, stop } = await hold();
  clocks.suspend(48 * HOUR_MS);
  assert.equal(await read(), undefined);
  await clocks.pass(60_000);
  assert.equal((await read())?.value, encodeAttributes(ATTRIBUTES));
  await stop();
});

test('however the wall clock jumps, the registry never sees the lease end', async () => {
  const act = fc.oneof(
    fc.record({ pass: fc.integer({ min: 1_000, max: 400_000 }) }),
    fc.record({ jump: fc.integer({ min: -1e9, max: 1e9 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 20 }), async (acts) => {
      const { clocks, read, stop } = await hold({ ttlSeconds: 600, marginSeconds: 120 });
      for (const it of acts) {
        if ('jump' in it) clocks.jump(it.jump);
        else await clocks.pass(it.pass);
        assert.ok((await read()) !== undefined);
      }
      await stop();
    }),
    { numRuns: 50 },
  );
});

test('a removed lease is claimed again at once', async () => {
  const { clocks, registry, read, signal, hear, stop } = await hold();
  const record = await read();
  assert.ok(record !== undefined && (await registry.remove(record, signal)));
  hear({ type: 'removed', name: NAME });
  await clocks.pass(1_000);
  assert.equal((await read())?.value, encodeAttributes(ATTRIBUTES));
  await stop();
});

test('a subnet that another node took meanwhile is left to it, and taken back when it is free', async () => {
  const { clocks, registry, keeper, read, signal, hear, stop } = await hold();
  const record = await read();
  assert.ok(record !== undefined);
  const taken = await registry.replace(record, OF_ANOTHER, 86_400, signal);
  assert.ok(taken.outcome === 'written');
  hear({ type: 'put', record: taken.record });
  await clocks.pass(60_000);
  assert.equal((await read())?.value, OF_ANOTHER);
  assert.match(keeper.trouble ?? '', /held by 172\.16\.70\.192 \(node n2\)/);
  await registry.remove(taken.record, signal);
  hear({ type: 'removed', name: NAME });
  await clocks.pass(60_000);
  assert.equal((await read())?.value, encodeAttributes(ATTRIBUTES));
  assert.equal(keeper.trouble, undefined);
  await stop();
});

test('a lease that is defended is taken back from another node, once a second at most', async () => {
  const { clocks, registry, keeper, read, signal, hear, stop } = await hold({ defends: true });
  let written = 0;
  for (let second = 0; second < 20; second++) {
    const record = await read();
    assert.ok(record !== undefined);
    if (record.value !== OF_ANOTHER) {
      const taken = await registry.replace(record, OF_ANOTHER, undefined, signal);
      assert.ok(taken.outcome === 'written');
      hear({ type: 'put', record: taken.record });
      written++;
    }
    await clocks.pass(100);
  }
  assert.ok(written >= 2 && written <= 4, `${written} times in two seconds`);
  await clocks.pass(2_000);
  const record = await read();
  assert.equal(record?.value, encodeAttributes(ATTRIBUTES));
  assert.notEqual(record?.expiry.kind, 'reservation', 'what the other wrote makes ours no reservation');
  assert.equal(keeper.trouble, undefined);
  await stop();
});

test('a lease that has ended is not defended', async () => {
  const { clocks, registry, keeper, read, signal, stop } = await hold({ defends: true });
  clocks.suspend(48 * HOUR_MS);
  await registry.create(NAME, OF_ANOTHER, 86_400, signal);
  await clocks.pass(60_000);
  assert.equal((await read())?.value, OF_ANOTHER);
  assert.match(keeper.trouble ?? '', /held by/);
  await stop();
});

test('what is published is signed each time that it says something else', async () => {
  let count = 0;
  const { clocks, keeper, read, stop } = await hold({
    sign: (name, attributes) => ({ ...attributes, weft: { Signed: `${name} ${++count}` } }),
  });
  keeper.publish({ ...ATTRIBUTES, publicIp: ipv4(0xac1046ff) });
  await clocks.pass(1_000);
  assert.match(
    (await read())?.value ?? '',
    /"PublicIP":"172\.16\.70\.255".*"Weft":\{"Signed":"10\.0\.65\.0-24 1"\}/,
  );
  await clocks.pass(24 * HOUR_MS);
  assert.equal(count, 1);
  await stop();
});

test('what is held is our own record, also while another node has the key', async () => {
  const { clocks, registry, keeper, read, signal, hear, stop } = await hold();
  const record = await read();
  assert.ok(record !== undefined);
  const taken = await registry.replace(record, OF_ANOTHER, 86_400, signal);
  assert.ok(taken.outcome === 'written');
  hear({ type: 'put', record: taken.record });
  keeper.onSnapshot([taken.record]);
  await clocks.pass(60_000);
  assert.equal(keeper.held.record.value, encodeAttributes(ATTRIBUTES));
  await stop();
});

/** What an operator may write to reserve a subnet without naming a holder. */
const NAMELESS = ['', 'x', '{}', '{"BackendType":"vxlan"}', '{"PublicIP":"0.0.0.0"}'];
for (const value of NAMELESS) {
  test(`a reservation ${JSON.stringify(value)} under our key is ours, and stays a reservation`, async () => {
    const { clocks, registry, keeper, read, signal, hear, stop } = await hold();
    const record = await read();
    assert.ok(record !== undefined);
    const reserved = await registry.replace(record, value, undefined, signal);
    assert.ok(reserved.outcome === 'written');
    hear({ type: 'put', record: reserved.record });
    await clocks.pass(60_000);
    assert.equal((await read())?.value, encodeAttributes(ATTRIBUTES));
    assert.equal((await read())?.expiry.kind, 'reservation');
    assert.equal(keeper.trouble, undefined);
    await stop();
  });
}

/** A write whose answer is on its way until it is let through. */
function delayAnswer(registry: MemoryRegistry) {
  const replace = registry.replace.bind(registry);
  const [written, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  registry.replace = async (...given) => {
    const outcome = await replace(...given);
    written.resolve();
    await answered.promise;
    return outcome;
  };
  return { written: written.promise, answer: answered.resolve };
}

test('a change that comes while a write is under way is written next', async () => {
  const { clocks, registry, keeper, read, stop } = await hold();
  const { written, answer } = delayAnswer(registry);
  keeper.publish({ ...ATTRIBUTES, publicIp: ipv4(0xac1046fe) });
  await written;
  const last = { ...ATTRIBUTES, publicIp: ipv4(0xac1046ff) };
  keeper.publish(last);
  answer();
  await clocks.pass(60_000);
  assert.equal((await read())?.value, encodeAttributes(last));
  await stop();
});

test('a lease that is removed while the answer of a write is on its way is claimed again', async () => {
  const { clocks, registry, keeper, read, signal, hear, stop } = await hold();
  const { written, answer } = delayAnswer(registry);
  keeper.publish({ ...ATTRIBUTES, publicIp: ipv4(0xac1046fe) });
  await written;
  const record = await read();
  assert.ok(record !== undefined && (await registry.remove(record, signal)));
  hear({ type: 'removed', name: NAME });
  answer();
  await clocks.pass(60_000);
  assert.equal((await read())?.value, encodeAttributes(keeper.attributes));
  await stop();
});

test('a store that refuses writes keeps the lease alive, also while something else is to be published', async () => {
  const { clocks, registry, keeper, read, stop } = await hold({ ttlSeconds: 600, marginSeconds: 120 });
  const refuse = async (): Promise<never> => {
    throw new RegistryError('refused', 'cannot write the lease: mvcc: database space exceeded');
  };
  registry.create = refuse;
  const replace = registry.replace;
  registry.replace = refuse;
  await clocks.pass(HOUR_MS);
  assert.ok((await read()) !== undefined);
  assert.equal(keeper.trouble, undefined);
  const moved = { ...ATTRIBUTES, publicIp: ipv4(0xac1046ff) };
  keeper.publish(moved);
  await clocks.pass(HOUR_MS);
  assert.ok((await read()) !== undefined);
  assert.match(keeper.trouble ?? '', /could not renew the lease .*: .*database space exceeded/);
  registry.replace = replace;
  await clocks.pass(120_000);
  assert.equal((await read())?.value, encodeAttributes(moved));
  assert.equal(keeper.trouble, undefined);
  await stop();
});

test('a store that can’t renew without a write is written to', async () => {
  const { clocks, registry, read, stop } = await hold({ ttlSeconds: 600, marginSeconds: 120 });
  registry.renew = async () => false;
  const first = (await read())?.revision ?? 0n;
  await clocks.pass(490_000);
  assert.equal((await read())?.revision, first + 1n);
  await clocks.pass(HOUR_MS);
  assert.ok((await read()) !== undefined);
  await stop();
});

test('a lease that ended before it was renewed is created again', async () => {
  const { clocks, registry, read, signal, stop } = await hold({ ttlSeconds: 600, marginSeconds: 120 });
  const record = await read();
  // Removed without an event that was heard.
  assert.ok(record !== undefined && (await registry.remove(record, signal)));
  await clocks.pass(490_000);
  assert.equal((await read())?.value, encodeAttributes(ATTRIBUTES));
  await stop();
});
