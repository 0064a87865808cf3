import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { DeleteRangeRequest, type KeyValue, PutRequest, RangeRequest, TxnRequest } from '#src/etcd/rpc.ts';
import { openDatabase } from '#src/store/database.ts';
import { EtcdError } from '#src/store/etcd-error.ts';
import { keyRange } from '#src/store/key-range.ts';
import { RevisionStore } from '#src/store/revision-store.ts';
import { Space } from '#src/store/space.ts';
import type { Clock } from '#src/sys/clock.ts';

const folder = mkdtempSync(join(tmpdir(), 'weft-revisions-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newFile = (): string => join(folder, `${files++}.db`);

/** Time that passes when the test says so. */
class TestClock implements Clock {
  ms = 0;
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(): Promise<void> {}
}

/** Lets time pass for a store that looks twice a second whether a lease has ended. */
async function pass(clock: TestClock, store: RevisionStore, ms: number): Promise<void> {
  for (const end = clock.ms + ms; clock.ms < end; ) {
    clock.ms = Math.min(clock.ms + 500, end);
    await store.revokeExpired();
  }
}

function open(
  path = newFile(),
  clock: Clock = new TestClock(),
  failed = (error: unknown): void => {
    throw error;
  },
): RevisionStore {
  const fatal = (error: unknown): void => {
    throw error;
  };
  const db = openDatabase(path);
  const space = new Space({ db, reserve: { hold: () => true, release: () => false } }, { quota: 1n << 30n });
  return new RevisionStore({ db, clock, space, failed, fatal });
}

const bytes = (text: string): Buffer => Buffer.from(text);
const put = (key: string, value: string, lease = 0n): PutRequest =>
  PutRequest.create({ key: bytes(key), value: bytes(value), lease });
const ALL = { key: Buffer.of(0), rangeEnd: Buffer.of(0) };

/** The naive store: the whole key space, copied for every revision. */
class Model {
  readonly snapshots: (readonly KeyValue[])[] = [[], []];
  compacted = -1n;

  get revision(): bigint {
    return BigInt(this.snapshots.length - 1);
  }

  get current(): readonly KeyValue[] {
    return this.snapshots.at(-1) ?? [];
  }

  put(key: string, value: string): void {
    const old = this.current.find((kv) => kv.key.toString() === key);
    const modRevision = this.revision + 1n;
    const kv = {
      key: bytes(key),
      value: bytes(value),
      lease: 0n,
      modRevision,
      createRevision: old?.createRevision ?? modRevision,
      version: (old?.version ?? 0n) + 1n,
    };
    const others = this.current.filter((other) => other !== old);
    this.snapshots.push([...others, kv].sort((a, b) => Buffer.compare(a.key, b.key)));
  }

  delete(from: string, to: string): void {
    const left = this.current.filter(({ key }) => !(key.toString() >= from && key.toString() < to));
    if (left.length < this.current.length) this.snapshots.push(left);
  }

  /** The changes from one revision on, as differences of neighbours. */
  changes(first: bigint): { key: string; revision: bigint; deleted: boolean }[] {
    return this.snapshots.slice(Number(first)).flatMap((after, index) => {
      const revision = first + BigInt(index);
      const before = this.snapshots[Number(revision) - 1] ?? [];
      const gone = before.filter(({ key }) => !after.some((kv) => kv.key.equals(key)));
      const written = after.filter(({ modRevision }) => modRevision === revision);
      return [
        ...gone.map(({ key }) => ({ key: key.toString(), revision, deleted: true })),
        ...written.map(({ key }) => ({ key: key.toString(), revision, deleted: false })),
      ];
    });
  }
}

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), key: name, value: fc.string() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key: name, to: name }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('compact' as const), back: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
);

