import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import type { LeaseRecord, Records, WatchEvent, WriteOutcome } from '#src/registry/records.ts';

/** A folder to run the suite against, which nobody else uses. */
export interface RecordsHarness {
  readonly records: Records;
  /** A second client of the same folder, or the same one where there is only one. */
  readonly other: Records;
  /** Makes the store forget the events so far. */
  compact(): Promise<void>;
  /** Writes a key that only begins like the folder: `subnets-extra/x` beside `subnets/`; absent where there are no such keys. */
  writeNeighbour?(): Promise<void>;
  close(): Promise<void>;
}

const GIVE_UP_MS = 60_000;
const VALUE = '{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"82:4b:b6:2f:54:4e"}}';
const DAY = 86_400;

/** What every folder of records promises, whichever store is behind it. */
export function recordsSuite(name: string, open: () => Promise<RecordsHarness>): void {
  describe(`records: ${name}`, () => {
    let harness: RecordsHarness;
    let folder: Records;
    const signal = () => AbortSignal.timeout(GIVE_UP_MS);
    before(async () => {
      harness = await open();
      folder = harness.records;
    });
    after(async () => {
      await harness.close();
    });

    test('an empty folder has an empty list', async () => {
      assert.deepEqual((await folder.list(signal())).records, []);
      assert.equal(await folder.read('10.1.0.0-24', signal()), undefined);
    });

    test('a created record is read back, and is listed', async () => {
      const record = written(await folder.create('10.1.1.0-24', VALUE, DAY, signal()));
      assert.equal(record.value, VALUE);
      assert.deepEqual(stripExpiry(await folder.read('10.1.1.0-24', signal())), stripExpiry(record));
      const listed = (await harness.other.list(signal())).records.find(({ name }) => name === record.name);
      assert.deepEqual(stripExpiry(listed), stripExpiry(record));
    });

    test('a record that exists is not created again', async () => {
      await folder.create('10.1.2.0-24', 'first', DAY, signal());
      assert.deepEqual(await harness.other.create('10.1.2.0-24', 'second', DAY, signal()), {
        outcome: 'conflict',
      });
      assert.equal((await folder.read('10.1.2.0-24', signal()))?.value, 'first');
    });

    test('of many who create one record at once, one wins', async () => {
      const contenders = Array.from({ length: 8 }, (_, i) => (i % 2 ? folder : harness.other));
      const outcomes = await Promise.all(
        contenders.map((contender, i) => contender.create('10.1.3.0-24', `by ${i}`, DAY, signal())),
      );
      const winners = outcomes.filter(({ outcome }) => outcome === 'written');
      assert.equal(winners.length, 1);
      assert.equal((await folder.read('10.1.3.0-24', signal()))?.value, written(winners[0]).value);
    });

    test('a record is replaced only at the revision that was read', async () => {
      const first = written(await folder.create('10.1.4.0-24', 'first', DAY, signal()));
      const second = written(await folder.replace(first, 'second', DAY, signal()));
      assert.ok(second.revision > first.revision);
      assert.deepEqual(await folder.replace(first, 'late', DAY, signal()), { outcome: 'conflict' });
      assert.equal((await folder.read('10.1.4.0-24', signal()))?.value, 'second');
    });

    test('a record that is replaced keeps the revision that created it', async () => {
      const first = written(await folder.create('10.1.10.0-24', 'first', DAY, signal()));
      await folder.replace(first, 'second', DAY, signal());
      const { records } = await folder.list(signal());
      const listed = records.find(({ name }) => name === '10.1.10.0-24');
      assert.equal(listed?.created, first.revision);
      assert.deepEqual(
        await folder.read('10.1.10.0-24', signal()).then((record) => record?.created),
        first.revision,
      );
    });

    test('a record is removed only at the revision that was read, and once', async () => {
      const first = written(await folder.create('10.1.5.0-24', 'first', DAY, signal()));
      const second = written(await folder.replace(first, 'second', DAY, signal()));
      assert.equal(await folder.remove(first, signal()), false);
      assert.equal(await folder.remove(second, signal()), true);
      assert.equal(await folder.remove(second, signal()), false);
      assert.equal(await folder.read('10.1.5.0-24', signal()), undefined);
      assert.deepEqual(await folder.replace(second, 'risen', DAY, signal()), { outcome: 'conflict' });
    });

    test('a reservation stays one when it is replaced without a TTL', async () => {
      const first = written(await folder.create('10.1.6.0-24', 'first', undefined, signal()));
      assert.deepEqual(first.expiry, { kind: 'reservation' });
      const second = written(await folder.replace(first, 'second', undefined, signal()));
      assert.deepEqual(second.expiry, { kind: 'reservation' });
      const read = await folder.read('10.1.6.0-24', signal());
      assert.deepEqual(read?.expiry, { kind: 'reservation' });
      assert.equal(await folder.expiryOf(second, signal()), undefined);
    });

    test('a lease becomes a reservation and a lease again as its TTL is left out or given', async () => {
      const lease = written(await folder.create('10.1.7.0-24', 'a', DAY, signal()));
      const pinned = written(await folder.replace(lease, 'b', undefined, signal()));
      assert.deepEqual((await folder.read(pinned.name, signal()))?.expiry, { kind: 'reservation' });
      const again = written(await folder.replace(pinned, 'c', DAY, signal()));
      assert.notEqual((await folder.read(again.name, signal()))?.expiry.kind, 'reservation');
    });

    test('the expiry is a day from now, by our clock', async () => {
      const record = written(await folder.create('10.1.8.0-24', VALUE, DAY, signal()));
      const expiry = await folder.expiryOf(record, signal());
      const left = (expiry ?? 0) - Date.now();
      assert.ok(left > (DAY - 60) * 1000 && left < (DAY + 60) * 1000, `${left} ms left`);
    });

    test('a lease is renewed without a change that anybody sees, or needs a write', async () => {
      const record = written(await folder.create('10.1.9.0-24', VALUE, 100, signal()));
      const { revision } = await folder.list(signal());
      assert.equal(await folder.renew(record, 10, signal()), false, 'it has another TTL');
      const renewed = await folder.renew(record, 100, signal());
      assert.equal(renewed, folder.api !== 'v2');
      assert.equal((await folder.list(signal())).revision, revision);
      assert.equal((await folder.read(record.name, signal()))?.revision, record.revision);
      const left = ((await folder.expiryOf(record, signal())) ?? 0) - Date.now();
      assert.ok(left > 0 && left < 110_000, `${left} ms left`);
      assert.equal(await folder.remove(record, signal()), true);
    });

    test('what can’t be renewed: a reservation, and a lease that is gone', async () => {
      const reserved = written(await folder.create('10.1.11.0-24', VALUE, undefined, signal()));
      assert.equal(await folder.renew(reserved, 100, signal()), false);
      const lease = written(await folder.create('10.1.12.0-24', VALUE, 100, signal()));
      assert.equal(await folder.remove(lease, signal()), true);
      assert.equal(await folder.renew(lease, 100, signal()), false);
    });

    test('a lease that is renewed again and again does not end', async (t) => {
      if (folder.api === 'v2') return t.skip('v2 renews by a write');
      const record = written(await folder.create('10.1.13.0-24', VALUE, 2, signal()));
      const other = written(await harness.other.create('10.1.14.0-24', VALUE, 2, signal()));
      // As long as the other lease of the same age lives.
      for (let lives = true; lives; ) {
        assert.equal(await folder.renew(record, 2, signal()), true);
        lives = (await harness.other.read(other.name, signal())) !== undefined;
      }
      // Removed, so that its end is no event in a later test.
      assert.equal(await folder.remove(record, signal()), true);
    });

    test('values come back text for text', async () => {
      const values = {
        '10.2.0.0-24': '',
        '10.2.1.0-24': 'a&b=c+d%20e;f g\r\n\ttab "quoted" \\back',
        '10.2.2.0-24': 'nul \0 bell \x07 é ü 漢字 🜁 \u2028 \ufeff',
        '10.2.3.0-24&fd00:10:5:7::-64': VALUE,
        '10.2.4.0-24': 'x'.repeat(100_000),
      };
      for (const [name, value] of Object.entries(values)) await folder.create(name, value, DAY, signal());
      const { records } = await folder.list(signal());
      const stored = Object.fromEntries(records.map((record) => [record.name, record.value]));
      for (const [name, value] of Object.entries(values)) {
        assert.equal(stored[name], value);
        assert.equal((await folder.read(name, signal()))?.value, value);
      }
    });

    test('a name that is no subnet is a record like another: judging it is not the store’s', async () => {
      for (const name of ['junk', 'a b+c%', 'deeper/key']) {
        const record = written(await folder.create(name, 'junk', DAY, signal()));
        const { records } = await folder.list(signal());
        assert.deepEqual(stripExpiry(records.find((listed) => listed.name === name)), stripExpiry(record));
        assert.equal(await folder.remove(record, signal()), true);
      }
    });

    test('a key that only begins like the folder is neither listed nor watched', async (t) => {
      if (harness.writeNeighbour === undefined) return t.skip('this store has no such keys');
      const { revision, records } = await folder.list(signal());
      const seen = watchFor(folder, revision, signal(), (events) => events.length >= 1);
      await harness.writeNeighbour();
      await folder.create('10.3.0.0-24', VALUE, DAY, signal());
      assert.deepEqual((await seen).map(nameOf), ['10.3.0.0-24']);
      assert.equal((await folder.list(signal())).records.length, records.length + 1);
    });

    test('a watch delivers every change after the list, in order', async () => {
      const { revision } = await folder.list(signal());
      const seen = watchFor(folder, revision, signal(), (events) => events.length >= 23);
      const names = Array.from({ length: 20 }, (_, i) => `10.4.${i}.0-24`);
      for (const name of names) await harness.other.create(name, VALUE, DAY, signal());
      const [first] = names;
      const record = await folder.read(first ?? '', signal());
      assert.ok(record);
      const replaced = written(await folder.replace(record, 'new', DAY, signal()));
      await folder.remove(replaced, signal());
      await folder.create('10.4.99.0-24', VALUE, undefined, signal());
      assert.deepEqual(
        (await seen).map((event) => `${event.type} ${nameOf(event)}`),
        [...names.map((name) => `put ${name}`), `put ${first}`, `removed ${first}`, 'put 10.4.99.0-24'],
      );
    });

    test('a watch resumes after the last batch without a gap or a repetition', async () => {
      let { revision } = await folder.list(signal());
      const names = Array.from({ length: 30 }, (_, i) => `10.5.${i}.0-24`);
      const create = async () => {
        for (const name of names) await harness.other.create(name, VALUE, DAY, signal());
      };
      const seen: string[] = [];
      const creating = create();
      const watchOnce = async (): Promise<void> => {
        for await (const batch of folder.watch(revision, signal())) {
          revision = batch.revision;
          seen.push(...batch.events.map(nameOf));
          // Ends this watch after every batch that said something.
          if (batch.events.length > 0) break;
        }
      };
      while (seen.length < names.length) {
        await watchOnce().catch((error) => {
          // A connection may break: the next watch resumes all the same.
          if (!(error instanceof RegistryError)) throw error;
        });
      }
      await creating;
      assert.deepEqual(seen, names);
    });

    test('a watch from a forgotten revision asks for a new list', async () => {
      const { revision } = await folder.list(signal());
      await folder.create('10.6.0.0-24', VALUE, DAY, signal());
      await harness.compact();
      await assert.rejects(async () => {
        for await (const _ of folder.watch(revision, signal()));
      }, CompactedError);
      const again = await folder.list(signal());
      assert.ok(again.records.some(({ name }) => name === '10.6.0.0-24'));
      const seen = watchFor(folder, again.revision, signal(), (events) => events.length >= 1);
      await folder.create('10.6.1.0-24', VALUE, DAY, signal());
      assert.deepEqual((await seen).map(nameOf), ['10.6.1.0-24']);
    });

    test('a record whose time is up is seen as removed', async () => {
      const record = written(await folder.create('10.7.0.0-24', VALUE, 2, signal()));
      const isRemoval = (event: WatchEvent) => event.type === 'removed' && event.name === record.name;
      const seen = await watchFor(folder, record.revision, signal(), (events) => events.some(isRemoval));
      assert.ok(seen.some(isRemoval));
      assert.equal(await folder.read(record.name, signal()), undefined);
      assert.equal(await folder.expiryOf(record, signal()), undefined);
    });

    test('an aborted watch ends with the signal’s reason', async () => {
      const { revision } = await folder.list(signal());
      const controller = new AbortController();
      const reason = new Error('enough');
      await assert.rejects(async () => {
        for await (const _ of folder.watch(revision, controller.signal)) controller.abort(reason);
      }, reason);
      await assert.rejects(folder.list(controller.signal), reason);
    });

    test('5,000 records are listed as of one revision', async () => {
      const names = Array.from({ length: 5_000 }, (_, i) => `10.${100 + (i >> 8)}.${i & 255}.0-24`);
      for (let i = 0; i < names.length; i += 100) {
        await Promise.all(
          names.slice(i, i + 100).map((name) => folder.create(name, VALUE, undefined, signal())),
        );
      }
      const listing = folder.list(signal());
      // Whether it falls before or after the list: a list without it must be older than it.
      const late = written(await harness.other.create('10.200.0.0-24', VALUE, DAY, signal()));
      const { records, revision } = await listing;
      const listed = new Map(records.map((record) => [record.name, record]));
      assert.equal(listed.size, records.length);
      assert.deepEqual(
        names.filter((name) => listed.get(name)?.value !== VALUE),
        [],
      );
      assert.equal(listed.has(late.name), late.revision <= revision);
    });
  });
}

/** Collects a watch's events until there are enough. */
export async function watchFor(
  records: Records,
  revision: bigint,
  signal: AbortSignal,
  enough: (events: readonly WatchEvent[]) => boolean,
): Promise<readonly WatchEvent[]> {
  const seen: WatchEvent[] = [];
  for await (const batch of records.watch(revision, signal)) {
    seen.push(...batch.events);
    if (enough(seen)) break;
  }
  return seen;
}

export const nameOf = (event: WatchEvent): string => (event.type === 'put' ? event.record.name : event.name);

export function written(outcome: WriteOutcome | undefined): LeaseRecord {
  assert.ok(outcome?.outcome === 'written', `the write was lost: ${outcome?.outcome}`);
  return outcome.record;
}

/** The time left differs from read to read. */
function stripExpiry(record: LeaseRecord | undefined): object | undefined {
  return record && { ...record, expiry: record.expiry.kind };
}
