import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type AcquireRequest, acquireLease, leasesOf } from '#src/membership/acquire-lease.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { handedOutBy } from '#src/network/overlap-rules.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import type { Snapshot } from '#src/registry/registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const CONFIG = parseNetworkConfig('{"Network":"10.8.0.0/16","Backend":{"Type":"vxlan"}}');
const NO_OVERLAP = { handedOut: handedOutBy(CONFIG.ranges), connected: [], needed: [], allowed: false };
const CLAIMANT = { node: 'n1', publicIp: { v4: ipv4(0xac104601) } };
const ATTRIBUTES: LeaseAttributes = {
  node: CLAIMANT.node,
  publicIp: CLAIMANT.publicIp.v4,
  backendType: 'vxlan',
  backendData: { VtepMAC: '02:00:00:00:00:01' },
};
const OF_ANOTHER = encodeAttributes({ ...ATTRIBUTES, node: 'n2', publicIp: ipv4(0xac104602) });

function setUp(more: Partial<Pick<AcquireRequest, 'held' | 'previous' | 'sign'>> = {}) {
  const clock = new FakeClock();
  const registry = new MemoryRegistry({ clock });
  const { signal } = new AbortController();
  const acquire = ({
    config = CONFIG,
    listing,
  }: {
    readonly config?: NetworkConfig;
    readonly listing?: Promise<Snapshot>;
  } = {}) =>
    acquireLease(
      { registry, clock, random: () => 0, log: silentLogger },
      {
        config,
        claimant: CLAIMANT,
        previous: {},
        avoid: [],
        ttlSeconds: 86_400,
        overlap: NO_OVERLAP,
        judge: ({ backendType }) => (backendType === 'vxlan' ? undefined : 'it has another backend'),
        attributesFor: () => ATTRIBUTES,
        ...more,
        ...(listing && { listing }),
      },
      signal,
    );
  return { clock, registry, signal, acquire };
}

test('keys that nobody believes keep no host out', async () => {
  const { registry, signal, acquire } = setUp();
  await registry.create('10.8.0.0-16', OF_ANOTHER, undefined, signal);
  await registry.create('10.8.0.0-17', 'junk', undefined, signal);
  await registry.create('10.8.0.0-18', '{"PublicIP":"127.0.0.1","BackendType":"vxlan"}', undefined, signal);
  await registry.create('10.8.0.0-19', OF_ANOTHER.replace('vxlan', 'udp'), undefined, signal);
  assert.equal((await acquire()).record.name, '10.8.1.0-24');
});

test('keys that stand in the way, or that hosts believe, are passed by', async () => {
  const { registry, signal, acquire } = setUp();
  await registry.create('10.8.1.0-24', 'junk', undefined, signal);
  await registry.create('10.8.2.0-23', OF_ANOTHER, undefined, signal);
  await registry.create('10.8.4.128-25', OF_ANOTHER, undefined, signal);
  assert.equal((await acquire()).record.name, '10.8.5.0-24');
});

test('a lease of our own of another length is found, whatever is thought of it', async () => {
  const records = [
    { name: '10.8.2.0-23', value: '{"Node":"n1"}', revision: 1n, expiry: { kind: 'reservation' } as const },
  ];
  const leases = await leasesOf(
    records,
    { config: CONFIG, claimant: CLAIMANT, overlap: NO_OVERLAP },
    systemClock,
  );
  assert.deepEqual(
    leases.map(({ name }) => name),
    ['10.8.2.0-23'],
  );
});

test('a lease that says already what we publish is taken again without a write', async () => {
  const { clock, registry, signal, acquire } = setUp();
  await registry.create('10.8.9.0-24', encodeAttributes(ATTRIBUTES), 86_400, signal);
  await clock.advance(80_000_000);
  registry.replace = async () => {
    throw new RegistryError('refused', 'cannot write the lease: mvcc: database space exceeded');
  };
  const { record } = await acquire();
  assert.equal(record.name, '10.8.9.0-24');
  await clock.advance(80_000_000);
  assert.ok((await registry.read('10.8.9.0-24', signal)) !== undefined);
});

const DUAL = parseNetworkConfig(
  '{"Network":"10.8.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:8::/48","Backend":{"Type":"vxlan"}}',
);

test('a config that got IPv6 leaves a host its IPv4 subnet, and a reservation stays one', async () => {
  for (const ttl of [86_400, undefined]) {
    const { registry, signal, acquire } = setUp();
    await registry.create('10.8.77.0-24', encodeAttributes(ATTRIBUTES), ttl, signal);
    const { record } = await acquire({ config: DUAL });
    assert.equal(record.name, '10.8.77.0-24&fd00:8:0:1::-64');
    assert.equal(record.expiry.kind === 'reservation', ttl === undefined);
    assert.deepEqual(
      (await registry.list(signal)).records.map(({ name }) => name),
      ['10.8.77.0-24&fd00:8:0:1::-64'],
    );
  }
});

test('a config that lost IPv6 leaves a host its IPv4 subnet', async () => {
  const { registry, signal, acquire } = setUp();
  await registry.create('10.8.77.0-24&fd00:8:0:7::-64', encodeAttributes(ATTRIBUTES), 86_400, signal);
  assert.equal((await acquire()).record.name, '10.8.77.0-24');
});

