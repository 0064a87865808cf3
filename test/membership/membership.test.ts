import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { join, longestPause } from '#src/membership/join.ts';
import type { Membership, PeerMessage } from '#src/membership/membership.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { handedOutBy } from '#src/network/overlap-rules.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import { CompactedError } from '#src/registry/errors.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { MemoryNetwork } from '../support/memory-membership.ts';

/** A network that a member can join, and on which others write. */
interface Place {
  join(node: string): Promise<Membership>;
  put(name: string, value: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Makes the members lose events. */
  lose(): Promise<void>;
  /** How many calls to the store are under way: watches, reads, writes. */
  busy(): number;
}

const CONFIG = parseNetworkConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
const attributesOf = (node: string, address = 0xac104601): LeaseAttributes => ({
  publicIp: ipv4(address),
  backendType: 'vxlan',
  backendData: { VtepMAC: '02:00:00:00:00:01' },
  node,
});
const { signal } = new AbortController();

/** Over a {@link Registry}, as over etcd. */
function overRegistry(): Place {
  const registry = new MemoryRegistry({ clock: systemClock });
  let watches = 0;
  let lost = false;
  const watch = registry.watch.bind(registry);
  registry.watch = async function* (revision, watchSignal) {
    watches++;
    try {
      for await (const batch of watch(revision, watchSignal)) {
        if (lost) {
          lost = false;
          throw new CompactedError('events were lost');
        }
        yield batch;
      }
    } finally {
      watches--;
    }
  };
  return {
    join: (node) =>
      join(
        { registry, clock: systemClock, random: () => 0, createLogger: () => silentLogger },
        {
          config: CONFIG,
          claimant: { node, publicIp: { v4: ipv4(0xac104601) } },
          previous: {},
          avoid: [],
          ttlSeconds: 86_400,
          marginSeconds: 3_600,
          overlap: { handedOut: handedOutBy(CONFIG.ranges), connected: [], needed: [], allowed: false },
          attributesFor: () => attributesOf(node),
        },
        signal,
      ),
    async put(name, value) {
      const previous = await registry.read(name, signal);
      await (previous === undefined
        ? registry.create(name, value, undefined, signal)
        : registry.replace(previous, value, undefined, signal));
    },
    async remove(name) {
      const previous = await registry.read(name, signal);
      if (previous !== undefined) await registry.remove(previous, signal);
    },
    async lose() {
      lost = true;
      await registry.create('10.5.254.0-24', 'x', undefined, signal);
    },
    busy: () => watches,
  };
}

/** Without any registry. */
function inMemory(): Place {
  const network = new MemoryNetwork();
  let listeners = 0;
  const listen = network.listen.bind(network);
  network.listen = (listener) => {
    listeners++;
    const stop = listen(listener);
    return () => {
      listeners--;
      return stop();
    };
  };
  return {
    join: async (node) => network.join({ v4: prefix4(ipv4(0x0a050100), 24) }, attributesOf(node)),
    async put(name, value) {
      network.put(name, value);
    },
    async remove(name) {
      network.remove(name);
    },
    async lose() {
      network.list();
    },
    busy: () => listeners,
  };
}

/** Follows, keeping the records as an inbox would. */
function follow(membership: Membership) {
  const stopper = new AbortController();
  const kinds: string[] = [];
  const records = new Map<string, string>();
  const take = (message: PeerMessage): void => {
    kinds.push(message.kind);
    if (message.kind === 'snapshot') {
      records.clear();
      for (const { name, value } of message.records) records.set(name, value);
    } else {
      for (const event of message.events) {
        if (event.type === 'put') records.set(event.record.name, event.record.value);
        else records.delete(event.name);
      }
    }
  };
  const ended = membership.follow(take, stopper.signal);
  return { kinds, records, stopper, ended };
}

const has = (records: ReadonlyMap<string, string>, name: string, value?: string) =>
  until(() => records.has(name) && (value === undefined || records.get(name) === value), {
    what: `record ${name} ${value ?? ''}`,
  });

const PLACES: readonly (readonly [string, () => Place])[] = [
  ['over a registry', overRegistry],
  ['in memory', inMemory],
];

for (const [name, open] of PLACES) {
  describe(`a membership ${name}`, () => {
    test('holds a lease with the attributes that were asked for', async () => {
      const membership = await open().join('n1');
      const { subnets, record } = membership.own;
      assert.equal(record.name, formatSubnetName(subnets));
      assert.equal(record.value, encodeAttributes(attributesOf('n1')));
      assert.deepEqual(membership.attributes, attributesOf('n1'));
      assert.equal(membership.trouble, undefined);
    });

    test('delivers a snapshot first, then what changes, in order', async () => {
      const place = open();
      await place.put('10.5.77.0-24', 'a');
      const { kinds, records, stopper, ended } = follow(await place.join('n1'));
      assert.equal(kinds[0], 'snapshot');
      assert.equal(records.get('10.5.77.0-24'), 'a');
      await place.put('10.5.77.0-24', 'b');
      await place.put('10.5.78.0-24', 'c');
      await has(records, '10.5.78.0-24');
      assert.equal(records.get('10.5.77.0-24'), 'b');
      await place.remove('10.5.77.0-24');
      await until(() => !records.has('10.5.77.0-24'), { what: 'removal' });
      assert.ok(kinds.slice(1).every((kind) => kind === 'batch'));
      stopper.abort();
      await assert.rejects(ended);
    });

    test('delivers a snapshot again when events were lost', async () => {
      const place = open();
      const { kinds, stopper, ended } = follow(await place.join('n1'));
      await until(() => place.busy() > 0, { what: 'watch' });
      await place.lose();
      await until(() => kinds.filter((kind) => kind === 'snapshot').length === 2, { what: 'second list' });
      stopper.abort();
      await assert.rejects(ended);
    });

    test('publishes other attributes under the same name', async () => {
      const place = open();
      const membership = await place.join('n1');
      const { records, stopper, ended } = follow(membership);
      const moved = attributesOf('n1', 0xac104602);
      membership.publish(moved);
      await has(records, membership.own.record.name, encodeAttributes(moved));
      await until(() => membership.own.record.value === encodeAttributes(moved), { what: 'own record' });
      assert.deepEqual(membership.attributes, moved);
      stopper.abort();
      await assert.rejects(ended);
    });

    test('ends with the signal’s reason, and nothing runs on', async () => {
      const place = open();
      const { kinds, stopper, ended } = follow(await place.join('n1'));
      await until(() => place.busy() === 1, { what: 'watch' });
      const reason = new Error('enough');
      stopper.abort(reason);
      await assert.rejects(ended, reason);
      assert.equal(place.busy(), 0);
      const before = kinds.length;
      await place.put('10.5.79.0-24', 'late');
      assert.equal(kinds.length, before);
    });

    test('ends with what the listener throws', async () => {
      const place = open();
      const broken = new Error('the listener is broken');
      const first = (await place.join('n1')).follow(() => {
        throw broken;
      }, signal);
      await assert.rejects(first, broken);
      const later = (await place.join('n1')).follow(({ kind }) => {
        if (kind === 'batch') throw broken;
      }, signal);
      const rejected = assert.rejects(later, broken);
      await place.put('10.5.80.0-24', 'x');
      await rejected;
      assert.equal(place.busy(), 0);
    });
  });
}

test('the own lease is kept while the peers’ listener is busy with kernel work', async () => {
  const place = overRegistry();
  const membership = await place.join('n1');
  const stopper = new AbortController();
  const { name, value } = membership.own.record;
  // The listener only queues; what takes long is done with the queue.
  const queue: PeerMessage[] = [];
  const ended = membership.follow((message) => queue.push(message), stopper.signal);
  const restored = () =>
    queue.some(
      (message) =>
        message.kind === 'batch' &&
        message.events.some((event) => event.type === 'put' && event.record.value === value),
    );
  await until(restored, { what: 'own lease' });
  queue.length = 0;
  await place.remove(name);
  await until(restored, { what: 'own lease, claimed again' });
  stopper.abort();
  await assert.rejects(ended);
});

test('few hosts look for a lost registry each second, many more rarely', () => {
  assert.deepEqual([0, 3, 1_000, 3_000, 50_000].map(longestPause), [1_000, 1_000, 1_000, 3_000, 5_000]);
});
