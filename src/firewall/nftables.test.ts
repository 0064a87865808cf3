import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeNftables } from '#src/firewall/nftables.ts';
import { namesOf, noRules, rulesOf } from '#src/firewall/rules.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { WANTED_RULES } from '../../test/support/wanted-rules.ts';

const NAMES = namesOf();
const wanted4 = rulesOf(WANTED_RULES, 4);

/** As nft 1.0.6 lists what the transaction below makes; counters in one rule, the flag as a list in another. */
const match = (field: string, op: string, addr: string, len: number) => ({
  match: { op, left: { payload: { protocol: 'ip', field } }, right: { prefix: { addr, len } } },
});
const chain = (name: string, type: string, hook: string, prio: number) => ({
  chain: { family: 'ip', table: 'flannel-ipv4', name, handle: 1, type, hook, prio, policy: 'accept' },
});
const rule = (chain: string, ...expr: object[]) => ({
  rule: { family: 'ip', table: 'flannel-ipv4', chain, handle: 3, expr },
});
const MARKED = { match: { op: '==', left: { '&': [{ meta: { key: 'mark' } }, 16384] }, right: 16384 } };
const ARRIVES = { match: { op: '==', left: { meta: { key: 'iifname' } }, right: 'flannel.1' } };
const META_MARK = { meta: { key: 'mark' } };
const MARKS = { mangle: { key: META_MARK, value: { '|': [META_MARK, 8192] } } };
const FORWARD = chain('forward', 'filter', 'forward', 0);
const ITEMS: readonly object[] = [
  { metainfo: { version: '1.0.6', release_name: 'Lester Gooch #5', json_schema_version: 1 } },
  { table: { family: 'ip', name: 'flannel-ipv4', handle: 2 } },
  FORWARD,
  chain('postrtg', 'nat', 'postrouting', 100),
  chain('fwmark', 'filter', 'prerouting', -150),
  rule(
    'forward',
    match('saddr', '==', '10.5.0.0', 16),
    { counter: { packets: 1, bytes: 84 } },
    { accept: null },
  ),
  rule('forward', match('daddr', '==', '10.5.0.0', 16), { accept: null }),
  rule('postrtg', MARKED, { return: null }),
  rule('postrtg', match('saddr', '==', '10.5.26.0', 24), match('daddr', '==', '10.5.0.0', 16), {
    return: null,
  }),
  rule('postrtg', match('saddr', '==', '10.5.0.0', 16), match('daddr', '==', '10.5.26.0', 24), {
    return: null,
  }),
  rule('postrtg', match('saddr', '!=', '10.5.0.0', 16), match('daddr', '==', '10.5.26.0', 24), {
    return: null,
  }),
  rule('postrtg', match('saddr', '==', '10.5.0.0', 16), match('daddr', '!=', '224.0.0.0', 4), {
    masquerade: { flags: 'fully-random' },
  }),
  rule('postrtg', match('saddr', '!=', '10.5.0.0', 16), match('daddr', '==', '10.5.0.0', 16), {
    masquerade: { flags: ['fully-random'] },
  }),
  rule('fwmark', ARRIVES, match('saddr', '==', '10.5.0.0', 16), match('daddr', '==', '10.5.26.0', 24), MARKS),
];

const chainOf = (item: object): unknown => (item as { rule?: { chain: string } }).rule?.chain;
const judge = (items: readonly object[], wanted = wanted4) =>
  changeNftables(JSON.stringify({ nftables: items }), 4, wanted, NAMES);

test('on an untouched host: one table in one transaction', () => {
  assert.equal(
    changeNftables(undefined, 4, wanted4, NAMES).transaction,
    `add table ip flannel-ipv4
delete table ip flannel-ipv4
table ip flannel-ipv4 {
	comment "rules for flannel-ipv4"
	chain forward {
		comment "chain to accept flannel traffic"
		type filter hook forward priority 0; policy accept;
		ip saddr 10.5.0.0/16 accept
		ip daddr 10.5.0.0/16 accept
	}
	chain postrtg {
		comment "chain to manage traffic masquerading by flannel"
		type nat hook postrouting priority 100; policy accept;
		meta mark & 16384 == 16384 return
		ip saddr 10.5.26.0/24 ip daddr 10.5.0.0/16 return
		ip saddr 10.5.0.0/16 ip daddr 10.5.26.0/24 return
		ip saddr != 10.5.0.0/16 ip daddr 10.5.26.0/24 return
		ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random
	}
	chain fwmark {
		comment "chain to mark what peers send, for docker"
		type filter hook prerouting priority -150; policy accept;
		iifname "flannel.1" ip saddr 10.5.0.0/16 ip daddr 10.5.26.0/24 meta mark set meta mark | 8192
	}
}
`,
  );
});

test('IPv6, no comments for an old nft, a second network, one chain only', () => {
  const wanted = rulesOf({ ...WANTED_RULES, masquerade: false, dockerMark: 0 }, 6);
  assert.equal(
    changeNftables(undefined, 6, wanted, namesOf('100'), false).transaction,
    `add table ip6 flannel-ipv6-100
delete table ip6 flannel-ipv6-100
table ip6 flannel-ipv6-100 {
	chain forward {
		type filter hook forward priority 0; policy accept;
		ip6 saddr fc00::/48 accept
		ip6 daddr fc00::/48 accept
	}
}
`,
  );
});

