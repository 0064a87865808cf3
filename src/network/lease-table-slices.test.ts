import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatIpv4,
  type Ipv4,
  ipv4,
  ipv6,
  overlaps,
  type Prefix4,
  type Prefix6,
  parseIpv4,
  parsePrefix4,
  parsePrefix6,
} from '#src/lib/ip.ts';
import { FAMILY_NAMES } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';
import { judgeAlone, type LeaseRules, type RawLease } from '#src/network/lease-rules.ts';
import { type LeaseChange, LeaseTable } from '#src/network/lease-table.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const prefix6 = (text: string): Prefix6 => parsePrefix6(text) ?? assert.fail(text);
const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const macOf: LeaseRules['identityOf'] = ({ backendData }) =>
  typeof backendData === 'string' ? backendData : undefined;
const rangesOf = (subnetLength: number): LeaseRules['ranges'] => ({
  v4: {
    network: prefix('10.0.0.0/8'),
    subnetLength,
    subnetMin: ip('10.0.0.0'),
    subnetMax: ip('10.255.0.0'),
  },
});
const RULES: LeaseRules = {
  ranges: rangesOf(24),
  ownName: '10.5.1.0-24',
  ownSubnets: { v4: prefix('10.5.1.0/24') },
  ownPublicIp: { v4: ip('192.168.0.1') },
  overlap: {
    handedOut: { v4: { first: ip('10.0.0.0'), last: ip('10.255.255.255') } },
    connected: [],
    needed: [],
    allowed: false,
  },
  judge: ({ backendData }) => (backendData === 'bad' ? 'its data is bad' : undefined),
  identityOf: macOf,
};
const record = (name: string, mac: string, revision: number, created = revision): RawLease => ({
  name,
  value: `{"PublicIP":"192.168.0.2","BackendData":"${mac}"}`,
  revision: BigInt(revision),
  created: BigInt(created),
  expiry: { kind: 'reservation' },
});
const names = (changes: Iterable<LeaseChange>): string[] =>
  Array.from(changes, ({ kind, name }) => `${name} ${kind}`);

test('a record that is removed between two slices of a snapshot does not come back with it', () => {
  const table = new LeaseTable(RULES, { slice: 1 });
  const slices = table.replaceAll([record('10.5.2.0-24', 'm2', 1), record('10.5.3.0-24', 'm3', 2)]);
  assert.deepEqual(names(slices.next().value ?? []), ['10.5.2.0-24 accepted']);
  assert.deepEqual(names(table.remove('10.5.3.0-24')), []);
  assert.deepEqual(names([...slices].flat()), []);
  assert.equal(table.lease('10.5.3.0-24'), undefined);
});

test('a record that is put between two slices stays as it was put', () => {
  const table = new LeaseTable(RULES, { slice: 1 });
  table.put(record('10.5.4.0-24', 'm4', 1));
  const slices = table.replaceAll([record('10.5.2.0-24', 'm2', 1), record('10.5.3.0-24', 'm3', 2)]);
  slices.next();
  table.put(record('10.5.3.0-24', 'm9', 3));
  table.put(record('10.5.4.0-24', 'm5', 4));
  assert.deepEqual([...slices].flat(), []);
  assert.deepEqual(
    Array.from(table.leases(), ({ attributes }) => attributes.backendData),
    ['m2', 'm9', 'm5'],
  );
});

test('a second snapshot ends the first', () => {
  const table = new LeaseTable(RULES, { slice: 1 });
  const first = table.replaceAll([record('10.5.2.0-24', 'm2', 1), record('10.5.3.0-24', 'm3', 2)]);
  first.next();
  assert.deepEqual(names([...table.replaceAll([record('10.5.4.0-24', 'm4', 3)])].flat()), [
    '10.5.2.0-24 removed',
    '10.5.4.0-24 accepted',
  ]);
  assert.deepEqual([...first], []);
});

test('new rules look at the records as they are when their slice comes', () => {
  const table = new LeaseTable(RULES, { slice: 1 });
  for (const n of [2, 3, 4]) table.put(record(`10.5.${n}.0-24`, `m${n}`, n));
  const slices = table.useRules({
    ...RULES,
    overlap: { ...RULES.overlap, connected: [prefix('10.5.4.0/24')] },
  });
  slices.next();
  table.remove('10.5.3.0-24');
  table.put(record('10.5.2.0-24', 'm8', 9));
  assert.deepEqual(names([...slices].flat()), ['10.5.4.0-24 quarantined']);
  assert.deepEqual(
    Array.from(table.records(), ({ name, revision }) => [name, revision]),
    [
      ['10.5.2.0-24', 9n],
      ['10.5.4.0-24', 4n],
    ],
  );
});

