import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  changeElements,
  changeTable,
  type Element,
  makeTable,
  type OwnTable,
  readCounters,
  removeTable,
} from '#src/firewall/own-table.ts';

const TABLE: OwnTable = {
  family: 'bridge',
  name: 'weft',
  sets: [
    { name: 'macs', fields: ['ifname', 'ether_addr'] },
    { name: 'targets6', fields: ['ifname', 'nd-target'] },
    { name: 'vteps6', fields: ['ipv6_addr'] },
  ],
  counters: ['false-mac'],
  chains: [
    {
      name: 'prerouting',
      base: { hook: 'prerouting', priority: -300, policy: 'drop' },
      rules: [
        { text: 'iifname "vx-*" accept', comment: 'from other hosts' },
        { text: 'goto checks', comment: 'the others' },
      ],
    },
    { name: 'checks', rules: [{ text: 'counter name false-mac drop', comment: 'a lie' }] },
  ],
};
const ELEMENTS: readonly Element[] = [
  { set: 'macs', parts: ['p1', '02:42:0a:05:00:02'] },
  { set: 'targets6', parts: ['p1', 'fd00:5::2'] },
  { set: 'vteps6', parts: ['::1:2'] },
];
const MADE = `add table bridge weft
delete table bridge weft
table bridge weft {
	counter false-mac {}
	set macs {
		type ifname . ether_addr
	}
	set targets6 {
		typeof iifname . @th,64,128
	}
	set vteps6 {
		type ipv6_addr
	}
	chain prerouting {
		type filter hook prerouting priority -300; policy drop;
	}
	chain checks {
	}
	chain prerouting {
		iifname "vx-*" accept comment "from other hosts; 66ce0d46"
		goto checks comment "the others"
	}
	chain checks {
		counter name false-mac drop comment "a lie"
	}
}
add element bridge weft macs { "p1" . 02:42:0a:05:00:02 }
add element bridge weft targets6 { "p1" . 0xfd000005000000000000000000000002 }
add element bridge weft vteps6 { ::1:2 }
`;

const rule = (chain: string, comment: string, handle: number) => ({
  rule: { chain, comment, handle, expr: [] },
});
const set = (name: string, ...elem: unknown[]) => ({ set: { name, elem } });
const BASE = { name: 'prerouting', type: 'filter', hook: 'prerouting', prio: -300, policy: 'drop' };
const DIGEST = /; ([0-9a-f]{8})"/.exec(makeTable(TABLE, []))?.[1];
const CHAINS: readonly object[] = [
  { table: { family: 'bridge', name: 'weft' } },
  { counter: { name: 'false-mac', packets: 3, bytes: 180 } },
  { chain: BASE },
  { chain: { name: 'checks' } },
  rule('prerouting', `from other hosts; ${DIGEST}`, 3),
  rule('prerouting', 'the others', 4),
  rule('checks', 'a lie', 5),
];
/** As nft 1.0.6 lists them. */
const SETS: readonly object[] = [
  set('macs', { concat: ['p1', '02:42:0a:05:00:02'] }),
  set('targets6', { concat: ['p1', '0xfd000005000000000000000000000002'] }),
  set('vteps6', '::0.1.0.2'),
];
const change = (items: readonly object[], elements = ELEMENTS) =>
  changeTable(JSON.stringify({ nftables: items }), TABLE, elements);

test('the whole table is one transaction', () => {
  assert.equal(makeTable(TABLE, ELEMENTS).replace(DIGEST ?? '', '66ce0d46'), MADE);
  assert.deepEqual(changeTable(undefined, TABLE, ELEMENTS), {
    faults: ['table bridge weft: no such table'],
    transaction: makeTable(TABLE, ELEMENTS),
  });
  assert.equal(removeTable(TABLE), 'add table bridge weft\ndelete table bridge weft\n');
});

test('what is as wanted is left alone, however nft prints it', () => {
  const nothing = { faults: [], transaction: '' };
  assert.deepEqual(change([...CHAINS, ...SETS]), nothing);
  for (const target of [
    'fd00:5::2',
    '0xfd000005000000000000000000000002',
    String((0xfd000005n << 96n) | 2n),
  ]) {
    const listed = set('targets6', { elem: { val: { concat: ['p1', target] }, comment: 'of others' } });
    assert.deepEqual(change([...CHAINS, ...SETS.with(1, listed)]), nothing, target);
  }
  assert.deepEqual(change([...CHAINS, ...SETS.with(2, set('vteps6', '::1:2'))]), nothing);
});

test('elements are added and removed one by one', () => {
  const strange = set('macs', { concat: ['p2', '02:00:00:00:00:01'] });
  assert.deepEqual(change([...CHAINS, ...SETS.with(0, strange)]), {
    faults: ['table bridge weft: 1 elements are missing', 'table bridge weft: 1 elements are not wanted'],
    transaction:
      'delete element bridge weft macs { "p2" . 02:00:00:00:00:01 }\n' +
      'add element bridge weft macs { "p1" . 02:42:0a:05:00:02 }\n',
  });
  const two = ['p1', 'p2'].map((port) => ({ set: 'macs', parts: [port, '02:42:0a:05:00:02'] }));
  assert.equal(
    changeElements(TABLE, { add: two }),
    'add element bridge weft macs { "p1" . 02:42:0a:05:00:02, "p2" . 02:42:0a:05:00:02 }\n',
  );
  assert.equal(changeElements(TABLE, {}), '');
  assert.throws(() => changeElements(TABLE, { add: [{ set: 'none', parts: [] }] }), TypeError);
});

for (const [what, items, fault] of [
  ['a rule gone', CHAINS.toSpliced(5, 1), 'prerouting: not the rules of this version'],
  ['a rule more', [...CHAINS, rule('checks', 'accept', 9)], 'checks: not the rules of this version'],
  [
    'rules of another version',
    CHAINS.with(4, rule('prerouting', 'from other hosts; 00000000', 3)),
    'prerouting: not the rules of this version',
  ],
  [
    'another policy',
    CHAINS.with(2, { chain: { ...BASE, policy: 'accept' } }),
    'prerouting: another hook, priority or policy',
  ],
  ['a chain gone', CHAINS.toSpliced(3, 1), 'checks: no such chain'],
  ['a chain more', [...CHAINS, { chain: { name: 'stranger' } }], 'stranger: not wanted'],
] as const) {
  test(`${what}: the whole table is replaced`, () => {
    assert.deepEqual(change([...items, ...SETS]), {
      faults: [`table bridge weft: ${fault}`],
      transaction: makeTable(TABLE, ELEMENTS),
    });
  });
}

test('a set gone, or an element that no version writes: the whole table is replaced', () => {
  for (const [sets, fault] of [
    [SETS.slice(1), 'set macs: no such set'],
    [SETS.with(0, set('macs', 'p1')), 'set macs: an element that is not ours'],
    [
      SETS.with(2, set('vteps6', { prefix: { addr: 'fd00::', len: 64 } })),
      'set vteps6: an element that is not ours',
    ],
  ] as const) {
    const { faults, transaction } = change([...CHAINS, ...sets]);
    assert.deepEqual(faults, [`table bridge weft: ${fault}`]);
    assert.equal(transaction, makeTable(TABLE, ELEMENTS));
  }
});

test('counters are read by name', () => {
  assert.deepEqual([...readCounters(JSON.stringify({ nftables: CHAINS }))], [['false-mac', 3]]);
});
