import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NotedEvent } from '#src/lib/host-events.ts';
import { ipv4, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { KnownKeys } from '#src/network/known-keys.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import { LeaseTable } from '#src/network/lease-table.ts';
import { signedText, withSignature } from '#src/network/signed-lease.ts';
import { TrustJudge } from '#src/network/trust-judge.ts';
import type { TrustPolicy } from '#src/network/trust-policy.ts';
import { parseTrustedKeys } from '#src/network/trusted-keys.ts';
import { TrustGate } from '#src/node/trust-gate.ts';
import { loadEd25519, type SigningKey } from '#src/sys/ed25519.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const ed25519 = await loadEd25519();
const NETWORK = '/coreos.com/network';
const HOLD_MS = 86_400_000;
const FIRST_USE: TrustPolicy = { unsigned: 'accept', trusted: undefined };
const prefix = (text: string) => parsePrefix4(text) ?? assert.fail(text);
const [OWN, VICTIM, OTHER, ATTACKER] = Array.from({ length: 4 }, () => ed25519.generate()) as [
  SigningKey,
  SigningKey,
  SigningKey,
  SigningKey,
];

const RULES: LeaseRules = {
  ranges: {
    v4: {
      network: prefix('10.5.0.0/16'),
      subnetLength: 24,
      subnetMin: ipv4(0x0a050100),
      subnetMax: ipv4(0x0a05ff00),
    },
  },
  ownName: '10.5.200.0-24',
  ownSubnets: { v4: prefix('10.5.200.0/24') },
  ownPublicIp: { v4: ipv4(0xac1046c8) },
  overlap: {
    handedOut: { v4: { first: ipv4(0x0a050000), last: ipv4(0x0a05ffff) } },
    connected: [],
    needed: [],
    allowed: false,
  },
  judge: ({ backendType }) => (backendType === 'vxlan' ? undefined : 'it has another backend'),
  identityOf: ({ backendData }) => JSON.stringify(backendData),
};

const named = (subnet: number): string => `10.5.${subnet}.0-24`;
const attributesOf = (host: number): LeaseAttributes => ({
  publicIp: ipv4(0xac104600 + host),
  backendType: 'vxlan',
  backendData: { VtepMAC: `02:00:00:00:00:${host.toString(16).padStart(2, '0')}` },
});
let revision = 1n;
const record = (name: string, value: string): RawLease => ({
  name,
  value,
  revision: ++revision,
  expiry: { kind: 'reservation' },
});
const unsigned = (name: string, host: number): RawLease => record(name, encodeAttributes(attributesOf(host)));

interface Signing {
  readonly name: string;
  readonly host: number;
  readonly count: number;
  readonly network?: string;
  readonly attributes?: LeaseAttributes;
}

function signed(key: SigningKey, { name, host, count, network = NETWORK, attributes }: Signing): RawLease {
  const plain = attributes ?? attributesOf(host);
  const text = signedText({ network, name }, plain, { key: key.publicKey, count });
  return record(
    name,
    encodeAttributes(withSignature(plain, { key: key.publicKey, count, signature: key.sign(text) })),
  );
}

function setUp({
  policy = FIRST_USE,
  known = new KnownKeys(),
}: {
  readonly policy?: TrustPolicy;
  readonly known?: KnownKeys;
} = {}) {
  const clock = new FakeClock();
  const table = new LeaseTable(RULES, { isGuarded: true });
  const noted: NotedEvent[] = [];
  const counts = { verified: 0 };
  const judge = new TrustJudge(
    { table, known, digest: ed25519.digest },
    { network: NETWORK, ownKey: OWN.publicKey, holdMs: HOLD_MS, policy },
  );
  const gate = new TrustGate({
    judge,
    table,
    ed25519: {
      verify(it) {
        counts.verified++;
        return ed25519.verify(it);
      },
    },
    clock,
    log: silentLogger,
    events: { note: (event) => void noted.push(event) },
  });
  const take = (records: readonly RawLease[]): void => {
    for (const raw of records) table.put(raw);
  };
  return {
    clock,
    table,
    known,
    gate,
    noted,
    counts,
    put: async (...records: readonly RawLease[]) => take(await gate.put(records)),
    list: async (records: readonly RawLease[], recalled: readonly RawLease[] = []) => {
      if (recalled.length > 0) judge.recall(recalled);
      for (const _slice of table.replaceAll(await gate.list(records)));
    },
    again: async () => take(await gate.again()),
    remove(name: string) {
      gate.removed([name]);
      table.remove(name);
    },
    /** The host to whom a subnet's packets go. */
    hostOf(name: string): number | undefined {
      const ip = table.lease(name)?.attributes.publicIp;
      return ip === undefined ? undefined : ip - 0xac104600;
    },
    /** Why what the registry has is not used. */
    why: (name: string): string | undefined => gate.disputes.get(name)?.reason ?? table.quarantined.get(name),
  };
}

const GOOD = signed(VICTIM, { name: named(1), host: 1, count: 10 });

test('a signed lease is used, and its key holds its subnet', async () => {
  const { put, hostOf, known } = setUp();
  await put(GOOD);
  assert.equal(hostOf(named(1)), 1);
  assert.deepEqual(
    [...known.all()].map(({ key, name, count }) => [key, name, count]),
    [[VICTIM.publicKey, named(1), 10]],
  );
});

test('a record that nobody has looked at is not used', () => {
  const { table } = setUp();
  table.put(GOOD);
  assert.match(table.quarantined.get(named(1)) ?? '', /not looked at yet/);
});

/** What a writer of the registry may put over the lease of a host, or beside it. */
const HIJACKS: readonly (readonly [what: string, RawLease, why: RegExp])[] = [
  ['an unsigned lease', unsigned(named(1), 9), /signature is missing.*is held by/],
  ['a lease of another key', signed(ATTACKER, { name: named(1), host: 9, count: 99 }), /held by the key/],
  ['an earlier lease of the key', signed(VICTIM, { name: named(1), host: 9, count: 9 }), /signature is old/],
  [
    'a lease of another network',
    signed(VICTIM, { name: named(1), host: 9, count: 99, network: '/other' }),
    /not that of its key/,
  ],
  [
    'the lease of another subnet',
    record(named(1), signed(VICTIM, { name: named(7), host: 9, count: 99 }).value),
    /not that of its key/,
  ],
  [
    'its lease with another address',
    record(named(1), GOOD.value.replace('172.16.70.1', '172.16.70.9').replace('"Count":10', '"Count":99')),
    /not that of its key/,
  ],
  [
    'its lease with another VTEP MAC',
    record(named(1), GOOD.value.replace('02:00:00:00:00:01', '02:00:00:00:00:09')),
    /not that of its key/,
  ],
  [
    'its lease without the signature',
    record(named(1), GOOD.value.replace(/,"Signed":\{[^}]*\}/, '')),
    /can not be read/,
  ],
  [
    "its lease with the attacker's key",
    record(named(1), GOOD.value.replace(VICTIM.publicKey, ATTACKER.publicKey)),
    /held by the key/,
  ],
  ['a count beyond all numbers', record(named(1), GOOD.value.replace('"Count":10', '"Count":1e99')), /Count/],
  [
    'a signature of another length',
    record(named(1), GOOD.value.replace('"Signature":"', '"Signature":"AAAA')),
    /length/,
  ],
  ['what is no lease', record(named(1), 'junk'), /not JSON/],
  ['a lease of another backend', record(named(1), GOOD.value.replace('vxlan', 'udp')), /another backend/],
];