test('a departure costs one record’s work, however many wait for what it held', () => {
  let judged = 0;
  const rules = { ...RULES, judge: () => void judged++, identityOf: () => 'm1' };
  const table = new LeaseTable(rules);
  const all = Array.from({ length: 20_000 }, (_, n) =>
    record(`10.${1 + (n >> 8)}.${n & 255}.0-24`, 'm1', n + 1),
  ).filter(({ name }) => name !== RULES.ownName);
  for (const _ of table.replaceAll(all));
  assert.equal(table.accepted, 1);
  judged = 0;
  for (const [n, { name }] of all.slice(0, 100).entries())
    assert.deepEqual(names(table.remove(name)), [`${name} removed`, `${all[n + 1]?.name} accepted`]);
  assert.ok(judged <= 100, `${judged} records were looked at`);
});

test('ten thousand addresses of one block are taken, and given to the one that wants the block at the end', () => {
  const table = new LeaseTable({ ...RULES, ranges: rangesOf(16) });
  const all = Array.from({ length: 10_000 }, (_, n) =>
    record(`${formatIpv4(ipv4(0x0a060000 + n))}-32`, `m${n}`, n + 1),
  );
  for (const _ of table.replaceAll(all));
  assert.equal(table.accepted, 10_000);
  table.put(record('10.6.0.0-16', 'm', 20_000));
  for (const { name } of all.slice(1)) table.remove(name);
  assert.equal(table.quarantined.get('10.6.0.0-16'), 'its subnet overlaps that of 10.6.0.0-32');
  assert.deepEqual(names(table.remove('10.6.0.0-32')), ['10.6.0.0-32 removed', '10.6.0.0-16 accepted']);
});

/** Few names and identities, so that they often contradict each other. */
const anyRecord: fc.Arbitrary<RawLease> = fc
  .record({
    base: fc.nat(7),
    length: fc.constantFrom(22, 23, 24, 25, 26),
    v6: fc.constantFrom('', '', '&fd00::-64', '&fd01::-64'),
    mac: fc.constantFrom('m1', 'm2', 'm3', 'm4', 'm5', 'bad'),
    revision: fc.integer({ min: 1, max: 9 }),
  })
  .map(({ base, length, v6, mac, revision }) => {
    const step = 2 ** (32 - length);
    const address = ipv4(0x0a051000 + Math.floor((base * 128) / step) * step);
    return record(`${formatIpv4(address)}-${length}${v6}`, mac, revision);
  });
const anySnapshot = fc.uniqueArray(anyRecord, { selector: ({ name }) => name, maxLength: 15 });

const RULINGS: readonly [LeaseRules, ...LeaseRules[]] = [
  RULES,
  { ...RULES, identityOf: () => undefined },
  { ...RULES, overlap: { ...RULES.overlap, connected: [prefix('10.5.17.0/24')] } },
  { ...RULES, ranges: rangesOf(26) },
];

type Step =
  | { readonly kind: 'put'; readonly raw: RawLease }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'replaceAll'; readonly raws: readonly RawLease[] }
  | { readonly kind: 'useRules'; readonly rules: LeaseRules }
  /** The next slice of one that is under way. */
  | { readonly kind: 'slice'; readonly of: number };
const anyStep = (rulings: readonly LeaseRules[]): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 4, arbitrary: anyRecord.map((raw): Step => ({ kind: 'put', raw })) },
    { weight: 3, arbitrary: anyRecord.map(({ name }): Step => ({ kind: 'remove', name })) },
    { weight: 1, arbitrary: anySnapshot.map((raws): Step => ({ kind: 'replaceAll', raws })) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...rulings).map((rules): Step => ({ kind: 'useRules', rules })),
    },
    { weight: 6, arbitrary: fc.nat(3).map((of): Step => ({ kind: 'slice', of })) },
  );

/** By the definition, pair by pair. */
function contradict(a: Lease, b: Lease, { identityOf, ranges }: LeaseRules): boolean {
  const [mine, theirs] = [a, b].map(({ attributes }) => [identityOf(attributes) ?? []].flat());
  if (mine?.some((identity) => theirs?.includes(identity))) return true;
  return FAMILY_NAMES.some((family) => {
    const [one, other] = [a.subnets[family], b.subnets[family]];
    return ranges[family] !== undefined && one !== undefined && other !== undefined && overlaps(one, other);
  });
}

/** The table, and beside it what a naive reader knows. */
class Play {
  readonly table: LeaseTable;
  readonly #underWay: Generator<LeaseChange[]>[] = [];
  /** The last word on each name. */
  readonly #held = new Map<string, RawLease>();
  /** What the changes say. */
  readonly #accepted = new Map<string, Lease>();
  #rules: LeaseRules;
  #sameRules = true;

  constructor(rules: LeaseRules, slice: number) {
    this.#rules = rules;
    this.table = new LeaseTable(rules, { slice });
  }

