import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Ipv4,
  type Prefix4,
  type Prefix6,
  parseIpv4,
  parsePrefix,
  parsePrefix4,
  parsePrefix6,
} from '#src/lib/ip.ts';
import { judgeAlone, type LeaseRules } from '#src/network/lease-rules.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const prefix6 = (text: string): Prefix6 => parsePrefix6(text) ?? assert.fail(text);
const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const RULES: LeaseRules = {
  ranges: {
    v4: {
      network: prefix('10.5.0.0/16'),
      subnetLength: 24,
      subnetMin: ip('10.5.1.0'),
      subnetMax: ip('10.5.127.0'),
    },
  },
  ownName: '10.5.1.0-24',
  ownSubnets: { v4: prefix('10.5.1.0/24') },
  ownPublicIp: { v4: ip('192.168.0.1') },
  overlap: {
    handedOut: { v4: { first: ip('10.5.1.0'), last: ip('10.5.127.255') } },
    connected: ['192.168.0.0/24', '10.5.200.0/23', 'fd00::/64'].map(
      (text) => parsePrefix(text) ?? assert.fail(),
    ),
    needed: [{ ip: ip('10.5.220.9'), use: 'the default gateway' }],
    allowed: false,
  },
  judge: ({ backendType }) => (backendType === 'vxlan' ? undefined : `its backend is "${backendType}"`),
  identityOf: ({ backendData }) => (backendData === undefined ? undefined : String(backendData)),
};
const PEER = '{"PublicIP":"192.168.0.2","BackendType":"vxlan","BackendData":"m1"}';
const judge = (name: string, value = PEER, rules = RULES) =>
  judgeAlone({ name, value, revision: 7n, expiry: { kind: 'leased', leaseId: 1n } }, rules);
test('a peer’s lease is fit, and has its identity', () => {
  assert.deepEqual(judge('10.5.2.0-24'), {
    fit: true,
    lease: {
      name: '10.5.2.0-24',
      subnets: { v4: prefix('10.5.2.0/24') },
      attributes: { publicIp: ip('192.168.0.2'), backendType: 'vxlan', backendData: 'm1' },
      revision: 7n,
      expiry: { kind: 'leased', leaseId: 1n },
    },
    identity: 'm1',
  });
});

test('other lengths than SubnetLen are fit: the config may have changed since', () => {
  for (const name of ['10.5.2.128-25', '10.5.2.0-23', '10.5.2.0-32']) assert.ok(judge(name).fit, name);
});

test('a lease without an identity is fit', () => {
  const judgement = judge('10.5.2.0-30', '{"PublicIP":"192.168.0.2","BackendType":"vxlan"}');
  assert.ok(judgement.fit && judgement.identity === undefined);
});

test('a dual stack lease is fit by its IPv4 part', () => assert.ok(judge('10.5.2.0-24&fd00:5::-64').fit));