for (const [what, hijack, why] of HIJACKS) {
  test(`${what}, written over a good lease, is named and cuts nobody off`, async () => {
    const it = setUp();
    await it.put(GOOD);
    await it.put(hijack);
    assert.equal(it.hostOf(named(1)), 1);
    assert.match(it.why(named(1)) ?? 'nothing', why);
    assert.equal(it.noted.filter(({ severity }) => severity === 'error').length, 1);
    await it.put({ ...hijack, revision: ++revision });
    await it.list([hijack]);
    assert.equal(it.hostOf(named(1)), 1);
    assert.equal(it.noted.length, 1, 'the same again is no news');
    assert.equal(it.gate.refusals, 1);
    await it.put(GOOD);
    assert.equal(it.hostOf(named(1)), 1);
    assert.equal(it.gate.disputes.size, 0);
    assert.equal(it.noted.length, 2);
  });

  test(`${what} is not used after a restart, nor after the lease was deleted`, async () => {
    const before = setUp();
    await before.put(GOOD);
    const it = setUp({ known: before.known });
    await it.list([hijack]);
    assert.equal(it.hostOf(named(1)), undefined);
    assert.match(it.why(named(1)) ?? 'nothing', why);
    it.remove(named(1));
    await it.put(hijack);
    assert.equal(it.hostOf(named(1)), undefined);
    await it.put(GOOD);
    assert.equal(it.hostOf(named(1)), 1);
  });

  test(`${what} stands during a restart: the lease of the last run goes on`, async () => {
    const before = setUp();
    await before.put(GOOD);
    const it = setUp({ known: before.known });
    await it.list([hijack], [GOOD]);
    assert.equal(it.hostOf(named(1)), 1);
    assert.match(it.why(named(1)) ?? 'nothing', why);
  });
}