test('the listing of what is wanted is as wanted', () => {
  assert.deepEqual(judge(ITEMS), { faults: [], transaction: '' });
});

test('every rule that is missing, twice there, or in another place is noticed', () => {
  const first = ITEMS.findIndex((item) => 'rule' in item);
  for (let index = first; index < ITEMS.length; index++) {
    const without = ITEMS.toSpliced(index, 1);
    const item = ITEMS[index];
    assert.ok(item);
    assert.match(judge(without).faults.join(), /^table ip flannel-ipv4 \w+: missing /);
    assert.match(judge(ITEMS.toSpliced(index, 0, item)).faults.join(), /other rules, or another order/);
    const next = ITEMS[index + 1];
    if (next !== undefined && chainOf(next) === chainOf(item)) {
      assert.match(judge(without.toSpliced(index + 1, 0, item)).faults.join(), /another order/);
    }
  }
});

test('a rule that says a little more or less than ours is another', () => {
  const foreign: object[][] = [
    [match('saddr', '==', '10.5.0.0', 16), { drop: null }],
    [match('saddr', '==', '10.5.0.0', 17), { accept: null }],
    [match('saddr', '!=', '10.5.0.0', 16), { accept: null }],
    [
      match('saddr', '==', '10.5.0.0', 16),
      { match: { op: '==', left: { meta: { key: 'iifname' } }, right: 'eth0' } },
      { accept: null },
    ],
    [
      { match: { op: '==', left: { payload: { protocol: 'ip', field: 'saddr' } }, right: '10.5.0.0' } },
      { accept: null },
    ],
    [{ accept: null }],
    [],
  ];
  for (const expr of foreign) {
    const items = ITEMS.with(5, rule('forward', ...expr));
    assert.match(judge(items).faults.join(), /missing ip saddr 10.5.0.0\/16 accept/);
  }
});

test('the chains of flannel 0.28, the exact mark and the rule that returns too early among them, are replaced', () => {
  const marked = { match: { op: '==', left: { meta: { key: 'mark' } }, right: 16384 } };
  const early = rule('postrtg', match('saddr', '!=', '10.5.26.0', 24), match('daddr', '==', '10.5.0.0', 16), {
    return: null,
  });
  assert.match(
    judge(ITEMS.with(7, rule('postrtg', marked, { return: null }))).faults.join(),
    /missing meta mark &/,
  );
  assert.match(
    judge(ITEMS.with(10, early)).faults.join(),
    /missing ip saddr != 10.5.0.0\/16 ip daddr 10.5.26.0\/24/,
  );
});

test('a mark that says something else is another', () => {
  const foreign: object[] = [
    { mangle: { key: META_MARK, value: { '|': [META_MARK, 4096] } } },
    { mangle: { key: META_MARK, value: 8192 } },
    { mangle: { key: META_MARK, value: { '&': [META_MARK, 8192] } } },
    { mangle: { key: { ct: { key: 'mark' } }, value: { '|': [META_MARK, 8192] } } },
  ];
  const last = ITEMS.length - 1;
  for (const statement of foreign) {
    const items = [match('saddr', '==', '10.5.0.0', 16), match('daddr', '==', '10.5.26.0', 24), statement];
    assert.match(judge(ITEMS.with(last, rule('fwmark', ARRIVES, ...items))).faults.join(), /missing iifname/);
    assert.match(
      judge(ITEMS.with(last, rule('fwmark', ...items.toSpliced(2, 1, MARKS)))).faults.join(),
      /missing/,
    );
  }
});

test('a chain that is gone, hooked elsewhere or not ours is noticed', () => {
  assert.match(judge(ITEMS.toSpliced(2, 1)).faults.join(), /forward: no such chain/);
  for (const wrong of [
    chain('forward', 'filter', 'input', 0),
    chain('forward', 'filter', 'forward', -150),
    { chain: { family: 'ip', table: 'flannel-ipv4', name: 'forward', handle: 1 } },
  ]) {
    assert.match(judge(ITEMS.with(2, wrong)).faults.join(), /forward: not "filter forward 0 accept"/);
  }
  assert.match(judge([...ITEMS, chain('mine', 'nat', 'output', 0)]).faults.join(), /mine: not wanted/);
});

test('a table that is not wanted goes; a host that never had it is left alone', () => {
  const nothing = rulesOf(noRules(), 4);
  assert.equal(judge(ITEMS, nothing).transaction, 'delete table ip flannel-ipv4\n');
  assert.deepEqual(changeNftables(undefined, 4, nothing, NAMES), { faults: [], transaction: '' });
});

test('a network that is a single address reads back', () => {
  const one = prefix4(ipv4(0x0a050001), 32);
  const wanted = rulesOf(
    { ...WANTED_RULES, v4: { network: one, subnet: one }, masquerade: false, dockerMark: 0 },
    4,
  );
  const equals = (field: string) => ({
    match: { op: '==', left: { payload: { protocol: 'ip', field } }, right: '10.5.0.1' },
  });
  const items = [
    FORWARD,
    rule('forward', equals('saddr'), { accept: null }),
    rule('forward', equals('daddr'), { accept: null }),
  ];
  assert.deepEqual(judge(items, wanted), { faults: [], transaction: '' });
});
