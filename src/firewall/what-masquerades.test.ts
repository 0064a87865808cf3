import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftTable } from '#src/firewall/nft-listing.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import type { Packet } from '#src/firewall/packet-walk.ts';
import { masqueradeOf } from '#src/firewall/what-masquerades.ts';
import { type Prefix, parsePrefix } from '#src/lib/ip.ts';

const prefix = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const INNER: Packet = {
  by: 'docker0',
  out: 'flannel.1',
  from: prefix('10.0.65.0/24'),
  to: prefix('10.0.32.0/24'),
  mark: 0,
};
const nat = (...rules: string[]): SeenFilters => ({
  iptables: [
    {
      program: 'iptables',
      saved: parseIptablesSave(['*nat', ':POSTROUTING ACCEPT [0:0]', ...rules, 'COMMIT'].join('\n')),
    },
  ],
  nftables: [],
});
const DOCKER = '-A POSTROUTING -s 10.0.65.0/24 ! -o docker0 -j MASQUERADE --random-fully';

for (const [what, rules, place] of [
  ['Docker’s rule', [DOCKER], 'iptables, table nat, chain POSTROUTING'],
  ['an accept before it', ['-A POSTROUTING -d 10.0.0.0/16 -j ACCEPT', DOCKER], undefined],
  ['a rule for another device', ['-A POSTROUTING -o eth0 -j MASQUERADE'], undefined],
  [
    'another address',
    ['-A POSTROUTING -j SNAT --to-source 192.0.2.1'],
    'iptables, table nat, chain POSTROUTING',
  ],
] as const) {
  test(`a packet to another host’s container and ${what}`, () => {
    assert.equal(masqueradeOf(nat(...rules), INNER)?.place, place);
  });
}

test('a masquerade of nftables', () => {
  const table = parseNftTable(
    JSON.stringify({
      nftables: [
        { chain: { name: 'post', type: 'nat', hook: 'postrouting', prio: 100, policy: 'accept' } },
        { rule: { chain: 'post', expr: [{ masquerade: null }] } },
      ],
    }),
  );
  const seen: SeenFilters = { iptables: [], nftables: [{ family: 'ip', name: 'x', table }] };
  assert.equal(masqueradeOf(seen, INNER)?.place, 'nftables, chain ip x post');
});
