import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatPrefix,
  type Ipv4,
  ipv4,
  ipv6,
  masked,
  overlaps,
  type Prefix4,
  type Prefix6,
  parseIpv4,
  parsePrefix4,
  parsePrefix6,
  prefix4,
} from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { type AcquireFacts, pickSubnet, planAcquire } from '#src/network/acquire-plan.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { isUsable, type Range4, type Range6, subnetCount } from '#src/network/subnet-range.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const CONFIG = parseNetworkConfig('{"Network":"10.5.0.0/16","SubnetLen":24}');
const HERE = { node: 'here', publicIp: { v4: ip('192.168.0.1') } };
const range4 = (text: string): Range4 => parseNetworkConfig(text).ranges.v4 ?? assert.fail(text);

function lease(name: string, publicIp: string | undefined, node?: string): Lease {
  const attributes: LeaseAttributes = {
    backendType: 'vxlan',
    ...(publicIp !== undefined && { publicIp: ip(publicIp) }),
    ...(node !== undefined && { node }),
  };
  const subnets = parseSubnetName(name) ?? assert.fail(name);
  return { name, subnets, attributes, revision: 1n, expiry: { kind: 'leased', leaseId: 1n } };
}

/** The plan in one line. */
function plan(facts: Partial<AcquireFacts>): string {
  const made = planAcquire({
    config: CONFIG,
    leases: [],
    claimant: HERE,
    previous: {},
    avoid: [],
    random: () => 0,
    ...facts,
  });
  switch (made.kind) {
    case 'refuse':
      return `refuse: ${made.reason}`;
    case 'create':
      return `create ${valuesOf(made.subnets).map(formatPrefix).join(' ')}`;
    default:
      return `${made.kind} ${made.lease.name}`;
  }
}

const PREVIOUS = { v4: prefix('10.5.7.0/24') };

test('in an empty network: the previous subnet, else a random one from SubnetMin on', () => {
  assert.equal(plan({ previous: PREVIOUS }), 'create 10.5.7.0/24');
  assert.equal(plan({}), 'create 10.5.1.0/24');
  assert.equal(plan({ random: () => 0.999 }), 'create 10.5.100.0/24');
});

test('our own lease comes first, found by the node’s identity, with any address that we have now', () => {
  const leases = [lease('10.5.2.0-24', '192.168.0.9', 'here'), lease('10.5.3.0-24', '192.168.0.1')];
  assert.equal(plan({ leases, previous: PREVIOUS }), 'reuse 10.5.2.0-24');
  assert.equal(plan({ leases: leases.toReversed(), previous: PREVIOUS }), 'reuse 10.5.2.0-24');
});

test('a lease with our public IP and no identity is ours: a flannel before us, or an operator, wrote it', () => {
  assert.equal(
    plan({ leases: [lease('10.5.3.0-24', '192.168.0.1')], previous: PREVIOUS }),
    'reuse 10.5.3.0-24',
  );
});

test('P4: a lease that another node wrote for our address is challenged, not taken', () => {
  const leases = [lease('10.5.3.0-24', '192.168.0.1', 'there')];
  assert.equal(plan({ leases }), 'challenge 10.5.3.0-24');
  assert.equal(plan({ leases, previous: { v4: prefix('10.5.3.0/24') } }), 'challenge 10.5.3.0-24');
  const own = lease('10.5.4.0-24', '192.168.0.1', 'here');
  assert.equal(plan({ leases: [...leases, own] }), 'reuse 10.5.4.0-24');
});

test('a lease of ours that the config no longer fits is discarded', () => {
  for (const name of ['10.5.2.0-25', '10.6.2.0-24', '10.5.0.0-24', '10.5.2.0-24&fd00::-64']) {
    assert.equal(plan({ leases: [lease(name, '192.168.0.1')] }), `discard ${name}`);
  }
});

test('the previous subnet is not taken from anybody, nor when it no longer fits the config', () => {
  const someone = (name: string) => plan({ leases: [lease(name, '192.168.0.2')], previous: PREVIOUS });
  for (const name of ['10.5.7.0-24', '10.5.7.128-25', '10.5.6.0-23']) {
    assert.equal(someone(name), 'create 10.5.1.0/24', name);
  }
  assert.equal(someone('10.5.8.0-24'), 'create 10.5.7.0/24');
  assert.equal(plan({ previous: { v4: prefix('10.5.7.0/25') } }), 'create 10.5.1.0/24');
  assert.equal(plan({ previous: { v4: prefix('10.5.0.0/24') } }), 'create 10.5.1.0/24');
});

test('a record whose value nobody can read holds its subnet all the same', () => {
  assert.equal(plan({ leases: [lease('10.5.1.0-24', undefined)] }), 'create 10.5.2.0/24');
});

