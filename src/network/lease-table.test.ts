import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ipv4, overlaps, type Prefix4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import type { Lease } from '#src/network/lease.ts';
import { judgeAlone, type LeaseRules, type RawLease } from '#src/network/lease-rules.ts';
import { type LeaseChange, LeaseTable } from '#src/network/lease-table.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const RULES: LeaseRules = {
  ranges: {
    v4: {
      network: prefix('10.5.0.0/16'),
      subnetLength: 24,
      subnetMin: ip('10.5.0.0'),
      subnetMax: ip('10.5.255.0'),
    },
  },
  ownName: '10.5.1.0-24',
  ownSubnets: { v4: prefix('10.5.1.0/24') },
  ownPublicIp: { v4: ip('192.168.0.1') },
  overlap: {
    handedOut: { v4: { first: ip('10.5.0.0'), last: ip('10.5.255.255') } },
    connected: [],
    needed: [],
    allowed: false,
  },
  judge: ({ backendData }) => (backendData === 'bad' ? 'its data is bad' : undefined),
  identityOf: ({ backendData }) => (typeof backendData === 'string' ? backendData : undefined),
};

/** A record of a host with this identity. */
const record = (name: string, mac: string, revision: number, created?: number): RawLease => ({
  name,
  value: `{"PublicIP":"192.168.0.2","BackendData":"${mac}"}`,
  revision: BigInt(revision),
  ...(created !== undefined && { created: BigInt(created) }),
  expiry: { kind: 'reservation' },
});
const replaceAll = (table: LeaseTable, raws: readonly RawLease[]): LeaseChange[] =>
  [...table.replaceAll(raws)].flat();
const useRules = (table: LeaseTable, rules: LeaseRules): LeaseChange[] => [...table.useRules(rules)].flat();
const textsOf = (changes: readonly LeaseChange[]): string[] =>
  changes.map((change) =>
    change.kind === 'quarantined'
      ? `${change.name} quarantined: ${change.reason}`
      : `${change.name} ${change.kind}`,
  );

test('leases come, change and go', () => {
  const table = new LeaseTable(RULES);
  assert.deepEqual(textsOf(table.put(record('10.5.2.0-24', 'm2', 1))), ['10.5.2.0-24 accepted']);
  assert.deepEqual(textsOf(table.put(record('10.5.2.0-24', 'm3', 2))), ['10.5.2.0-24 accepted']);
  assert.deepEqual(textsOf(table.put(record('10.5.2.0-24', 'bad', 3))), [
    '10.5.2.0-24 quarantined: its data is bad',
  ]);
  assert.deepEqual([table.accepted, [...table.quarantined]], [0, [['10.5.2.0-24', 'its data is bad']]]);
  assert.deepEqual(textsOf(table.put(record('10.5.2.0-24', 'm2', 4))), ['10.5.2.0-24 accepted']);
  assert.deepEqual(textsOf(table.remove('10.5.2.0-24')), ['10.5.2.0-24 removed']);
  assert.deepEqual(textsOf(table.remove('10.5.2.0-24')), []);
  assert.deepEqual([table.accepted, table.quarantined.size, [...table.records()]], [0, 0, []]);
});

test('a renewal changes nothing, of an accepted lease or of a quarantined one', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [
    record('10.5.2.0-24', 'm2', 1),
    record('10.5.3.0-24', 'bad', 2),
    record('10.5.4.0-24', 'm2', 3),
  ]);
  for (const [name, mac] of [
    ['10.5.2.0-24', 'm2'],
    ['10.5.3.0-24', 'bad'],
    ['10.5.4.0-24', 'm2'],
  ] as const) {
    assert.deepEqual(textsOf(table.put(record(name, mac, 9))), []);
  }
  assert.deepEqual(
    Array.from(table.records(), ({ revision }) => revision),
    [9n, 9n, 9n],
  );
});

test('an entry says when it was seen and since when its verdict stands', () => {
  let now = 1;
  const table = new LeaseTable(RULES, { seconds: () => now });
  const times = () =>
    Array.from(table.entries(), ({ raw, seen, since, lease, reason }) => [
      raw.name.split('.')[2],
      seen,
      since,
      reason === undefined ? lease?.name === raw.name : reason.split(' ')[0],
    ]);
  table.put(record('10.5.2.0-24', 'm2', 1));
  table.put(record('10.5.3.0-24', 'm2', 2));
  assert.deepEqual(times(), [
    ['2', 1, 1, true],
    ['3', 1, 1, 'its'],
  ]);
  now = 5;
  // One renewal, and one record that is listed again.
  table.put(record('10.5.2.0-24', 'm2', 7));
  table.put(record('10.5.3.0-24', 'm2', 2));
  assert.deepEqual(times(), [
    ['2', 5, 1, true],
    ['3', 1, 1, 'its'],
  ]);
  now = 9;
  table.put(record('10.5.2.0-24', 'm9', 8));
  assert.deepEqual(times(), [
    ['2', 9, 1, true],
    ['3', 1, 9, true],
  ]);
  now = 12;
  useRules(table, { ...RULES });
  assert.deepEqual(times(), [
    ['2', 9, 1, true],
    ['3', 1, 9, true],
  ]);
});