const peerAt = (publicIp: string): string => PEER.replace('192.168.0.2', publicIp);
const UNFIT: readonly [name: string, value: string, reason: string][] = [
  ['junk', PEER, 'its key is not a subnet'],
  ['10.5.2.7-24', PEER, 'its key is not a subnet'],
  ['10.5.2.0-24', 'junk', 'its value is not JSON'],
  ['10.5.2.0-24', '{"BackendType":"vxlan"}', 'it has no PublicIP'],
  ['10.6.2.0-24', PEER, 'its subnet 10.6.2.0/24 is not in the network 10.5.0.0/16'],
  ['10.0.0.0-8', PEER, 'its subnet 10.0.0.0/8 is not in the network 10.5.0.0/16'],
  ['0.0.0.0-0', PEER, 'its subnet 0.0.0.0/0 is not in the network 10.5.0.0/16'],
  ['10.5.0.0-23', PEER, 'its subnet 10.5.0.0/23 overlaps ours, 10.5.1.0/24'],
  ['10.5.1.128-25', PEER, 'its subnet 10.5.1.128/25 overlaps ours, 10.5.1.0/24'],
  ['10.5.200.0-24', PEER, "its subnet 10.5.200.0/24 overlaps the underlay's 10.5.200.0/23"],
  ['10.5.220.0-24', PEER, 'its subnet 10.5.220.0/24 holds 10.5.220.9, the default gateway'],
  ['10.5.2.0-24', peerAt('192.168.0.1'), 'its PublicIP 192.168.0.1 is ours'],
  ['10.5.2.0-24', peerAt('10.5.9.9'), 'its PublicIP 10.5.9.9 is inside the network itself'],
  ['10.5.2.0-24', peerAt('10.5.2.9'), 'its PublicIP 10.5.2.9 is inside its own subnet'],
  ['10.5.2.0-24', peerAt('10.5.1.9'), 'its PublicIP 10.5.1.9 is inside our subnet'],
  ['10.5.2.0-24', peerAt('127.0.0.1'), "its PublicIP 127.0.0.1 is not a host's address"],
  ['10.5.2.0-24', peerAt('224.0.0.1'), "its PublicIP 224.0.0.1 is not a host's address"],
  ['10.5.2.0-24', peerAt('0.0.0.0'), "its PublicIP 0.0.0.0 is not a host's address"],
  ['10.5.2.0-24', peerAt('255.255.255.255'), "its PublicIP 255.255.255.255 is not a host's address"],
  ['10.5.2.0-24', '{"PublicIP":"192.168.0.2"}', 'its backend is ""'],
];

for (const [name, value, reason] of UNFIT) {
  test(`unfit: ${name} ${value.slice(0, 40)}: ${reason}`, () => {
    assert.deepEqual(judge(name, value), { fit: false, reason });
  });
}

test('a lease much wider than SubnetLen is unfit: it would claim a block for each', () => {
  const rules: LeaseRules = {
    ...RULES,
    ranges: {
      v4: {
        network: prefix('10.0.0.0/8'),
        subnetLength: 24,
        subnetMin: ip('10.0.1.0'),
        subnetMax: ip('10.255.255.0'),
      },
    },
    ownSubnets: { v4: prefix('10.255.1.0/24') },
  };
  assert.deepEqual(judge('10.4.0.0-15', PEER, rules), {
    fit: false,
    reason: 'its subnet 10.4.0.0/15 is far wider than SubnetLen 24',
  });
  assert.equal(judge('10.4.0.0-16', PEER, rules).fit, true);
});

test('a host may have an address of the network that is not handed out', () => {
  assert.equal(judge('10.5.2.0-24', peerAt('10.5.200.9')).fit, true);
});

test('with the operator’s permission a peer may hide hosts, but nothing that we need', () => {
  const rules = { ...RULES, overlap: { ...RULES.overlap, allowed: true } };
  assert.equal(judge('10.5.200.0-24', PEER, rules).fit, true);
  assert.equal(judge('10.5.2.0-24', peerAt('10.5.9.9'), rules).fit, true);
  assert.equal(judge('10.5.220.0-24', PEER, rules).fit, false);
  assert.equal(judge('10.5.2.0-24', peerAt('10.5.2.9'), rules).fit, false);
});

test('a reason quotes only so much of a hostile value', () => {
  const judgement = judge('10.5.2.0-24', `{"PublicIP":"192.168.0.2","BackendType":"${'x'.repeat(4000)}"}`);
  assert.ok(!judgement.fit && judgement.reason.length === 200);
});

const V6: LeaseRules = {
  ...RULES,
  ranges: {
    ...RULES.ranges,
    v6: {
      network: prefix6('fd00:10::/48'),
      subnetLength: 64,
      subnetMin: prefix6('fd00:10:0:1::/64').address,
      subnetMax: prefix6('fd00:10:0:ff::/64').address,
    },
  },
  ownSubnets: { v4: prefix('10.5.1.0/24'), v6: prefix6('fd00:10:0:1::/64') },
  ownPublicIp: { v4: ip('192.168.0.1'), v6: prefix6('fd77::1/128').address },
  overlap: {
    ...RULES.overlap,
    handedOut: {
      ...RULES.overlap.handedOut,
      v6: {
        first: prefix6('fd00:10:0:1::/64').address,
        last: prefix6('fd00:10:0:ff:ffff:ffff:ffff:ffff/128').address,
      },
    },
    connected: [...RULES.overlap.connected, prefix6('fd00:10:0:a00::/56')],
    needed: [
      ...RULES.overlap.needed,
      { ip: prefix6('fd00:10:0:b00::1/128').address, use: 'the default gateway' },
    ],
  },
};
const both = (publicIpv6: string) =>
  `{"PublicIP":"192.168.0.2","PublicIPv6":"${publicIpv6}","BackendType":"vxlan","BackendData":"m1"}`;