test('P25: a full network is refused with what to do', () => {
  const config = parseNetworkConfig('{"Network":"10.5.0.0/22"}');
  const leases = ['10.5.1.0-24', '10.5.2.0-24', '10.5.3.0-24'].map((name) => lease(name, '192.168.0.2'));
  assert.equal(
    plan({ config, leases }),
    'refuse: out of subnets: all 3 between 10.5.1.0 and 10.5.3.0 are leased',
  );
  assert.equal(plan({ config, leases: leases.slice(1) }), 'create 10.5.1.0/24');
});

test('P13: subnets that were in use lately are handed out last', () => {
  const config = parseNetworkConfig('{"Network":"10.5.0.0/22"}');
  const avoid = [prefix('10.5.1.0/24'), prefix('10.5.3.0/24')];
  assert.equal(plan({ config, avoid }), 'create 10.5.2.0/24');
  const leases = [lease('10.5.2.0-24', '192.168.0.2')];
  assert.equal(plan({ config, avoid, leases }), 'create 10.5.1.0/24');
});

/** All free subnets, found the slow way. */
function free(range: Range4, taken: readonly Prefix4[]): Prefix4[] {
  const step = 2 ** (32 - range.subnetLength);
  const found: Prefix4[] = [];
  for (let base: number = range.subnetMin; base <= range.subnetMax; base += step) {
    const subnet = prefix4(ipv4(base), range.subnetLength);
    if (!taken.some((other) => overlaps(other, subnet))) found.push(subnet);
  }
  return found;
}

test('the pick is the one a naive allocator would make among the first hundred', () => {
  const taken = fc.array(
    fc
      .tuple(fc.nat(0xffff), fc.integer({ min: 18, max: 32 }))
      .map(([offset, length]) =>
        prefix4(ipv4(0x0a050000 + Math.floor(offset / 2 ** (32 - length)) * 2 ** (32 - length)), length),
      ),
    { maxLength: 200 },
  );
  const subnetLength = fc.integer({ min: 18, max: 27 });
  fc.assert(
    fc.property(taken, taken, subnetLength, fc.nat(0xffff), (busy, avoid, length, random) => {
      const range = range4(`{"Network":"10.5.0.0/16","SubnetLen":${length}}`);
      const all = free(range, busy);
      const fresh = free(range, [...busy, ...avoid]);
      const candidates = (fresh.length > 0 ? fresh : all).slice(0, 100);
      const picked = pickSubnet(range, busy, { avoid, random: () => random / 0x10000 });
      assert.deepEqual(picked, candidates[Math.floor((random / 0x10000) * candidates.length)]);
      assert.ok(picked === undefined || isUsable(range, picked));
    }),
    { numRuns: 200 },
  );
});

test('the last free subnet of 65,535 is found, and then none', () => {
  const range = range4('{"Network":"10.0.0.0/8","SubnetLen":24}');
  assert.equal(subnetCount(range), 65_535);
  const all = free(range, []);
  const picks = { avoid: [], random: () => 0.5 };
  assert.deepEqual(pickSubnet(range, all.slice(0, -1), picks), prefix('10.255.255.0/24'));
  assert.equal(pickSubnet(range, all, picks), undefined);
  assert.equal(pickSubnet(range, [prefix('10.0.0.0/8')], picks), undefined);
});

test('a key as wide as the network, or far wider than a subnet, keeps nobody out', () => {
  for (const name of ['10.5.0.0-16', '10.4.0.0-15', '0.0.0.0-0'])
    assert.equal(plan({ leases: [lease(name, '192.168.0.66', 'there')] }), 'create 10.5.1.0/24', name);
  const config = parseNetworkConfig('{"Network":"10.0.0.0/8","SubnetLen":24}');
  assert.equal(plan({ config, leases: [lease('10.0.0.0-15', '192.168.0.66')] }), 'create 10.0.1.0/24');
  const previous = PREVIOUS;
  assert.equal(plan({ leases: [lease('10.5.0.0-16', '192.168.0.66')], previous }), 'create 10.5.7.0/24');
});

test('a network of one subnet is leased by a key as wide as itself', () => {
  const config = parseNetworkConfig('{"Network":"10.5.7.0/24","SubnetLen":24}');
  assert.equal(plan({ config, leases: [] }), 'create 10.5.7.0/24');
  assert.match(plan({ config, leases: [lease('10.5.7.0-24', '192.168.0.66')] }), /^refuse: out of subnets/);
});

test('where wide leases take the room they are named', () => {
  const leases = ['10.5.0.0-17', '10.5.128.0-18', '10.5.192.0-19', '10.5.224.0-20', '10.5.240.0-20'];
  assert.equal(
    plan({ leases: leases.map((name) => lease(name, '192.168.0.66')) }),
    'refuse: out of subnets: all 255 between 10.5.1.0 and 10.5.255.0 are leased: of these 10.5.0.0/17 takes 127, 10.5.128.0/18 takes 64, 10.5.192.0/19 takes 32, and 2 more leases take several',
  );
});

