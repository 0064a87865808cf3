import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentEvents } from '#src/lib/host-events.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import { LeaseTable } from '#src/network/lease-table.ts';
import { LeaseSigner } from '#src/node/lease-signer.ts';
import { artefactsOf } from '#src/node/network-id.ts';
import { NetworkTrust } from '#src/node/network-trust.ts';
import { nodeKeyFile } from '#src/node/node-key.ts';
import { loadEd25519 } from '#src/sys/ed25519.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { until } from '#src/sys/until.ts';

const ed25519 = await loadEd25519();
const NETWORK = '/n';
const DAY_MS = 86_400_000;
const v4 = (subnet: number) => ({ v4: prefix4(ipv4(0x0a050000 + (subnet << 8)), 24) });
const RANGES = {
  v4: {
    network: prefix4(ipv4(0x0a050000), 16),
    subnetLength: 24,
    subnetMin: ipv4(0x0a050100),
    subnetMax: ipv4(0x0a05ff00),
  },
};
const RULES: LeaseRules = {
  ranges: RANGES,
  ownName: '10.5.200.0-24',
  ownSubnets: v4(200),
  ownPublicIp: { v4: ipv4(0xac1046c8) },
  overlap: {
    handedOut: { v4: { first: ipv4(0x0a050000), last: ipv4(0x0a05ffff) } },
    connected: [],
    needed: [],
    allowed: false,
  },
  judge: () => undefined,
  identityOf: () => undefined,
};
const PEER: LeaseAttributes = { publicIp: ipv4(0xac104601), backendType: 'vxlan' };
const NAME = '10.5.1.0-24';

async function setUp(t: TestContext, trust: 'off' | 'first-use' | 'allow-list' = 'first-use') {
  const stateDir = await mkdtemp(join(tmpdir(), 'trust-'));
  t.after(() => rm(stateDir, { recursive: true }));
  const options = {
    trust,
    trustFile: join(stateDir, 'trusted'),
    trustUnsigned: 'auto',
    leaseTtl: DAY_MS,
    stateDir,
  } as const;
  const artefacts = artefactsOf({ prefix: NETWORK }, { stateDir, subnetFile: '' });
  const clock = new FakeClock();
  const make = () =>
    new NetworkTrust(
      { files: systemFiles, clock, log: silentLogger, events: silentEvents },
      options,
      { prefix: NETWORK },
      artefacts,
    );
  /** An opened one, with what it stands before. */
  const open = async () => {
    const it = make();
    await it.open();
    const table = new LeaseTable(RULES, { isGuarded: it.isOn });
    const gate = it.gateFor(table);
    const put = async (raw: RawLease): Promise<void> => {
      for (const judged of (await gate?.put([raw])) ?? [raw]) table.put(judged);
    };
    return { trust: it, table, gate, put };
  };
  const peerKey = ed25519.generate();
  const peer = new LeaseSigner({ clock }, peerKey, NETWORK);
  const record = (attributes: LeaseAttributes): RawLease => ({
    name: NAME,
    value: encodeAttributes(attributes),
    revision: 1n,
    expiry: { kind: 'reservation' },
  });
  return { clock, make, open, peer, record, options, artefacts, stateDir };
}

test('with --trust=off nothing is made, and nothing is asked', async (t) => {
  const { open, stateDir } = await setUp(t, 'off');
  const { trust, gate } = await open();
  assert.equal(trust.sign, undefined);
  assert.equal(gate, undefined);
  assert.equal(trust.status, undefined);
  await assert.rejects(stat(nodeKeyFile(stateDir)), { code: 'ENOENT' });
});

test('a host that has a key goes on signing when its trust is off', async (t) => {
  const { open, stateDir } = await setUp(t, 'off');
  await writeFile(nodeKeyFile(stateDir), `ed25519 ${ed25519.generate().secret()}\n`);
  assert.notEqual((await open()).trust.sign, undefined);
});

test('what is known outlives the process, in a file that nobody else reads', async (t) => {
  const { open, peer, record, artefacts, clock } = await setUp(t);
  const stop = new AbortController();
  const first = await open();
  await first.put(record(peer.sign(NAME, PEER)));
  const following = first.trust.follow(async () => {}, stop.signal).catch(() => {});
  stop.abort();
  await following;
  assert.equal((await stat(artefacts.knownKeysFile)).mode & 0o777, 0o600);
  assert.ok((await readFile(artefacts.knownKeysFile, 'utf8')).includes(peer.publicKey));
  const second = await open();
  assert.equal(second.trust.status?.knownKeys, 1);
  const other = new LeaseSigner({ clock }, ed25519.generate(), NETWORK);
  await second.put(record(other.sign(NAME, PEER)));
  assert.equal(second.table.accepted, 0);
});