test('what is recalled of an earlier run has to be what the key signed last', async () => {
  const before = setUp();
  await before.put(GOOD);
  const forged = { ...GOOD, value: GOOD.value.replace('172.16.70.1', '172.16.70.9') };
  for (const recalled of [forged, unsigned(named(1), 9)]) {
    const it = setUp({ known: before.known });
    await it.list([unsigned(named(1), 8)], [recalled]);
    assert.equal(it.hostOf(named(1)), undefined);
  }
});

for (const name of ['10.5.1.0-25', '10.5.1.128-25', '10.5.0.0-22'])
  test(`${name} is not used while a key holds 10.5.1.0/24, also when that lease is gone`, async () => {
    const it = setUp();
    await it.put(GOOD);
    await it.put(signed(ATTACKER, { name, host: 9, count: 99 }), unsigned(name, 9));
    assert.equal(it.hostOf(name), undefined);
    it.remove(named(1));
    await it.put(signed(ATTACKER, { name, host: 9, count: 99 }));
    assert.equal(it.hostOf(name), undefined);
    assert.match(it.why(name) ?? '', /10\.5\.1\.0\/24 is held by/);
  });

test('a VTEP MAC is held as a subnet is', async () => {
  const it = setUp();
  await it.put(GOOD);
  const { backendData } = attributesOf(1);
  const attributes = { ...attributesOf(9), ...(backendData !== undefined && { backendData }) };
  it.remove(named(1));
  await it.put(
    signed(ATTACKER, { name: named(9), host: 9, count: 1, attributes }),
    record(named(8), encodeAttributes(attributes)),
  );
  assert.match(it.why(named(9)) ?? '', /02:00:00:00:00:01.*is held by the key/);
  assert.match(it.why(named(8)) ?? '', /02:00:00:00:00:01.*is held by the key/);
  await it.put(GOOD);
  assert.equal(it.hostOf(named(1)), 1);
});

test('a key that signs another subnet later has moved, and one that did so earlier is replayed', async () => {
  const it = setUp();
  const earlier = signed(VICTIM, { name: named(7), host: 9, count: 9 });
  await it.put(GOOD, earlier);
  assert.equal(it.hostOf(named(7)), undefined);
  assert.match(it.why(named(7)) ?? '', /is old.*10\.5\.1\.0\/24/);
  await it.put(signed(VICTIM, { name: named(2), host: 1, count: 11 }));
  assert.equal(it.hostOf(named(2)), 1);
  assert.equal(it.hostOf(named(1)), undefined);
  assert.match(it.why(named(1)) ?? '', /is old.*10\.5\.2\.0\/24/);
  await it.put(signed(OTHER, { name: named(1), host: 3, count: 1 }));
  assert.equal(it.hostOf(named(1)), 3);
  await it.put(GOOD);
  assert.equal(it.hostOf(named(1)), 3);
});

test('who waited for a subnet gets it when its key moves', async () => {
  const it = setUp();
  await it.put(GOOD);
  await it.put(signed(OTHER, { name: named(1), host: 3, count: 1 }));
  assert.equal(it.hostOf(named(1)), 1);
  await it.put(signed(VICTIM, { name: named(2), host: 1, count: 11 }));
  assert.equal(it.hostOf(named(1)), 3);
  assert.equal(it.hostOf(named(2)), 1);
  assert.equal(it.gate.disputes.size, 0);
});

test('in one list, a key has the subnet that it signed last, whatever the order', async () => {
  const [first, last] = [GOOD, signed(VICTIM, { name: named(2), host: 1, count: 11 })];
  for (const records of [
    [first, last],
    [
      { ...last, revision: 1n },
      { ...first, revision: 2n },
    ],
  ]) {
    const it = setUp();
    await it.list(records);
    assert.equal(it.hostOf(named(2)), 1);
    assert.equal(it.hostOf(named(1)), undefined);
  }
});