test('a record that waited is accepted as it was last renewed', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [record('10.5.2.0-24', 'm2', 1), record('10.5.3.0-24', 'm2', 2)]);
  table.put({ ...record('10.5.3.0-24', 'm2', 9), expiry: { kind: 'leased', leaseId: 7n } });
  const accepted = table
    .remove('10.5.2.0-24')
    .flatMap((change) => (change.kind === 'accepted' ? change.lease : []));
  assert.deepEqual(
    accepted.map(({ revision, expiry }) => [revision, expiry]),
    [[9n, { kind: 'leased', leaseId: 7n }]],
  );
});

test('our own record is not a peer', () => {
  const table = new LeaseTable(RULES);
  assert.deepEqual(table.put(record('10.5.1.0-24', 'm1', 1)), []);
  assert.deepEqual(replaceAll(table, [record('10.5.1.0-24', 'm1', 1)]), []);
  assert.equal(table.accepted, 0);
});

test('a subnet that overlaps an accepted one waits until that one goes', () => {
  const table = new LeaseTable(RULES);
  table.put(record('10.5.2.0-24', 'm2', 1));
  assert.deepEqual(textsOf(table.put(record('10.5.2.128-25', 'm3', 2))), [
    '10.5.2.128-25 quarantined: its subnet overlaps that of 10.5.2.0-24',
  ]);
  assert.deepEqual(textsOf(table.put(record('10.5.2.0-23', 'm4', 3))), [
    '10.5.2.0-23 quarantined: its subnet overlaps that of 10.5.2.0-24',
  ]);
  // The older one takes its place; the other goes on waiting, said once.
  assert.deepEqual(textsOf(table.remove('10.5.2.0-24')), ['10.5.2.0-24 removed', '10.5.2.128-25 accepted']);
  assert.equal(table.quarantined.get('10.5.2.0-23'), 'its subnet overlaps that of 10.5.2.128-25');
});

test('two parts of one block do not contradict each other', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [record('10.5.2.0-25', 'm2', 1), record('10.5.2.128-25', 'm3', 2)]);
  assert.equal(table.accepted, 2);
});

test('a MAC belongs to one peer: a second one waits, and renewals do not turn the tables', () => {
  const table = new LeaseTable(RULES);
  table.put(record('10.5.2.0-24', 'm2', 1));
  assert.deepEqual(textsOf(table.put(record('10.5.3.0-24', 'm2', 2))), [
    '10.5.3.0-24 quarantined: its identity m2 is also that of 10.5.2.0-24',
  ]);
  table.put(record('10.5.2.0-24', 'm2', 3));
  assert.equal(table.quarantined.has('10.5.3.0-24'), true);
  assert.deepEqual(textsOf(table.put(record('10.5.2.0-24', 'm9', 4))), [
    '10.5.2.0-24 accepted',
    '10.5.3.0-24 accepted',
  ]);
});

test('at the first reading the key that was created first is taken, however late it was renewed', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [record('10.5.3.0-24', 'm2', 50, 40), record('10.5.2.0-24', 'm2', 99, 7)]);
  assert.deepEqual([...table.quarantined.keys()], ['10.5.3.0-24']);
});

test('a MAC that moves from one peer to another in one reading is reported once for each', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [record('10.5.2.0-24', 'm2', 5), record('10.5.3.0-24', 'm3', 1)]);
  const changes = replaceAll(table, [record('10.5.3.0-24', 'm2', 6), record('10.5.2.0-24', 'm9', 7)]);
  assert.deepEqual(textsOf(changes).sort(), ['10.5.2.0-24 accepted', '10.5.3.0-24 accepted']);
});

test('what a reading of all records lacks is gone', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [record('10.5.2.0-24', 'm2', 1), record('10.5.3.0-24', 'm2', 2), record('junk', 'x', 3)]);
  assert.deepEqual(textsOf(replaceAll(table, [record('10.5.3.0-24', 'm2', 2)])).sort(), [
    '10.5.2.0-24 removed',
    '10.5.3.0-24 accepted',
    'junk removed',
  ]);
});

test('other rules change only the verdicts that they change', () => {
  const table = new LeaseTable(RULES);
  replaceAll(table, [
    record('10.5.2.0-24', 'm2', 1),
    record('10.5.3.0-24', 'm2', 2),
    record('10.5.4.0-24', 'm4', 3),
  ]);
  assert.deepEqual(useRules(table, RULES), []);
  assert.deepEqual(
    textsOf(useRules(table, { ...RULES, overlap: { ...RULES.overlap, connected: [prefix('10.5.2.0/24')] } })),
    [
      "10.5.2.0-24 quarantined: its subnet 10.5.2.0/24 overlaps the underlay's 10.5.2.0/24",
      '10.5.3.0-24 accepted',
    ],
  );
  // A lease that turns out to be our own is no peer's.
  const own = { ...RULES, ownName: '10.5.4.0-24', ownSubnet: prefix('10.5.4.0/24') };
  assert.ok(textsOf(useRules(table, own)).includes('10.5.4.0-24 removed'));
});