for (const text of ['', 'broken', '{"format":1,"network":"/other","keys":[]}']) {
  test(`known keys that say ${JSON.stringify(text)} are one clear error`, async (t) => {
    const { make, artefacts } = await setUp(t);
    await writeFile(artefacts.knownKeysFile, text);
    await assert.rejects(make().open(), { code: 'known-keys', message: new RegExp(artefacts.knownKeysFile) });
    assert.equal(await readFile(artefacts.knownKeysFile, 'utf8'), text);
  });
}

test('without a trust file, or with a wrong one, there is no start', async (t) => {
  const { make, options } = await setUp(t, 'allow-list');
  await assert.rejects(make().open(), { code: 'trust-file', message: /there is no file/ });
  await writeFile(options.trustFile, 'nonsense\n');
  await assert.rejects(make().open(), { code: 'trust-file', message: /line 1/ });
});

test('the trust file is read again when it changes; a wrong one changes nothing, and is said', async (t) => {
  const { open, peer, record, options, clock } = await setUp(t, 'allow-list');
  await writeFile(options.trustFile, `${peer.publicKey} 10.5.1.0/24\n`);
  const { trust, table, gate, put } = await open();
  await put(record(peer.sign(NAME, PEER)));
  assert.equal(table.accepted, 1);
  const stop = new AbortController();
  const judgeAgain = async (): Promise<void> => {
    for (const raw of (await gate?.again()) ?? []) table.put(raw);
  };
  const following = trust.follow(judgeAgain, stop.signal).catch(() => {});
  const look = (isDone: () => boolean): Promise<unknown> =>
    until(
      async () => {
        await clock.advance(100);
        return isDone();
      },
      { what: 'a look at the file' },
    );
  await writeFile(options.trustFile, 'nonsense\n');
  await look(() => trust.troubles.length === 1);
  assert.match(trust.troubles[0] ?? '', /line 1 .*the last one that could be read goes on/);
  assert.equal(table.accepted, 1);
  await writeFile(options.trustFile, `${peer.publicKey} 10.5.2.0/24\n`);
  await look(() => table.accepted === 0);
  assert.deepEqual(trust.troubles, []);
  stop.abort();
  await following;
});

test('a node takes the subnet that the file names for it, and says where it names another', async (t) => {
  const { open, options } = await setUp(t, 'allow-list');
  await writeFile(options.trustFile, '');
  const key = (await open()).trust.status?.key ?? assert.fail();
  await writeFile(options.trustFile, `${key} 10.5.0.0/20\n${key} 10.5.7.0/24\n`);
  const { trust } = await open();
  assert.deepEqual(trust.preferred({}, RANGES), v4(7));
  assert.deepEqual(trust.preferred(v4(3), RANGES), v4(3));
  assert.deepEqual(trust.preferred(v4(99), RANGES), v4(7));
  trust.holds(v4(7));
  assert.deepEqual(trust.troubles, []);
  trust.holds(v4(99));
  assert.match(trust.troubles[0] ?? '', new RegExp(`does not name this host.*weft trust allow ${key}`));
});

test('a lease of the last run is held until its end, if this node signed it', async (t) => {
  const { open, clock, peer } = await setUp(t);
  const { trust } = await open();
  const own = { name: NAME, value: encodeAttributes(trust.sign?.(NAME, PEER) ?? assert.fail()) };
  const heldUntil = clock.now() + 1_000;
  assert.equal(trust.heldBefore({ own, heldUntil })?.name, NAME);
  assert.equal(trust.heldBefore({ own })?.name, NAME);
  assert.equal(trust.heldBefore({ own: { ...own, name: '10.5.2.0-24' }, heldUntil }), undefined);
  assert.equal(trust.heldBefore({ own: { ...own, value: encodeAttributes(PEER) }, heldUntil }), undefined);
  const theirs = { name: NAME, value: encodeAttributes(peer.sign(NAME, PEER)) };
  assert.equal(trust.heldBefore({ own: theirs, heldUntil }), undefined);
  await clock.advance(1_000);
  assert.equal(trust.heldBefore({ own, heldUntil }), undefined);
});

test('what weft trust forget asks for is forgotten at the next start', async (t) => {
  const { open, peer, record, artefacts } = await setUp(t);
  const stop = new AbortController();
  const first = await open();
  await first.put(record(peer.sign(NAME, PEER)));
  const following = first.trust.follow(async () => {}, stop.signal).catch(() => {});
  stop.abort();
  await following;
  await writeFile(artefacts.forgetFile, `${peer.publicKey}\nunknown\n`);
  assert.equal((await open()).trust.status?.knownKeys, 0);
  await assert.rejects(stat(artefacts.forgetFile), { code: 'ENOENT' });
  assert.equal((await open()).trust.status?.knownKeys, 0);
});