test('a host that changes its address signs again, and is followed', async () => {
  const it = setUp();
  await it.put(GOOD);
  await it.put(signed(VICTIM, { name: named(1), host: 5, count: 11 }));
  assert.equal(it.hostOf(named(1)), 5);
  await it.put(GOOD);
  assert.equal(it.hostOf(named(1)), 5);
  assert.match(it.why(named(1)) ?? '', /is old/);
});

test("a holder's own lease that can not be used takes the place of its last one", async () => {
  const it = setUp();
  await it.put(GOOD);
  await it.put(
    signed(VICTIM, {
      name: named(1),
      host: 1,
      count: 11,
      attributes: { ...attributesOf(1), backendType: 'udp' },
    }),
  );
  assert.equal(it.hostOf(named(1)), undefined);
  assert.equal(it.gate.disputes.size, 0);
  assert.match(it.why(named(1)) ?? '', /another backend/);
  await it.put(GOOD);
  assert.match(it.why(named(1)) ?? '', /is old/);
});

test("a lease of this host's own key is not a peer's", async () => {
  const it = setUp();
  await it.put(signed(OWN, { name: named(3), host: 3, count: 1 }));
  assert.match(it.why(named(3)) ?? '', /own key/);
  await it.put(signed(OWN, { name: RULES.ownName, host: 200, count: 1 }));
  assert.equal(it.table.size, 1);
});

test('unsigned leases are taken where no key holds the subnet, or refused', async () => {
  const accepting = setUp();
  await accepting.put(unsigned(named(4), 4));
  assert.equal(accepting.hostOf(named(4)), 4);
  await accepting.put(signed(OTHER, { name: named(4), host: 4, count: 1 }));
  await accepting.put(unsigned(named(4), 9));
  assert.equal(accepting.hostOf(named(4)), 4);
  const refusing = setUp({ policy: { unsigned: 'refuse', trusted: undefined } });
  await refusing.put(unsigned(named(4), 4));
  assert.equal(refusing.why(named(4)), 'its signature is missing');
});

test('a key without a lease keeps its subnet for so long, and then another may have it', async () => {
  const it = setUp();
  await it.put(GOOD);
  it.remove(named(1));
  const next = signed(OTHER, { name: named(1), host: 3, count: 1 });
  await it.put(next);
  await it.clock.advance(HOLD_MS - 1);
  assert.equal(it.gate.expire(), false);
  await it.clock.advance(1);
  assert.equal(it.gate.expire(), true);
  await it.again();
  assert.equal(it.hostOf(named(1)), 3);
});

test('a host whose lease was written over has its way for so long as a lease lives', async () => {
  const it = setUp();
  await it.put(GOOD, unsigned(named(4), 4));
  await it.put(
    signed(ATTACKER, { name: named(1), host: 9, count: 1 }),
    record(named(4), GOOD.value.replace('172.16.70.1', '172.16.70.9')),
  );
  await it.clock.advance(HOLD_MS - 1);
  assert.equal(it.gate.expire(), false);
  assert.deepEqual([it.hostOf(named(1)), it.hostOf(named(4))], [1, 4]);
  await it.clock.advance(1);
  assert.equal(it.gate.expire(), true);
  await it.again();
  assert.deepEqual([it.hostOf(named(1)), it.hostOf(named(4))], [9, undefined]);
  assert.equal(it.gate.disputes.size, 0);
});

test('the time of a key that is there again begins from nothing', async () => {
  const it = setUp();
  await it.put(GOOD);
  await it.list([]);
  await it.clock.advance(HOLD_MS - 1);
  await it.list([GOOD]);
  await it.clock.advance(HOLD_MS);
  assert.equal(it.gate.expire(), false);
});

test('a key that was forgotten has to be seen first again', async () => {
  const it = setUp();
  await it.put(GOOD);
  const next = signed(OTHER, { name: named(1), host: 3, count: 1 });
  await it.put(next);
  it.known.forget(VICTIM.publicKey);
  await it.again();
  assert.equal(it.hostOf(named(1)), 3);
});