/** Few names and identities, so that they often contradict each other; some are hostile. */
const anyRecord: fc.Arbitrary<RawLease> = fc
  .record({
    base: fc.nat(7),
    length: fc.constantFrom(22, 23, 24, 25, 26),
    mac: fc.constantFrom('m1', 'm2', 'm3', 'm4', 'bad'),
    junk: fc.nat(19),
    revision: fc.integer({ min: 1, max: 99 }),
  })
  .map(({ base, length, mac, junk, revision }) => {
    const step = 2 ** (32 - length);
    const address = Math.floor((base * 128) / step) * step;
    const name = `10.5.${16 + (address >> 8)}.${address & 255}-${length}`;
    return junk === 0 ? { ...record('junk', mac, revision), value: '{' } : record(name, mac, revision);
  });

type Step =
  | { readonly kind: 'put'; readonly raw: RawLease }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'replaceAll'; readonly raws: readonly RawLease[] }
  | { readonly kind: 'useRules' };
const anySnapshot = fc.uniqueArray(anyRecord, { selector: ({ name }) => name, maxLength: 12 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: anyRecord.map((raw): Step => ({ kind: 'put', raw })) },
  { weight: 3, arbitrary: anyRecord.map(({ name }): Step => ({ kind: 'remove', name })) },
  { weight: 1, arbitrary: anySnapshot.map((raws): Step => ({ kind: 'replaceAll', raws })) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'useRules' }) },
);

function take(table: LeaseTable, step: Step): LeaseChange[] {
  switch (step.kind) {
    case 'put':
      return table.put(step.raw);
    case 'remove':
      return table.remove(step.name);
    case 'replaceAll':
      return replaceAll(table, step.raws);
    case 'useRules':
      return useRules(table, { ...RULES });
  }
}

/** By the definition, pair by pair. */
const contradict = (a: Lease, b: Lease): boolean =>
  a.attributes.backendData === b.attributes.backendData ||
  (a.subnets.v4 !== undefined && b.subnets.v4 !== undefined && overlaps(a.subnets.v4, b.subnets.v4));

test('after any events: no two accepted leases contradict, none waits without a reason, none is put out', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => {
      const table = new LeaseTable(RULES);
      const held = new Map<string, RawLease>();
      /** What a reader of the changes knows. */
      const accepted = new Map<string, Lease>();
      for (const step of steps) {
        const before = new Map(accepted);
        const changes = take(table, step);
        const rewritten = new Set<string>();
        if (step.kind === 'put') held.set(step.raw.name, step.raw);
        if (step.kind === 'remove') held.delete(step.name);
        if (step.kind === 'replaceAll') {
          held.clear();
          for (const raw of step.raws) held.set(raw.name, raw);
        }
        for (const raw of step.kind === 'put' ? [step.raw] : step.kind === 'replaceAll' ? step.raws : [])
          rewritten.add(raw.name);
        assert.equal(new Set(changes.map(({ name }) => name)).size, changes.length, 'a name twice');
        for (const change of changes) {
          if (change.kind === 'accepted') accepted.set(change.name, change.lease);
          else accepted.delete(change.name);
        }
        assert.equal(table.accepted, accepted.size);
        assert.deepEqual(new Set([...accepted.keys(), ...table.quarantined.keys()]), new Set(held.keys()));
        for (const [name, raw] of held) {
          const judgement = judgeAlone(raw, RULES);
          const others = [...accepted.values()].filter((lease) => lease.name !== name);
          const rival = others.some((lease) => judgement.fit && contradict(judgement.lease, lease));
          assert.equal(
            accepted.has(name),
            judgement.fit && !rival,
            `${name} after ${JSON.stringify(textsOf(changes))}`,
          );
        }
        for (const name of before.keys()) {
          if (held.has(name) && !rewritten.has(name)) assert.ok(accepted.has(name), `${name} was put out`);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('a first reading gives the same verdicts in whatever order the records come', () => {
  const shuffled = anySnapshot.chain((raws) =>
    fc.tuple(fc.constant(raws), fc.shuffledSubarray(raws, { minLength: raws.length })),
  );
  fc.assert(
    fc.property(shuffled, ([raws, others]) => {
      const [one, two] = [new LeaseTable(RULES), new LeaseTable(RULES)];
      replaceAll(one, raws);
      replaceAll(two, others);
      assert.deepEqual(new Map([...one.quarantined].sort()), new Map([...two.quarantined].sort()));
    }),
  );
});
