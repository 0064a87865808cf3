import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as fc from 'fast-check';
import { MemoryRegistry } from '#src/registry/memory.ts';
import type { LeaseRecord, Registry } from '#src/registry/registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { nameOf, watchFor } from './compliance.ts';
import { openEtcd } from './open-etcd.ts';

/** What a random caller does. `hold` says which of the revisions it has seen of that name it acts on. */
type Step =
  | {
      readonly act: 'create';
      readonly name: string;
      readonly value: string;
      readonly ttl: number | undefined;
    }
  | {
      readonly act: 'replace';
      readonly name: string;
      readonly hold: number;
      readonly value: string;
      readonly ttl: number | undefined;
    }
  | { readonly act: 'remove'; readonly name: string; readonly hold: number }
  | { readonly act: 'read'; readonly name: string }
  | { readonly act: 'list' };

const name = fc.constantFrom('10.1.0.0-24', '10.2.0.0-24', 'junk/key');
const value = fc.string({ unit: 'binary', maxLength: 20 }).filter((text) => text.isWellFormed());
const ttl = fc.constantFrom(undefined, 86_400);
const hold = fc.nat(3);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ act: fc.constant('create' as const), name, value, ttl }),
  fc.record({ act: fc.constant('replace' as const), name, hold, value, ttl }),
  fc.record({ act: fc.constant('remove' as const), name, hold }),
  fc.record({ act: fc.constant('read' as const), name }),
  fc.record({ act: fc.constant('list' as const) }),
);

const patience = () => AbortSignal.timeout(60_000);
const face = (record: LeaseRecord | undefined) =>
  record && `${record.name}=${record.value} ${record.expiry.kind === 'reservation' ? 'pinned' : 'leased'}`;

/** Everything a caller and a watcher see of a run, in words without revisions, which differ from store to store. */
async function play(registry: Registry, steps: readonly Step[]): Promise<readonly unknown[]> {
  const signal = patience();
  const { revision } = await registry.list(signal);
  const held = new Map<string, LeaseRecord[]>();
  const keep = (record: LeaseRecord) => held.set(record.name, [record, ...(held.get(record.name) ?? [])]);
  const seen: unknown[] = [];
  for (const step of steps) {
    if (step.act === 'list') {
      seen.push((await registry.list(signal)).records.map(face).sort());
      continue;
    }
    if (step.act === 'read') {
      seen.push(face(await registry.read(step.name, signal)));
      continue;
    }
    if (step.act === 'create') {
      const outcome = await registry.create(step.name, step.value, step.ttl, signal);
      if (outcome.outcome === 'written') keep(outcome.record);
      seen.push(outcome.outcome);
      continue;
    }
    const previous = held.get(step.name)?.[step.hold];
    if (previous === undefined) continue;
    if (step.act === 'remove') {
      seen.push(await registry.remove(previous, signal));
      continue;
    }
    const outcome = await registry.replace(previous, step.value, step.ttl, signal);
    if (outcome.outcome === 'written') keep(outcome.record);
    seen.push(outcome.outcome);
  }
  // A last change of our own shows that the watch has delivered all before it.
  await registry.create('end', '', undefined, signal);
  const events = await watchFor(registry, revision, signal, (all) =>
    all.some((event) => nameOf(event) === 'end'),
  );
  seen.push(
    events.map((event) => (event.type === 'put' ? `put ${face(event.record)}` : `removed ${event.name}`)),
  );
  return seen;
}

let server: EtcdServer;
before(async () => {
  server = await EtcdServer.start();
});
after(async () => {
  await server.stop();
});

for (const api of ['v3', 'v2'] as const) {
  test(`memory and etcd ${api} answer every call alike`, async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const etcd = openEtcd(api, server.url, { prefix: `/run-${api}-${run++}`, callTimeoutMs: 20_000 });
        try {
          const memory = new MemoryRegistry({ clock: systemClock });
          assert.deepEqual(await play(etcd, steps), await play(memory, steps));
        } finally {
          await etcd.close();
        }
      }),
      { numRuns: 40 },
    );
  });
}
