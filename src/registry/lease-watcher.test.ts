import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import { LeaseWatcher } from '#src/registry/lease-watcher.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import type { Snapshot, WatchBatch, WatchEvent } from '#src/registry/registry.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';

/** Time that passes only while somebody sleeps, and that ends the run when `until` is reached. */
class SleepyClock implements Clock {
  readonly sleeps: number[] = [];
  readonly #until: number;
  readonly #end: () => void;
  #time = 0;

  constructor(until: number, end: () => void) {
    this.#until = until;
    this.#end = end;
  }
  now = () => this.#time;
  monotonic = () => this.#time;
  async sleep(ms: number): Promise<void> {
    this.sleeps.push(ms);
    this.advance(ms);
    if (this.#time >= this.#until) this.#end();
  }
  advance(ms: number): void {
    this.#time += ms;
  }
}

/** What one watch does: hands out batches, and then fails. */
type Script = readonly (WatchBatch | Error)[];

const put = (name: string, revision: bigint): WatchEvent => ({
  type: 'put',
  record: { name, value: '', revision, expiry: { kind: 'reservation' } },
});
const mark = (revision: bigint): WatchBatch => ({ events: [], revision });
const unreachable = new RegistryError('unreachable', 'cannot watch the leases: connection refused');

/** Runs a watcher against scripted watches until the last of them has been played. */
async function play(
  scripts: readonly Script[],
  options: { until?: number; random?: () => number; from?: bigint } = {},
) {
  const controller = new AbortController();
  const clock = new SleepyClock(options.until ?? 1e9, () => controller.abort());
  const log: string[] = [];
  const lines: string[] = [];
  let watches = 0;
  const registry = {
    description: 'etcd',
    async list(): Promise<Snapshot> {
      log.push('list');
      return { records: [], revision: 10n };
    },
    async *watch(revision: bigint): AsyncGenerator<WatchBatch> {
      log.push(`watch ${revision}`);
      const script = scripts[watches++ % scripts.length] ?? [];
      if (options.until === undefined && watches > scripts.length) {
        controller.abort();
        throw controller.signal.reason;
      }
      for (const step of script) {
        if (step instanceof Error) throw step;
        yield step;
      }
    },
  };
  const logger: Logger = {
    ...silentLogger,
    info: (line) => lines.push(`info ${line}`),
    warning: (line) => lines.push(`warning ${line}`),
  };
  const watcher = new LeaseWatcher(
    { registry, clock, logger, random: options.random ?? (() => 1) },
    {
      ...(options.from !== undefined && { from: options.from }),
      onSnapshot: ({ revision }) => log.push(`snapshot ${revision}`),
      onBatch: ({ events, revision }) => log.push(`batch ${revision}: ${events.length}`),
    },
  );
  await assert.rejects(watcher.run(controller.signal));
  return { log, lines, clock, watcher, watches };
}

test('a watch resumes after what was delivered, without a new list', async () => {
  const { log } = await play([
    [mark(10n), { events: [put('a', 11n)], revision: 11n }, unreachable],
    [mark(11n), { events: [put('b', 14n)], revision: 14n }, unreachable],
  ]);
  assert.deepEqual(log, [
    'list',
    'snapshot 10',
    'watch 10',
    'batch 11: 1',
    'watch 11',
    'batch 14: 1',
    'watch 14',
  ]);
});

test('what is known already is not listed', async () => {
  const { log } = await play([[mark(7n), unreachable], [new CompactedError('compacted')]], { from: 7n });
  assert.deepEqual(log, ['watch 7', 'watch 7', 'list', 'snapshot 10', 'watch 10']);
});

test('lost events lead to a new list, and the watch goes on from there', async () => {
  const { log, lines } = await play([[mark(11n), new CompactedError('compacted')]]);
  assert.deepEqual(log, ['list', 'snapshot 10', 'watch 10', 'list', 'snapshot 10', 'watch 10']);
  assert.deepEqual(lines, ['info listing all leases again: compacted']);
});

test('batches that arrive in one turn are delivered as one, in order', async () => {
  const { log } = await play([
    [
      mark(10n),
      { events: [put('a', 11n), put('b', 11n)], revision: 11n },
      { events: [put('c', 12n)], revision: 12n },
      mark(13n),
      unreachable,
    ],
  ]);
  assert.deepEqual(log.slice(2), ['watch 10', 'batch 13: 3', 'watch 13']);
});

test('events are counted, and the times that the registry was back', async () => {
  const { watcher } = await play([
    [mark(10n), { events: [put('a', 11n), put('b', 12n)], revision: 12n }, unreachable],
    [mark(12n), unreachable],
    [mark(12n), { events: [put('c', 13n)], revision: 13n }, unreachable],
  ]);
  assert.deepEqual(watcher.counts, { reconnects: 2, events: 3 });
});

test('an outage is logged at its start and at its end, however many attempts it takes', async () => {
  const { lines } = await play([[unreachable], [unreachable], [unreachable], [mark(10n), unreachable]]);
  assert.deepEqual(lines, [
    'warning lost etcd, going on with the peers known so far: cannot watch the leases: connection refused',
    'info etcd is back after 1.4 s',
    'warning lost etcd, going on with the peers known so far: cannot watch the leases: connection refused',
  ]);
});

test('however a watch ends, an hour of it is some hundreds of attempts and not a busy loop', async () => {
  const endings: readonly Script[] = [
    [unreachable],
    [],
    [mark(10n), unreachable],
    [new CompactedError('again')],
  ];
  for (const ending of endings) {
    const { watches, clock } = await play([ending], { until: 3_600_000, random: () => 0.5 });
    assert.ok(watches < 1_500, `${watches} watches in an hour`);
    assert.ok(watches > 700, `${watches} watches in an hour`);
    assert.ok(Math.max(...clock.sleeps) <= 5_000);
  }
});

test('the state has the reason, and certainty is as old as the last sign of the registry', async () => {
  const { watcher } = await play([[mark(10n), unreachable], [unreachable]]);
  assert.deepEqual(watcher.state, {
    kind: 'retrying',
    reason: 'cannot watch the leases: connection refused',
  });
  assert.equal(watcher.certainAt, 0);
});

test('with a real registry behind it, snapshot and batches add up to what is stored', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const registry = new MemoryRegistry({ clock: systemClock });
  await registry.create('before', '', undefined, signal);
  const names: string[] = [];
  const watcher = new LeaseWatcher(
    { registry, clock: systemClock, random: () => 1, logger: silentLogger },
    {
      onSnapshot: ({ records }) => names.push(...records.map(({ name }) => name)),
      onBatch: ({ events }) => {
        names.push(...events.map((event) => (event.type === 'put' ? event.record.name : event.name)));
        if (names.length === 4) controller.abort();
      },
    },
  );
  const running = watcher.run(signal);
  for (const name of ['one', 'two', 'three']) {
    await turn();
    await registry.create(name, '', undefined, signal);
  }
  await assert.rejects(running);
  assert.deepEqual(names, ['before', 'one', 'two', 'three']);
});