test('of two hosts that take one IPv6 subnet at the same moment the later one gives way', async () => {
  const { clock, registry, signal, acquire } = setUp();
  const empty = Promise.resolve(await registry.list(signal));
  await registry.create('10.8.77.0-24&fd00:8:0:1::-64', OF_ANOTHER, 86_400, signal);
  const acquired = acquire({ config: DUAL, listing: empty });
  await clock.advance(1_000);
  const { record } = await acquired;
  assert.equal(record.name, '10.8.1.0-24&fd00:8:0:2::-64');
  assert.deepEqual((await registry.list(signal)).records.map(({ name }) => name).sort(), [
    '10.8.1.0-24&fd00:8:0:2::-64',
    '10.8.77.0-24&fd00:8:0:1::-64',
  ]);
});

test('hosts that all start at once share no subnet of either family', async () => {
  const clock = new FakeClock();
  const registry = new MemoryRegistry({ clock });
  const { signal } = new AbortController();
  const empty = Promise.resolve(await registry.list(signal));
  const hosts = Array.from({ length: 40 }, (_, n) => {
    const claimant = { node: `n${n}`, publicIp: { v4: ipv4(0xac104601 + n) } };
    return acquireLease(
      { registry, clock, random: Math.random, log: silentLogger },
      {
        ...{ config: DUAL, claimant, previous: {}, avoid: [], ttlSeconds: 86_400, overlap: NO_OVERLAP },
        attributesFor: () => ({ ...ATTRIBUTES, node: claimant.node, publicIp: claimant.publicIp.v4 }),
        listing: empty,
      },
      signal,
    );
  });
  const all = Promise.all(hosts);
  let isOver = false;
  void all.then(() => (isOver = true));
  for (let round = 0; round < 1_000 && !isOver; round++) await clock.advance(100);
  const names = (await all).map(({ record }) => record.name);
  for (const family of [0, 1])
    assert.equal(new Set(names.map((name) => name.split('&')[family])).size, hosts.length);
  const listed = (await registry.list(signal)).records.map(({ name }) => name);
  assert.deepEqual(listed.sort(), names.sort());
});

test('a registry that does not answer when the others are listed again is asked again', async () => {
  const { clock, registry, signal, acquire } = setUp();
  const empty = Promise.resolve(await registry.list(signal));
  await registry.create('10.8.77.0-24&fd00:8:0:1::-64', OF_ANOTHER, 86_400, signal);
  const list = registry.list.bind(registry);
  registry.list = async () => {
    registry.list = list;
    throw new RegistryError('unreachable', 'cannot list the leases');
  };
  const acquired = acquire({ config: DUAL, listing: empty });
  await clock.advance(10_000);
  assert.equal((await acquired).record.name, '10.8.1.0-24&fd00:8:0:2::-64');
});

test('a lease whose creation had no answer gives way as well', async () => {
  const { clock, registry, signal, acquire } = setUp();
  const empty = Promise.resolve(await registry.list(signal));
  await registry.create('10.8.77.0-24&fd00:8:0:1::-64', OF_ANOTHER, 86_400, signal);
  const create = registry.create.bind(registry);
  registry.create = async (...words) => {
    registry.create = create;
    await create(...words);
    throw new RegistryError('timeout', 'no answer');
  };
  const acquired = acquire({ config: DUAL, listing: empty });
  await clock.advance(10_000);
  assert.equal((await acquired).record.name, '10.8.1.0-24&fd00:8:0:2::-64');
});

const HELD = { name: '10.8.9.0-24', attributes: ATTRIBUTES };
const previousOf = { v4: prefix4(ipv4(0x0a080900), 24) };

test('a held lease that another wrote over is taken back, and says what it said', async () => {
  const { registry, signal, acquire } = setUp({ held: HELD });
  await registry.create(HELD.name, OF_ANOTHER, 86_400, signal);
  const { record } = await acquire();
  assert.equal(record.name, HELD.name);
  assert.equal(record.value, encodeAttributes(ATTRIBUTES));
});

test('a record elsewhere that names the holder of a lease, or its address, is not its own', async () => {
  const { registry, signal, acquire } = setUp({ held: HELD, previous: previousOf });
  await registry.create('10.8.1.0-24', encodeAttributes(ATTRIBUTES), 86_400, signal);
  const { node: _unknown, ...byAddress } = ATTRIBUTES;
  await registry.create('10.8.2.0-24', encodeAttributes(byAddress), 86_400, signal);
  assert.equal((await acquire()).record.name, HELD.name);
  const unheld = setUp();
  await unheld.registry.create('10.8.1.0-24', encodeAttributes(ATTRIBUTES), 86_400, unheld.signal);
  assert.equal((await unheld.acquire()).record.name, '10.8.1.0-24');
});

test('what is published is signed for the subnet that was taken', async () => {
  const asked: unknown[] = [];
  const sign = (name: string, attributes: LeaseAttributes, before?: LeaseAttributes): LeaseAttributes => {
    asked.push([name, before]);
    return { ...attributes, weft: { For: name } };
  };
  const { acquire } = setUp({ sign });
  const { record, attributes } = await acquire();
  assert.deepEqual(attributes.weft, { For: record.name });
  assert.match(record.value, /"Weft":\{"For":"10\.8\.1\.0-24"\}/);
  const again = await acquire();
  assert.equal(again.record.revision, record.revision);
  assert.deepEqual(asked[0], [record.name, undefined]);
  assert.equal(asked.length, 2);
});