test('the store is a copy of the key space for every revision, also after a restart', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const path = newFile();
      const model = new Model();
      let store = open(path);
      for (const step of steps) {
        if (step.kind === 'put') {
          model.put(step.key, step.value);
          await store.put(put(step.key, step.value));
        } else if (step.kind === 'delete') {
          model.delete(step.key, step.to > step.key ? step.to : `${step.key}\0`);
          const rangeEnd = bytes(step.to > step.key ? step.to : '');
          await store.deleteRange(DeleteRangeRequest.create({ key: bytes(step.key), rangeEnd }));
        } else if (step.kind === 'compact') {
          const revision = model.revision - BigInt(step.back);
          if (revision <= model.compacted) continue;
          model.compacted = revision;
          await store.compact({ revision, physical: true });
        } else {
          store.close();
          store = open(path);
        }
        assert.equal(store.revision, model.revision);
      }
      for (let revision = 1n; revision <= model.revision; revision++) {
        const read = () => store.range(RangeRequest.create({ ...ALL, revision })).kvs;
        if (revision < model.compacted) assert.throws(read, /has been compacted/);
        else assert.deepEqual(read(), model.snapshots[Number(revision)]);
      }
      const first = model.compacted > 1n ? model.compacted : 2n;
      const seen = store.changes(keyRange(ALL.key, ALL.rangeEnd), first, model.revision + 1n).changes;
      assert.deepEqual(
        seen.map(({ kv, deleted }) => ({ key: kv.key.toString(), revision: kv.modRevision, deleted })),
        model.changes(first),
      );
      store.close();
    }),
    { numRuns: 50 },
  );
});

test('writes of one turn are one commit, each with a revision of its own, and a refused one harms no other', async () => {
  const store = open();
  const commits: bigint[][] = [];
  store.subscribe((changes) => commits.push(changes.map(({ kv }) => kv.modRevision)));
  const results = await Promise.allSettled([
    store.put(put('a', '1')),
    store.put(put('b', '1', 42n)),
    store.put(put('a', '2')),
  ]);
  assert.deepEqual(
    results.map((result) =>
      result.status === 'fulfilled' ? result.value.header?.revision : String(result.reason),
    ),
    [2n, 'EtcdError: etcdserver: requested lease not found', 3n],
  );
  assert.deepEqual(commits, [[2n, 3n]]);
  store.close();
});

test('a lease lives its whole TTL again after a restart, and ends with its keys in one revision', async () => {
  const path = newFile();
  const clock = new TestClock();
  let store = open(path, clock);
  await store.leaseGrant({ ID: 7n, TTL: 10n });
  await store.put(put('a', '', 7n));
  await store.put(put('b', '', 7n));
  await pass(clock, store, 9_000);
  assert.equal(store.leaseTimeToLive({ ID: 7n, keys: true }).TTL, 1n);
  store.close();

  store = open(path, clock);
  assert.deepEqual(store.leaseTimeToLive({ ID: 7n, keys: true }), {
    header: store.header(),
    ID: 7n,
    TTL: 10n,
    grantedTTL: 10n,
    keys: [bytes('a'), bytes('b')],
  });
  await pass(clock, store, 5_000);
  assert.equal(store.leaseKeepAlive(7n), 10n);
  await pass(clock, store, 9_999);
  assert.equal(store.revision, 3n);
  clock.ms += 1;
  assert.equal(store.leaseKeepAlive(7n), 0n, 'what has ended cannot be kept alive');
  await store.revokeExpired();
  assert.equal(store.revision, 4n);
  assert.equal(store.range(RangeRequest.create(ALL)).count, 0n);
  assert.equal(store.leaseTimeToLive({ ID: 7n, keys: false }).TTL, -1n);
  store.close();
});

test('a lease does not end while the store can hear no renewal', async () => {
  const clock = new TestClock();
  const store = open(newFile(), clock);
  await store.leaseGrant({ ID: 7n, TTL: 10n });
  await pass(clock, store, 4_000);
  clock.ms += 60_000;
  assert.equal(store.leaseTimeToLive({ ID: 7n, keys: false }).TTL, 6n);
  clock.ms += 60_000;
  assert.equal(store.leaseKeepAlive(7n), 10n, 'a renewal that waited to be read');
  clock.ms += 60_000;
  await store.revokeExpired();
  assert.deepEqual(store.leaseIds(), [7n]);
  await pass(clock, store, 10_000);
  assert.deepEqual(store.leaseIds(), []);
  store.close();
});