/** The pauses of a run with `last` watches, each of which does what `watch` does with its number. */
async function pausesOf(
  last: number,
  watch: (number: number, clock: SleepyClock) => AsyncGenerator<WatchBatch>,
): Promise<readonly number[]> {
  const controller = new AbortController();
  const clock = new SleepyClock(1e9, () => {});
  let watches = 0;
  const registry = {
    description: 'etcd',
    list: async () => ({ records: [], revision: 1n }),
    watch() {
      if (++watches === last) controller.abort();
      return watch(watches, clock);
    },
  };
  const handlers = { onSnapshot() {}, onBatch() {} };
  const watcher = new LeaseWatcher({ registry, clock, logger: silentLogger, random: () => 1 }, handlers);
  await assert.rejects(watcher.run(controller.signal));
  return clock.sleeps;
}

test('a connection that lasted makes the next pause a short one again', async () => {
  const pauses = await pausesOf(12, async function* (number, clock) {
    yield mark(1n);
    if (number === 10) clock.advance(1_001);
    throw unreachable;
  });
  assert.deepEqual(pauses.slice(7), [5_000, 5_000, 200, 400]);
});

test('a store that restarts every few seconds is found again after a short pause each time', async () => {
  const pauses = await pausesOf(60, async function* (number, clock) {
    // Each restart costs a refused attempt, too.
    if (number % 2 === 0) throw unreachable;
    yield mark(1n);
    clock.advance(2_000);
    throw unreachable;
  });
  assert.ok(Math.max(...pauses) <= 400, `a pause of ${Math.max(...pauses)} ms`);
});

test('a failure that takes long to show is no success', async () => {
  // biome-ignore lint/correctness/useYield: it fails before it has anything to yield
  const pauses = await pausesOf(10, async function* (_number, clock) {
    clock.advance(10_000);
    throw unreachable;
  });
  assert.deepEqual(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000]);
});