test('the trust file says who may hold what, and may be changed', async () => {
  const trusted = (text: string): TrustPolicy => ({
    unsigned: 'refuse',
    trusted: parseTrustedKeys(text, 'f'),
  });
  const it = setUp({ policy: trusted(`${VICTIM.publicKey} 10.5.1.0/24`) });
  await it.put(GOOD, signed(OTHER, { name: named(2), host: 2, count: 1 }), unsigned(named(4), 4));
  await it.put(signed(OTHER, { name: named(1), host: 3, count: 1 }));
  assert.deepEqual(
    [it.hostOf(named(1)), it.hostOf(named(2)), it.hostOf(named(4))],
    [1, undefined, undefined],
  );
  assert.match(it.why(named(2)) ?? '', /trust file does not name/);
  it.gate.use(trusted(`${OTHER.publicKey} 10.5.1.0/24`));
  await it.again();
  assert.equal(it.hostOf(named(1)), 3);
  await it.put(GOOD);
  assert.equal(it.hostOf(named(1)), 3);
  assert.match(it.why(named(1)) ?? '', /trust file does not name/);
});

test('a lease over several subnets is refused while one of their keys may hold its own', async () => {
  const trusted = (text: string): TrustPolicy => ({
    unsigned: 'refuse',
    trusted: parseTrustedKeys(text, 'f'),
  });
  const it = setUp({
    policy: trusted(`${VICTIM.publicKey} any\n${OTHER.publicKey} any\n${ATTACKER.publicKey} any`),
  });
  await it.put(GOOD, signed(OTHER, { name: named(2), host: 2, count: 1 }));
  it.gate.use(trusted(`${OTHER.publicKey} any\n${ATTACKER.publicKey} any`));
  const wide = signed(ATTACKER, { name: '10.5.0.0-22', host: 9, count: 1 });
  await it.put(wide);
  assert.match(it.why(wide.name) ?? '', /10\.5\.2\.0\/24 is held by/);
  assert.equal(it.hostOf(named(2)), 2);
});

test('what was verified once is not verified again, also after a restart', async () => {
  const before = setUp();
  const records = Array.from({ length: 100 }, (_, n) =>
    signed(ed25519.generate(), { name: named(n + 1), host: n + 1, count: 1 }),
  );
  await before.list(records);
  assert.equal(before.counts.verified, 100);
  await before.list(records);
  const after = setUp({ known: before.known });
  await after.list(records);
  assert.equal(before.counts.verified + after.counts.verified, 100);
  assert.equal(after.table.accepted, 100);
});

test('whatever a writer of the registry does, in any order, packets for a held subnet go to its holder', async () => {
  const renewed = [
    GOOD,
    signed(VICTIM, { name: named(1), host: 1, count: 20 }),
    signed(VICTIM, { name: named(1), host: 1, count: 30 }),
  ];
  const evil = [
    ...HIJACKS.map(([, hijack]) => hijack),
    signed(ATTACKER, { name: '10.5.1.0-25', host: 9, count: 5 }),
    signed(ATTACKER, { name: named(9), host: 9, count: 6 }),
    unsigned('10.5.0.0-22', 9),
    signed(VICTIM, { name: named(7), host: 9, count: 5 }),
  ];
  const step = fc.oneof(
    fc.record({ do: fc.constant('put' as const), raw: fc.constantFrom(...evil, ...renewed) }),
    fc.record({ do: fc.constant('remove' as const), raw: fc.constantFrom(...evil) }),
    fc.record({ do: fc.constant('list' as const), all: fc.subarray([...evil, ...renewed]) }),
    fc.record({ do: fc.constant('restart' as const) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: HOLD_MS / 100 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      let it = setUp();
      await it.put(GOOD);
      for (const now of steps) {
        if (now.do === 'put') await it.put({ ...now.raw, revision: ++revision });
        else if (now.do === 'remove') it.remove(now.raw.name);
        else if (now.do === 'list')
          await it.list([...new Map(now.all.map((raw) => [raw.name, raw])).values()]);
        else if (now.do === 'wait') {
          await it.clock.advance(now.ms);
          if (it.gate.expire()) await it.again();
        } else it = setUp({ known: it.known });
        assert.ok([1, undefined].includes(it.hostOf(named(1))), named(1));
        for (const name of ['10.5.1.0-25', '10.5.0.0-22', named(7)])
          assert.equal(it.hostOf(name), undefined, name);
        assert.notEqual(it.known.get(VICTIM.publicKey), undefined);
      }
      const last = signed(VICTIM, { name: named(1), host: 1, count: 40 });
      await it.put(last);
      assert.equal(it.hostOf(named(1)), 1);
      // Signed at each step; the same number again would be an old one to some of them.
      assert.equal(it.gate.disputes.has(named(1)), false);
    }),
    { numRuns: 150 },
  );
});