  take(step: Step): void {
    const before = new Map(Array.from(this.#accepted.keys(), (name) => [name, this.#valueOf(name)]));
    this.#hear(this.#do(step));
    this.#checkHolders();
    // Only new rules, or a record that was written again, end what was accepted.
    for (const [name, value] of this.#sameRules ? before : []) {
      if (this.#valueOf(name) === value) assert.ok(this.#accepted.has(name), `${name} was put out`);
    }
  }

  /** Ends all that is under way; then the verdicts are those of the definition. */
  end(): void {
    for (const slices of this.#underWay) for (const changes of slices) this.#hear(changes);
    this.#checkHolders();
    const records = new Map(Array.from(this.table.records(), (raw) => [raw.name, raw]));
    assert.deepEqual(records, new Map(this.#held));
    for (const [name, raw] of this.#held) {
      const judgement = judgeAlone(raw, this.#rules);
      const others = [...this.#accepted.values()].filter((lease) => lease.name !== name);
      const rival = others.some((lease) => judgement.fit && contradict(judgement.lease, lease, this.#rules));
      assert.equal(this.#accepted.has(name), judgement.fit && !rival, name);
      const lease = this.#accepted.get(name);
      assert.deepEqual(lease?.attributes, this.table.lease(name)?.attributes);
    }
  }

  #do(step: Step): LeaseChange[] {
    switch (step.kind) {
      case 'put':
        this.#held.set(step.raw.name, step.raw);
        return this.table.put(step.raw);
      case 'remove':
        this.#held.delete(step.name);
        return this.table.remove(step.name);
      case 'replaceAll':
        this.#held.clear();
        for (const raw of step.raws) this.#held.set(raw.name, raw);
        this.#underWay.push(this.table.replaceAll(step.raws));
        return [];
      case 'useRules':
        this.#rules = step.rules;
        this.#sameRules = false;
        this.#underWay.push(this.table.useRules(step.rules));
        return [];
      case 'slice':
        return this.#underWay[step.of % this.#underWay.length]?.next().value ?? [];
    }
  }

  #hear(changes: readonly LeaseChange[]): void {
    assert.equal(new Set(changes.map(({ name }) => name)).size, changes.length, 'a name twice in one slice');
    for (const change of changes) {
      if (change.kind === 'accepted') this.#accepted.set(change.name, change.lease);
      else this.#accepted.delete(change.name);
    }
  }

  /** What holds at any time. */
  #checkHolders(): void {
    const { table } = this;
    assert.equal(table.accepted, this.#accepted.size);
    const known = Array.from(table.records(), ({ name }) => name).sort();
    assert.deepEqual([...this.#accepted.keys(), ...table.quarantined.keys()].sort(), known);
  }

  #valueOf(name: string): string | undefined {
    return [...this.table.records()].find((raw) => raw.name === name)?.value;
  }
}

function playAll(rulings: readonly [LeaseRules, ...LeaseRules[]]): void {
  const steps = fc.array(anyStep(rulings), { maxLength: 60, size: 'max' });
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 6 }), (steps, slice) => {
      const play = new Play(rulings[0], slice);
      for (const step of steps) play.take(step);
      play.end();
    }),
    { numRuns: 500 },
  );
}

test('any interleaving of slices, puts, removals and new rules ends with the last word on each name', () => {
  playAll(RULINGS);
});

test('the same in a network of both families, where a lease holds both subnets or waits', () => {
  const v6 = {
    network: prefix6('fd00::/16'),
    subnetLength: 64,
    subnetMin: ipv6(0xfd00n << 112n),
    subnetMax: ipv6(0xfd00_ffffn << 96n),
  };
  const dual: LeaseRules = { ...RULES, ranges: { ...RULES.ranges, v6 } };
  playAll([
    dual,
    { ...dual, identityOf: () => undefined },
    // Two of each host, as the VTEP MACs of its two devices.
    {
      ...dual,
      identityOf: ({ backendData }) => [`${backendData}`, `${backendData === 'm1' ? 'm2' : 'm6'} (IPv6)`],
    },
    { ...dual, ranges: { v4: dual.ranges.v4, v6: { ...v6, subnetLength: 62 } } as LeaseRules['ranges'] },
  ]);
});

test('a holder that goes leaves its IPv6 queue, and its IPv4 one, to the next, in one step', () => {
  const v6 = {
    network: prefix6('fd00::/16'),
    subnetLength: 64,
    subnetMin: ipv6(0xfd00n << 112n),
    subnetMax: ipv6(0xfd00_ffffn << 96n),
  };
  let judged = 0;
  const judge = () => void judged++;
  const table = new LeaseTable({ ...RULES, ranges: { ...RULES.ranges, v6 }, judge });
  // Twenty thousand that want one IPv6 subnet, each with an IPv4 subnet of its own.
  const all = Array.from({ length: 20_000 }, (_, n) =>
    record(`${formatIpv4(ipv4(0x0a100000 + n * 256))}-24&fd00::-64`, `m${n}`, n + 1),
  );
  for (const _ of table.replaceAll(all));
  assert.equal(table.accepted, 1);
  judged = 0;
  for (const [n, { name }] of all.slice(0, 100).entries())
    assert.deepEqual(names(table.remove(name)), [`${name} removed`, `${all[n + 1]?.name} accepted`]);
  assert.ok(judged <= 200, `${judged} records were looked at`);
  assert.equal(
    table.quarantined.get(all[101]?.name ?? ''),
    `its IPv6 subnet overlaps that of ${all[100]?.name}`,
  );
});
