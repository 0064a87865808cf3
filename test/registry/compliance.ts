import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import type { LeaseRecord, Registry, WatchEvent, WriteOutcome } from '#src/registry/registry.ts';

/** A store to run the suite against, which nobody else uses. */
export interface Harness {
  readonly registry: Registry;
  /** A second client of the same store, or the same one where there is only one. */
  readonly other: Registry;
  /** Puts the network config, as an operator does, or removes it. */
  writeConfig(text: string | undefined): Promise<void>;
  /** Makes the store forget the events so far. */
  compact(): Promise<void>;
  /** Writes a key that only begins like the folder: `<prefix>/subnets-extra/x`; absent where there are no such keys. */
  writeNeighbour?(): Promise<void>;
  close(): Promise<void>;
}

const GIVE_UP_MS = 20_000;
const VALUE = '{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"82:4b:b6:2f:54:4e"}}';
const DAY = 86_400;

/** What every registry promises, whichever store is behind it. */
export function complianceSuite(name: string, open: () => Promise<Harness>): void {
  describe(`registry compliance: ${name}`, () => {
    let harness: Harness;
    let registry: Registry;
    const signal = () => AbortSignal.timeout(GIVE_UP_MS);
    before(async () => {
      harness = await open();
      registry = harness.registry;
    });
    after(async () => {
      await harness.close();
    });

    test('an empty store has no config and an empty list', async () => {
      assert.equal(await registry.readConfig(signal()), undefined);
      assert.deepEqual((await registry.list(signal())).records, []);
      assert.equal(await registry.read('10.1.0.0-24', signal()), undefined);
    });

    test('the config is read as it was written', async () => {
      const config = '{"Network":"10.0.0.0/16",\n "Backend":{"Type":"vxlan"}}';
      await harness.writeConfig(config);
      assert.equal(await registry.readConfig(signal()), config);
    });

    test('the config is followed: another text, none, a text again', async () => {
      const texts: (string | undefined)[] = [];
      const steps = ['{"Network":"10.1.0.0/16"}', undefined, '{"Network":"10.2.0.0/16"}'];
      await harness.writeConfig('{}');
      for await (const text of registry.watchConfig(signal())) {
        if (texts.length > 0 && texts.at(-1) === text) continue;
        texts.push(text);
        if (steps.length === 0) break;
        await harness.writeConfig(steps.shift());
      }
      assert.deepEqual(texts, ['{}', '{"Network":"10.1.0.0/16"}', undefined, '{"Network":"10.2.0.0/16"}']);
      const reason = new Error('enough');
      await assert.rejects(async () => {
        for await (const _ of registry.watchConfig(AbortSignal.abort(reason)));
      }, reason);
    });

    test('a created record is read back, and is listed', async () => {
      const record = written(await registry.create('10.1.1.0-24', VALUE, DAY, signal()));
      assert.equal(record.value, VALUE);
      assert.deepEqual(stripExpiry(await registry.read('10.1.1.0-24', signal())), stripExpiry(record));
      const listed = (await harness.other.list(signal())).records.find(({ name }) => name === record.name);
      assert.deepEqual(stripExpiry(listed), stripExpiry(record));
    });

    test('a record that exists is not created again', async () => {
      await registry.create('10.1.2.0-24', 'first', DAY, signal());
      assert.deepEqual(await harness.other.create('10.1.2.0-24', 'second', DAY, signal()), {
        outcome: 'conflict',
      });
      assert.equal((await registry.read('10.1.2.0-24', signal()))?.value, 'first');
    });

    test('of many who create one record at once, one wins', async () => {
      const contenders = Array.from({ length: 8 }, (_, i) => (i % 2 ? registry : harness.other));
      const outcomes = await Promise.all(
        contenders.map((contender, i) => contender.create('10.1.3.0-24', `by ${i}`, DAY, signal())),
      );
      const winners = outcomes.filter(({ outcome }) => outcome === 'written');
      assert.equal(winners.length, 1);
      assert.equal((await registry.read('10.1.3.0-24', signal()))?.value, written(winners[0]).value);
    });

    test('a record is replaced only at the revision that was read', async () => {
      const first = written(await registry.create('10.1.4.0-24', 'first', DAY, signal()));
      const second = written(await registry.replace(first, 'second', DAY, signal()));
      assert.ok(second.revision > first.revision);
      assert.deepEqual(await registry.replace(first, 'late', DAY, signal()), { outcome: 'conflict' });
      assert.equal((await registry.read('10.1.4.0-24', signal()))?.value, 'second');
    });

    test('a record that is replaced keeps the revision that created it', async () => {
      const first = written(await registry.create('10.1.10.0-24', 'first', DAY, signal()));
      await registry.replace(first, 'second', DAY, signal());
      const { records } = await registry.list(signal());
      const listed = records.find(({ name }) => name === '10.1.10.0-24');
      assert.equal(listed?.created, first.revision);
      assert.deepEqual(
        await registry.read('10.1.10.0-24', signal()).then((record) => record?.created),
        first.revision,
      );
    });

    test('a record is removed only at the revision that was read, and once', async () => {
      const first = written(await registry.create('10.1.5.0-24', 'first', DAY, signal()));
      const second = written(await registry.replace(first, 'second', DAY, signal()));
      assert.equal(await registry.remove(first, signal()), false);
      assert.equal(await registry.remove(second, signal()), true);
      assert.equal(await registry.remove(second, signal()), false);
      assert.equal(await registry.read('10.1.5.0-24', signal()), undefined);
      assert.deepEqual(await registry.replace(second, 'risen', DAY, signal()), { outcome: 'conflict' });
    });

    test('a reservation stays one when it is replaced without a TTL', async () => {
      const first = written(await registry.create('10.1.6.0-24', 'first', undefined, signal()));
      assert.deepEqual(first.expiry, { kind: 'reservation' });
      const second = written(await registry.replace(first, 'second', undefined, signal()));
      assert.deepEqual(second.expiry, { kind: 'reservation' });
      const read = await registry.read('10.1.6.0-24', signal());
      assert.deepEqual(read?.expiry, { kind: 'reservation' });
      assert.equal(await registry.expiryOf(second, signal()), undefined);
    });

    test('a lease becomes a reservation and a lease again as its TTL is left out or given', async () => {
      const lease = written(await registry.create('10.1.7.0-24', 'a', DAY, signal()));
      const pinned = written(await registry.replace(lease, 'b', undefined, signal()));
      assert.deepEqual((await registry.read(pinned.name, signal()))?.expiry, { kind: 'reservation' });
      const again = written(await registry.replace(pinned, 'c', DAY, signal()));
      assert.notEqual((await registry.read(again.name, signal()))?.expiry.kind, 'reservation');
    });

    test('the expiry is a day from now, by our clock', async () => {
      const record = written(await registry.create('10.1.8.0-24', VALUE, DAY, signal()));
      const expiry = await registry.expiryOf(record, signal());
      const left = (expiry ?? 0) - Date.now();
      assert.ok(left > (DAY - 60) * 1000 && left < (DAY + 60) * 1000, `${left} ms left`);
    });

    test('a lease is renewed without a change that anybody sees, or needs a write', async () => {
      const record = written(await registry.create('10.1.9.0-24', VALUE, 100, signal()));
      const { revision } = await registry.list(signal());
      assert.equal(await registry.renew(record, 10, signal()), false, 'it has another TTL');
      const renewed = await registry.renew(record, 100, signal());
      assert.equal(renewed, registry.api !== 'v2');
      assert.equal((await registry.list(signal())).revision, revision);
      assert.equal((await registry.read(record.name, signal()))?.revision, record.revision);
      const left = ((await registry.expiryOf(record, signal())) ?? 0) - Date.now();
      assert.ok(left > 0 && left < 110_000, `${left} ms left`);
      assert.equal(await registry.remove(record, signal()), true);
    });

    test('what can’t be renewed: a reservation, and a lease that is gone', async () => {
      const reserved = written(await registry.create('10.1.11.0-24', VALUE, undefined, signal()));
      assert.equal(await registry.renew(reserved, 100, signal()), false);
      const lease = written(await registry.create('10.1.12.0-24', VALUE, 100, signal()));
      assert.equal(await registry.remove(lease, signal()), true);
      assert.equal(await registry.renew(lease, 100, signal()), false);
    });

    test('a lease that is renewed again and again does not end', async (t) => {
      if (registry.api === 'v2') return t.skip('v2 renews by a write');
      const record = written(await registry.create('10.1.13.0-24', VALUE, 2, signal()));
      const other = written(await harness.other.create('10.1.14.0-24', VALUE, 2, signal()));
      // As long as the other lease of the same age lives.
      for (let lives = true; lives; ) {
        assert.equal(await registry.renew(record, 2, signal()), true);
        lives = (await harness.other.read(other.name, signal())) !== undefined;
      }
      // Removed, so that its end is no event in a later test.
      assert.equal(await registry.remove(record, signal()), true);
    });

    test('values come back text for text', async () => {
      const values = {
        '10.2.0.0-24': '',
        '10.2.1.0-24': 'a&b=c+d%20e;f g\r\n\ttab "quoted" \\back',
        '10.2.2.0-24': 'nul \0 bell \x07 é ü 漢字 🜁 \u2028 \ufeff',
        '10.2.3.0-24&fd00:10:5:7::-64': VALUE,
        '10.2.4.0-24': 'x'.repeat(100_000),
      };
      for (const [name, value] of Object.entries(values)) await registry.create(name, value, DAY, signal());
      const { records } = await registry.list(signal());
      const stored = Object.fromEntries(records.map((record) => [record.name, record.value]));
      for (const [name, value] of Object.entries(values)) {
        assert.equal(stored[name], value);
        assert.equal((await registry.read(name, signal()))?.value, value);
      }
    });

    test('a name that is no subnet is a record like another: judging it is not the registry’s', async () => {
      for (const name of ['junk', 'a b+c%', 'deeper/key']) {
        const record = written(await registry.create(name, 'junk', DAY, signal()));
        const { records } = await registry.list(signal());
        assert.deepEqual(stripExpiry(records.find((listed) => listed.name === name)), stripExpiry(record));
        assert.equal(await registry.remove(record, signal()), true);
      }
    });

    test('a key that only begins like the folder is neither listed nor watched', async (t) => {
      if (harness.writeNeighbour === undefined) return t.skip('this store has no such keys');
      const { revision, records } = await registry.list(signal());
      const seen = watchFor(registry, revision, signal(), (events) => events.length >= 1);
      await harness.writeNeighbour();
      await registry.create('10.3.0.0-24', VALUE, DAY, signal());
      assert.deepEqual((await seen).map(nameOf), ['10.3.0.0-24']);
      assert.equal((await registry.list(signal())).records.length, records.length + 1);
    });

    test('a watch delivers every change after the list, in order', async () => {
      const { revision } = await registry.list(signal());
      const seen = watchFor(registry, revision, signal(), (events) => events.length >= 23);
      const names = Array.from({ length: 20 }, (_, i) => `10.4.${i}.0-24`);
      for (const name of names) await harness.other.create(name, VALUE, DAY, signal());
      const [first] = names;
      const record = await registry.read(first ?? '', signal());
      assert.ok(record);
      const replaced = written(await registry.replace(record, 'new', DAY, signal()));
      await registry.remove(replaced, signal());
      await registry.create('10.4.99.0-24', VALUE, undefined, signal());
      assert.deepEqual(
        (await seen).map((event) => `${event.type} ${nameOf(event)}`),
        [...names.map((name) => `put ${name}`), `put ${first}`, `removed ${first}`, 'put 10.4.99.0-24'],
      );
    });

    test('a watch resumes after the last batch without a gap or a repetition', async () => {
      let { revision } = await registry.list(signal());
      const names = Array.from({ length: 30 }, (_, i) => `10.5.${i}.0-24`);
      const create = async () => {
        for (const name of names) await harness.other.create(name, VALUE, DAY, signal());
      };
      const seen: string[] = [];
      const creating = create();
      const watchOnce = async (): Promise<void> => {
        for await (const batch of registry.watch(revision, signal())) {
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
      const { revision } = await registry.list(signal());
      await registry.create('10.6.0.0-24', VALUE, DAY, signal());
      await harness.compact();
      await assert.rejects(async () => {
        for await (const _ of registry.watch(revision, signal()));
      }, CompactedError);
      const again = await registry.list(signal());
      assert.ok(again.records.some(({ name }) => name === '10.6.0.0-24'));
      const seen = watchFor(registry, again.revision, signal(), (events) => events.length >= 1);
      await registry.create('10.6.1.0-24', VALUE, DAY, signal());
      assert.deepEqual((await seen).map(nameOf), ['10.6.1.0-24']);
    });

    test('a record whose time is up is seen as removed', async () => {
      const record = written(await registry.create('10.7.0.0-24', VALUE, 2, signal()));
      const isRemoval = (event: WatchEvent) => event.type === 'removed' && event.name === record.name;
      const seen = await watchFor(registry, record.revision, signal(), (events) => events.some(isRemoval));
      assert.ok(seen.some(isRemoval));
      assert.equal(await registry.read(record.name, signal()), undefined);
      assert.equal(await registry.expiryOf(record, signal()), undefined);
    });

    test('an aborted watch ends with the signal’s reason', async () => {
      const { revision } = await registry.list(signal());
      const controller = new AbortController();
      const reason = new Error('enough');
      await assert.rejects(async () => {
        for await (const _ of registry.watch(revision, controller.signal)) controller.abort(reason);
      }, reason);
      await assert.rejects(registry.list(controller.signal), reason);
    });

    test('5,000 records are listed as of one revision', async () => {
      const names = Array.from({ length: 5_000 }, (_, i) => `10.${100 + (i >> 8)}.${i & 255}.0-24`);
      for (let i = 0; i < names.length; i += 100) {
        await Promise.all(
          names.slice(i, i + 100).map((name) => registry.create(name, VALUE, undefined, signal())),
        );
      }
      const listing = registry.list(signal());
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
  registry: Registry,
  revision: bigint,
  signal: AbortSignal,
  enough: (events: readonly WatchEvent[]) => boolean,
): Promise<readonly WatchEvent[]> {
  const seen: WatchEvent[] = [];
  for await (const batch of registry.watch(revision, signal)) {
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
