import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftTable } from '#src/firewall/nft-listing.ts';
import type { Packet } from '#src/firewall/packet-walk.ts';
import type { SeenRules } from '#src/firewall/what-drops.ts';
import { dropsOn, masqueradesOf } from '#src/firewall/what-happens.ts';
import { type Prefix, parsePrefix } from '#src/lib/ip.ts';

const prefix = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const OUTER: Packet = {
  by: 'eth0',
  out: '',
  from: prefix('192.0.2.2/32'),
  to: prefix('192.0.2.1/32'),
  mark: 0,
  udp: 8472,
  local: true,
};
const INNER: Packet = {
  by: 'docker0',
  out: 'flannel.1',
  from: prefix('10.0.65.0/24'),
  to: prefix('10.0.0.0/16'),
  mark: 0,
};
const iptables = (...lines: string[]): SeenRules => ({
  iptables: [{ program: 'iptables', family: 4, saved: parseIptablesSave([...lines, 'COMMIT'].join('\n')) }],
  nftables: [],
});
const nft = (...items: object[]): SeenRules => ({
  iptables: [],
  nftables: [{ family: 'inet', name: 'x', table: parseNftTable(JSON.stringify({ nftables: items })) }],
});
const drops = (seen: SeenRules) =>
  dropsOn('input', seen, OUTER).map(({ table, text }) => `${table}: ${text}`);

const INPUT = (policy: string): string[] => ['*filter', `:INPUT ${policy} [0:0]`];

for (const [what, lines, expected] of [
  [
    'a rule for the port',
    ['-A INPUT -p udp -m udp --dport 8472 -j DROP'],
    ['filter: -p udp -m udp --dport 8472 -j DROP'],
  ],
  ['a rule for another port', ['-A INPUT -p udp -m udp --dport 53 -j DROP'], []],
  [
    'a range',
    ['-A INPUT -p udp -m udp --dport 8000:9000 -j REJECT'],
    ['filter: -p udp -m udp --dport 8000:9000 -j REJECT'],
  ],
  ['a rule for TCP', ['-A INPUT -p tcp -m tcp --dport 8472 -j DROP'], []],
  ['an accept before', ['-A INPUT -p udp -m multiport --dports 53,8472 -j ACCEPT', '-A INPUT -j DROP'], []],
  ['a rule that asks what is not known', ['-A INPUT -m owner --uid-owner 1 -j DROP'], []],
] as const) {
  test(`packets of a tunnel and ${what}`, () => {
    assert.deepEqual(drops(iptables(...INPUT('ACCEPT'), ...lines)), expected);
  });
}

test('a policy drops a tunnel that nothing accepts', () => {
  assert.deepEqual(drops(iptables(...INPUT('DROP'), '-A INPUT -i lo -j ACCEPT')), ['filter: policy drop']);
});

test('nftables, by port and by protocol', () => {
  const chain = { chain: { name: 'in', type: 'filter', hook: 'input', prio: 0, policy: 'accept' } };
  const dport = (right: unknown) => ({
    rule: {
      chain: 'in',
      expr: [
        { match: { op: '==', left: { payload: { protocol: 'udp', field: 'dport' } }, right } },
        { drop: null },
      ],
    },
  });
  assert.deepEqual(drops(nft(chain, dport(8472))), ['x: drop']);
  assert.deepEqual(drops(nft(chain, dport({ range: [8000, 9000] }))), ['x: drop']);
  assert.deepEqual(drops(nft(chain, dport({ set: [53, 4789] }))), []);
});

test('what is sent is looked at by itself', () => {
  const seen = iptables('*filter', ':OUTPUT ACCEPT [0:0]', '-A OUTPUT -p udp -m udp --dport 8472 -j DROP');
  assert.equal(dropsOn('input', seen, OUTER).length, 0);
  assert.equal(dropsOn('output', seen, { ...OUTER, by: '', out: 'eth0', local: false }).length, 1);
});

test('Docker’s masquerade takes the overlay’s packets, and an accept before it keeps them', () => {
  const docker = '-A POSTROUTING -s 10.0.65.0/24 ! -o docker0 -j MASQUERADE --random-fully';
  const nat = (...lines: string[]) => iptables('*nat', ':POSTROUTING ACCEPT [0:0]', ...lines);
  assert.equal(masqueradesOf(nat(docker), INNER).length, 1);
  assert.equal(masqueradesOf(nat('-A POSTROUTING -d 10.0.0.0/16 -j ACCEPT', docker), INNER).length, 0);
  assert.equal(masqueradesOf(nat('-A POSTROUTING -o eth0 -j MASQUERADE'), INNER).length, 0);
});