const UNFIT6: readonly [name: string, publicIpv6: string, reason: string][] = [
  ['fd00:10:1:2::-64', 'fd77::2', 'its subnet fd00:10:1:2::/64 is not in the network fd00:10::/48'],
  ['fd00:10::-48', 'fd77::2', 'its subnet fd00:10::/48 is as wide as the network'],
  ['fd00:10:0:200::-55', 'fd77::2', 'its subnet fd00:10:0:200::/55 is far wider than IPv6SubnetLen 64'],
  ['fd00:10:0:1:8000::-65', 'fd77::2', 'its subnet fd00:10:0:1:8000::/65 overlaps ours, fd00:10:0:1::/64'],
  [
    'fd00:10:0:a01::-64',
    'fd77::2',
    "its subnet fd00:10:0:a01::/64 overlaps the underlay's fd00:10:0:a00::/56",
  ],
  [
    'fd00:10:0:b00::-64',
    'fd77::2',
    'its subnet fd00:10:0:b00::/64 holds fd00:10:0:b00::1, the default gateway',
  ],
  ['fd00:10:0:2::-64', 'fe80::2', "its PublicIPv6 fe80::2 is not a host's address"],
  ['fd00:10:0:2::-64', 'ff02::1', "its PublicIPv6 ff02::1 is not a host's address"],
  ['fd00:10:0:2::-64', '::ffff:192.0.2.1', "its PublicIPv6 ::ffff:192.0.2.1 is not a host's address"],
  ['fd00:10:0:2::-64', 'fd77::1', 'its PublicIPv6 fd77::1 is ours'],
  ['fd00:10:0:2::-64', 'fd00:10:0:2::9', 'its PublicIPv6 fd00:10:0:2::9 is inside its own subnet'],
  ['fd00:10:0:2::-64', 'fd00:10:0:1::9', 'its PublicIPv6 fd00:10:0:1::9 is inside our subnet'],
  ['fd00:10:0:2::-64', 'fd00:10:0:9::9', 'its PublicIPv6 fd00:10:0:9::9 is inside the network itself'],
];
for (const [name, publicIpv6, reason] of UNFIT6) {
  test(`unfit in IPv6: ${name} of ${publicIpv6}`, () => {
    assert.deepEqual(judge(`10.5.2.0-24&${name}`, both(publicIpv6), V6), { fit: false, reason });
  });
}

test('in a network of both, a host that came before IPv6 is a peer, and one with a subnet needs its address', () => {
  assert.equal(judge('10.5.2.0-24', PEER, V6).fit, true);
  assert.equal(judge('10.5.2.0-24&fd00:10:0:2::-64', both('fd77::2'), V6).fit, true);
  assert.deepEqual(judge('10.5.2.0-24&fd00:10:0:2::-64', PEER, V6), {
    fit: false,
    reason: 'it has no PublicIPv6',
  });
});

test('a network of IPv4 looks at nothing of IPv6', () => {
  assert.equal(judge('10.5.2.0-24&fd01::-64', both('fe80::1')).fit, true);
});

test('a host without an address in IPv4 sends to the IPv6 address of its peers', () => {
  const rules: LeaseRules = { ...RULES, ownPublicIp: { v6: prefix6('fd77::1/128').address } };
  assert.equal(judge('10.5.2.0-24', both('fd77::2'), rules).fit, true);
  assert.deepEqual(judge('10.5.2.0-24', PEER, rules), { fit: false, reason: 'it has no PublicIPv6' });
});