const DUAL = parseNetworkConfig(
  '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10:5::/48","Backend":{"Type":"vxlan"}}',
);
const prefix6 = (text: string): Prefix6 => parsePrefix6(text) ?? assert.fail(text);

test('both families: a subnet of each, drawn by itself', () => {
  const config = DUAL;
  assert.equal(plan({ config }), 'create 10.5.1.0/24 fd00:10:5:1::/64');
  const previous = { v4: prefix('10.5.7.0/24'), v6: prefix6('fd00:10:5:7::/64') };
  assert.equal(plan({ config, previous }), 'create 10.5.7.0/24 fd00:10:5:7::/64');
  // Another host has one of the two: the other is kept.
  const leases = [lease('10.5.9.0-24&fd00:10:5:7::-64', '192.168.0.2')];
  assert.equal(plan({ config, previous, leases }), 'create 10.5.7.0/24 fd00:10:5:1::/64');
  // One that came before IPv6 has none of the IPv6 subnets.
  const old = [lease('10.5.1.0-24', '192.168.0.2')];
  assert.equal(plan({ config, leases: old }), 'create 10.5.2.0/24 fd00:10:5:1::/64');
});

test('both families: a lease of one is of no use, nor one whose IPv6 subnet does not fit', () => {
  const own = (name: string) => plan({ config: DUAL, leases: [lease(name, '192.168.0.1', 'here')] });
  assert.equal(own('10.5.2.0-24&fd00:10:5:7::-64'), 'reuse 10.5.2.0-24&fd00:10:5:7::-64');
  for (const name of ['10.5.2.0-24', '10.5.2.0-24&fd00:10:6::-64', '10.5.2.0-24&fd00:10:5:8::-65'])
    assert.equal(own(name), `discard ${name}`);
});

test('IPv6 alone: a host is known by its IPv6 address', () => {
  const config = parseNetworkConfig('{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10:5::/48"}');
  const claimant = { node: 'here', publicIp: { v6: ipv6(0xfd77n << 112n) } };
  const there = lease('fd00:10:5:3::-64', undefined, 'there');
  const attributes = { ...there.attributes, publicIpv6: ipv6(0xfd77n << 112n) };
  assert.equal(plan({ config, claimant }), 'create fd00:10:5:1::/64');
  assert.equal(plan({ config, claimant, leases: [{ ...there, attributes }] }), 'challenge fd00:10:5:3::-64');
  assert.equal(plan({ config, claimant, leases: [there] }), 'create fd00:10:5:1::/64');
});

test('the pick in IPv6 is the one a naive allocator would make, in ranges of any size', () => {
  const base = 0xfd00_0010_0005n << 80n;
  // Lengths of believable leases in a network of sixteen subnets, and of one with more than can be counted.
  const any = fc.record({ networkLength: fc.constantFrom(1, 48, 60), length: fc.constantFrom(64, 62, 70) });
  const offsets = fc.array(fc.tuple(fc.nat(24), fc.integer({ min: 58, max: 72 })), { maxLength: 40 });
  fc.assert(
    fc.property(any, offsets, offsets, fc.nat(99), ({ networkLength, length }, busy, lately, draw) => {
      const range: Range6 = {
        network: masked(parsePrefix6(`fd00:10:5::/${networkLength}`) ?? assert.fail()),
        subnetLength: length,
        subnetMin: ipv6(base),
        subnetMax: ipv6(
          networkLength === 60
            ? base + (15n << BigInt(128 - length))
            : (1n << 128n) - (1n << BigInt(128 - length)),
        ),
      };
      const at = ([offset, bits]: readonly [number, number]): Prefix6 =>
        masked({
          family: 6,
          address: ipv6(base + (BigInt(offset) << BigInt(128 - length))),
          length: Math.max(bits, length - 8, networkLength + 1),
        });
      const [taken, avoid] = [busy.map(at), lately.map(at)];
      const free = (others: readonly Prefix6[]): Prefix6[] => {
        const found: Prefix6[] = [];
        for (let n = 0n; n < 5_000n && found.length < 100; n++) {
          const subnet: Prefix6 = { family: 6, address: ipv6(base + (n << BigInt(128 - length))), length };
          if (subnet.address > range.subnetMax) break;
          if (!others.some((other) => overlaps(other, subnet))) found.push(subnet);
        }
        return found;
      };
      const fresh = free([...taken, ...avoid]);
      const candidates = fresh.length > 0 ? fresh : free(taken);
      const picked = pickSubnet(range, taken, { avoid, random: () => draw / 100 });
      assert.deepEqual(picked, candidates[Math.floor((draw / 100) * candidates.length)]);
      assert.ok(picked === undefined || isUsable(range, picked));
    }),
    { numRuns: 200 },
  );
});

test('a remembered lease as wide as an IPv6 network does not make a start count its subnets', () => {
  const config = DUAL;
  assert.equal(plan({ config, avoid: [prefix6('fd00:10:5::/48')] }), 'create 10.5.1.0/24 fd00:10:5:1::/64');
});