test('after close, what was begun is acknowledged and the rest refused', async () => {
  const path = newFile();
  const store = open(path);
  const begun = store.put(put('a', '1'));
  store.close();
  assert.equal((await begun).header?.revision, 2n);
  await assert.rejects(store.put(put('a', '2')), EtcdError);
  const again = open(path);
  assert.equal(again.revision, 2n);
  assert.ok((again.header().raftTerm ?? 0n) > 1n, 'every start is a new term');
  again.close();
});

test('a file that is not ours, or that another store holds, is refused by name', () => {
  const path = newFile();
  const store = open(path);
  assert.throws(() => openDatabase(path), /cannot open .*: another process has it open/);
  store.close();
  const foreign = newFile();
  const db = openDatabase(foreign);
  db.exec('PRAGMA application_id = 1');
  db.close();
  assert.throws(() => openDatabase(foreign), /cannot open .*: it is not a weft store/);
  assert.throws(() => openDatabase(join(folder, 'no', 'folder.db')), /unable to open database file/);
});

test('a write that fails for a reason of ours is undone and fails alone', async () => {
  const failures: unknown[] = [];
  const path = newFile();
  const store = open(path, new TestClock(), (error) => failures.push(error));
  // An id that SQLite's integers can't hold: no client can send one, so it stands for any error of ours.
  const impossible = 2n ** 63n;
  const results = await Promise.allSettled([
    store.put(put('before', '1')),
    store.leaseGrant({ ID: 7n, TTL: 60n }),
    store.txn(
      TxnRequest.create({
        success: [
          { request: { $case: 'requestPut', requestPut: put('half', 'done') } },
          {
            request: {
              $case: 'requestRange',
              // A key that is no bytes stands for any error of ours that comes after the first change.
              requestRange: RangeRequest.create({ key: 'a' as unknown as Buffer }),
            },
          },
        ],
      }),
    ),
    store.leaseGrant({ ID: impossible, TTL: 60n }),
    store.put(put('after', '2')),
  ]);
  assert.deepEqual(
    results.map((result) => (result.status === 'rejected' ? result.reason.message : 'done')),
    [
      'done',
      'done',
      'weft store: internal error, see its log',
      'weft store: internal error, see its log',
      'done',
    ],
  );
  assert.equal(failures.length, 2);
  assert.equal(store.revision, 3n);
  assert.deepEqual(keysOf(store), ['after', 'before']);
  assert.deepEqual(store.leaseIds(), [7n]);
  store.close();
  const again = open(path);
  assert.deepEqual(keysOf(again), ['after', 'before']);
  assert.deepEqual(again.leaseIds(), [7n]);
  again.close();
});

test('a range takes any limit, also inside a txn', async () => {
  const store = open();
  await store.put(put('a', '1'));
  for (const limit of [2n ** 63n - 1n, 2n ** 63n - 2n, 2n ** 62n, -1n, -(2n ** 63n)]) {
    const requestRange = RangeRequest.create({ ...ALL, limit });
    assert.equal(store.range(requestRange).kvs.length, 1, `limit ${limit}`);
    const { responses } = await store.txn(
      TxnRequest.create({ success: [{ request: { $case: 'requestRange', requestRange } }] }),
    );
    const [answer] = responses;
    assert.ok(answer?.response?.$case === 'responseRange');
    assert.equal(answer.response.responseRange.kvs.length, 1, `limit ${limit} in a txn`);
  }
  store.close();
});

test('a txn that would read everything over and over is refused, and changes nothing', async () => {
  const store = open();
  for (let n = 0; n < 40; n++) await store.put(put(`k${n}`, 'x'.repeat(100_000)));
  const requestRange = RangeRequest.create(ALL);
  const everything = { request: { $case: 'requestRange' as const, requestRange } };
  const reads = (count: number) =>
    TxnRequest.create({
      success: [
        { request: { $case: 'requestPut', requestPut: put('new', '') } },
        ...Array.from({ length: count }, () => everything),
      ],
    });
  assert.equal((await store.txn(reads(20))).responses.length, 21);
  await assert.rejects(store.txn(reads(100)), /the reads of this txn are too large/);
  assert.equal(store.revision, 42n);
  store.close();
});

function keysOf(store: RevisionStore): string[] {
  return store.range(RangeRequest.create(ALL)).kvs.map(({ key }) => key.toString());
}
