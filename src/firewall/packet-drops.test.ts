import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftRuleset } from '#src/firewall/nft-listing.ts';
import { packetDrop, type SeenFilters } from '#src/firewall/packet-drops.ts';
import type { Packet } from '#src/firewall/packet-walk.ts';
import { parsePrefix } from '#src/lib/ip.ts';

const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const FORWARDED: Packet = {
  ...{ by: 'docker0', out: 'flannel.1', mark: 0 },
  ...{ from: prefix('10.0.1.2/32'), to: prefix('10.0.2.2/32') },
};
const TUNNEL: Packet = {
  ...{ by: 'eth0', out: '', mark: 0, carries: { protocol: 'udp', port: 8472 } },
  ...{ from: prefix('172.16.0.1/32'), to: prefix('172.16.0.2/32') },
};

const iptables = (text: string): SeenFilters => ({
  iptables: [{ program: 'iptables', saved: parseIptablesSave(text) }],
  nftables: [],
});
const filter = (...rules: string[]) =>
  iptables(['*filter', ':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ...rules, 'COMMIT'].join('\n'));

const place = (seen: SeenFilters, packet: Packet, way: 'forward' | 'input' | 'output') =>
  packetDrop(seen, packet, way)?.place;

test('iptables: a drop of the port that the packet goes to, and of no other', () => {
  const drop = '-A INPUT -p udp -m udp --dport 8472 -j DROP';
  assert.equal(place(filter(drop), TUNNEL, 'input'), 'iptables, table filter, chain INPUT');
  assert.equal(place(filter(drop.replace('8472', '4789')), TUNNEL, 'input'), undefined);
  assert.equal(place(filter(drop.replace('8472', '8000:9000')), TUNNEL, 'input') !== undefined, true);
  assert.equal(place(filter(drop.replaceAll('udp', 'tcp')), TUNNEL, 'input'), undefined);
  assert.equal(place(filter(drop), FORWARDED, 'forward'), undefined);
});

test('iptables: an answer passes where only new connections are dropped', () => {
  const rules = filter('-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT', '-A FORWARD -j DROP');
  assert.notEqual(place(rules, FORWARDED, 'forward'), undefined);
  assert.equal(place(rules, { ...FORWARDED, state: 'established' }, 'forward'), undefined);
});

test('rules of one family are for packets of that family alone', () => {
  const drop = ['*filter', ':FORWARD DROP [0:0]', 'COMMIT'].join('\n');
  const six: Packet = { ...FORWARDED, from: prefix('fd00:1::2/128'), to: prefix('fd00:2::2/128') };
  const seen = (program: string): SeenFilters => ({
    iptables: [{ program, saved: parseIptablesSave(drop) }],
    nftables: [],
  });
  assert.equal(place(seen('ip6tables-legacy'), FORWARDED, 'forward'), undefined);
  assert.equal(place(seen('iptables-legacy'), six, 'forward'), undefined);
  assert.equal(place(seen('ip6tables'), six, 'forward'), 'ip6tables, table filter, chain FORWARD');
  const ping = ['*filter', ':FORWARD ACCEPT [0:0]', '-A FORWARD -p ipv6-icmp -j DROP', 'COMMIT'].join('\n');
  const filters = { iptables: [{ program: 'ip6tables', saved: parseIptablesSave(ping) }], nftables: [] };
  assert.notEqual(place(filters, { ...six, carries: { protocol: 'icmpv6' } }, 'forward'), undefined);
  assert.equal(place(filters, { ...six, carries: { protocol: 'tcp', port: 80 } }, 'forward'), undefined);
});

const chain = (family: string, hook: string, dev?: string) => ({
  chain: { family, table: 't', name: 'c', type: 'filter', hook, policy: 'drop', ...(dev && { dev }) },
});
const nft = (family: string, hook: string, dev?: string): SeenFilters => ({
  iptables: [],
  nftables: parseNftRuleset(
    JSON.stringify({
      nftables: [{ metainfo: {} }, { table: { family, name: 't' } }, chain(family, hook, dev)],
    }),
  ),
});

const NFT: readonly (readonly [string, string, 'forward' | 'input' | 'output', boolean])[] = [
  ['ip', 'forward', 'forward', true],
  ['inet', 'prerouting', 'forward', true],
  ['inet', 'postrouting', 'forward', true],
  ['inet', 'input', 'forward', false],
  ['inet', 'input', 'input', true],
  ['ip', 'output', 'output', true],
  ['ip6', 'forward', 'forward', false],
  ['bridge', 'forward', 'forward', false],
];
for (const [family, hook, way, drops] of NFT) {
  test(`nftables: a policy at ${hook} of ${family} ${drops ? 'drops' : 'does not drop'} what goes ${way}`, () => {
    assert.equal(place(nft(family, hook), FORWARDED, way) !== undefined, drops);
  });
}

test('nftables: a chain of a device drops what comes by it', () => {
  assert.equal(
    place(nft('netdev', 'ingress', 'docker0'), FORWARDED, 'forward'),
    'nftables, chain netdev t c',
  );
  assert.equal(place(nft('netdev', 'ingress', 'eth1'), FORWARDED, 'forward'), undefined);
  assert.equal(place(nft('netdev', 'egress', 'flannel.1'), FORWARDED, 'forward') !== undefined, true);
});

const NAMED: readonly (readonly [string, object, boolean])[] = [
  ['has the sender', { elem: ['172.16.0.1'] }, false],
  ['has the sender, for a while', { elem: [{ elem: { val: '172.16.0.1', expires: 60 } }] }, false],
  ['has its network', { elem: [{ prefix: { addr: '172.16.0.0', len: 24 } }] }, false],
  ['has others', { elem: ['172.16.0.9'] }, true],
  ['is empty', {}, true],
  ['may have it: a range', { elem: [{ range: ['172.16.0.0', '172.16.0.9'] }] }, false],
  ['is filled by packets', { flags: ['dynamic'], elem: ['172.16.0.9'] }, false],
];

for (const [name, set, drops] of NAMED) {
  test(`nftables: what is not accepted is dropped, and the set of those that are ${name}`, () => {
    const left = { payload: { protocol: 'ip', field: 'saddr' } };
    const expr = [{ match: { op: '==', left, right: '@hosts' } }, { accept: null }];
    const nftables = [
      { set: { family: 'inet', table: 't', name: 'hosts', type: 'ipv4_addr', ...set } },
      chain('inet', 'input'),
      { rule: { family: 'inet', table: 't', chain: 'c', expr } },
    ];
    const seen = { iptables: [], nftables: parseNftRuleset(JSON.stringify({ nftables })) };
    assert.equal(place(seen, TUNNEL, 'input') !== undefined, drops);
  });
}
