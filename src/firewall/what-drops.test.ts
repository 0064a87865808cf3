import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftTable } from '#src/firewall/nft-listing.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import { type SeenRules, whatDrops } from '#src/firewall/what-drops.ts';
import { WANTED_RULES } from '../../test/support/wanted-rules.ts';

// Statements as nft 1.0.6 lists them.
const is = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const meta = (key: string) => ({ meta: { key } });
const field = (name: string, protocol = 'ip') => ({ payload: { protocol, field: name } });
const state = { ct: { key: 'state' } };
const [ACCEPT, DROP, RETURN] = [{ accept: null }, { drop: null }, { return: null }];
const REJECT = { reject: { type: 'icmpx', expr: 'admin-prohibited' } };
const COUNTER = { counter: { packets: 0, bytes: 0 } };
const ESTABLISHED = is(state, ['established', 'related'], 'in');
const to = (verb: 'jump' | 'goto', target: string) => ({ [verb]: { target } });

type Rules = readonly (readonly object[])[];
interface Table {
  readonly hook?: string;
  readonly policy?: string;
  readonly base: Rules;
  readonly chains?: Readonly<Record<string, Rules>>;
  readonly maps?: readonly object[];
}

function listing({ hook = 'forward', policy = 'accept', base, chains = {}, maps = [] }: Table): string {
  const rulesOf = (chain: string, rules: Rules) =>
    rules.map((expr) => {
      const [comment] = expr.flatMap((part) => ('comment' in part ? [String(part.comment)] : []));
      return {
        rule: { chain, expr: expr.filter((part) => !('comment' in part)), ...(comment && { comment }) },
      };
    });
  return JSON.stringify({
    nftables: [
      { metainfo: { version: '1.0.6' } },
      ...maps.map((map) => ({ map })),
      { chain: { name: 'base', type: 'filter', hook, prio: 10, policy } },
      ...Object.keys(chains).map((name) => ({ chain: { name } })),
      ...rulesOf('base', base),
      ...Object.entries(chains).flatMap(([name, rules]) => rulesOf(name, rules)),
    ],
  });
}

const nft = (
  table: Table,
  { family = 'inet', name = 'other' }: { family?: 'ip' | 'ip6' | 'inet'; name?: string } = {},
): SeenRules => ({ iptables: [], nftables: [{ family, name, table: parseNftTable(listing(table)) }] });

const iptables = (text: string, family: 4 | 6 = 4): SeenRules => ({
  iptables: [{ program: family === 4 ? 'iptables' : 'ip6tables', family, saved: parseIptablesSave(text) }],
  nftables: [],
});

const what = (seen: SeenRules, wanted = WANTED_RULES): string[] =>
  whatDrops(seen, wanted).map((finding) => finding.what);

/** firewalld's forward chain (fault 36). */
const FIREWALLD: Table = { base: [[ESTABLISHED, ACCEPT], [is(meta('iifname'), 'lo'), ACCEPT], [REJECT]] };

test('nothing is found on a host without rules', () => {
  assert.deepEqual(whatDrops({ iptables: [], nftables: [] }, WANTED_RULES), []);
});

test("firewalld's reject is found, once for both families, and the command that lifts it is named", () => {
  const [finding, ...others] = whatDrops(nft(FIREWALLD, { name: 'firewalld' }), WANTED_RULES);
  assert.deepEqual(others, []);
  assert.equal(
    finding?.what,
    'nftables drops packets of the overlay: table inet firewalld, chain base: reject',
  );
  assert.match(finding.remedy, /firewall-cmd --permanent --zone=trusted --add-source=10\.5\.0\.0\/16/);
});

/** What a base chain at forward says before it rejects or drops everything, and whether that is found. */
const TABLES: Readonly<Record<string, readonly [found: boolean, table: Table]>> = {
  'a policy drop': [true, { policy: 'drop', base: [] }],
  'a policy drop behind an accept for the device': [
    false,
    {
      policy: 'drop',
      base: [
        [is(meta('iifname'), 'flannel.1'), ACCEPT],
        [is(meta('oifname'), 'flannel.1'), ACCEPT],
      ],
    },
  ],
  'an accept for one direction only': [
    true,
    { policy: 'drop', base: [[is(meta('iifname'), 'flannel.1'), ACCEPT]] },
  ],
  'an accept for the network': [
    false,
    {
      policy: 'drop',
      base: [
        [is(field('saddr'), { set: [{ prefix: { addr: '10.5.0.0', len: 16 } }] }), ACCEPT],
        [is(meta('nfproto'), 'ipv6'), ACCEPT],
      ],
    },
  ],
  'an accept for a part of the network': [
    true,
    { policy: 'drop', base: [[is(field('saddr'), { prefix: { addr: '10.5.7.0', len: 24 } }), ACCEPT]] },
  ],
  'an accept for another network': [
    true,
    { policy: 'drop', base: [[is(field('saddr'), { prefix: { addr: '10.9.0.0', len: 16 } }), ACCEPT]] },
  ],
  'an accept for a port': [true, { policy: 'drop', base: [[is(field('dport', 'tcp'), 22), ACCEPT]] }],
  'an accept for all but a port': [
    false,
    { policy: 'drop', base: [[is(field('dport', 'tcp'), 22, '!='), ACCEPT]] },
  ],
  'an accept for names in a set that has a name': [
    false,
    { policy: 'drop', base: [[is(field('saddr'), '@ours'), ACCEPT]] },
  ],
  'an accept with a limit': [
    false,
    { policy: 'drop', base: [[{ limit: { rate: 5, per: 'second' } }, ACCEPT]] },
  ],
  'an accept of iptables, which nft lists without its words': [
    false,
    { policy: 'drop', base: [[{ xt: null }, ACCEPT]] },
  ],
  'an accept in a chain that is jumped to': [
    false,
    {
      base: [[to('jump', 'zones')], [REJECT]],
      chains: { zones: [[is(meta('iifname'), 'eth*'), to('goto', 'none')], [ACCEPT]], none: [] },
    },
  ],
  'a chain that only returns': [
    true,
    { base: [[to('jump', 'zones')], [REJECT]], chains: { zones: [[RETURN], [ACCEPT]] } },
  ],
  'a verdict map by the state': [
    true,
    {
      base: [
        [
          {
            vmap: {
              key: state,
              data: {
                set: [
                  ['invalid', DROP],
                  ['established', ACCEPT],
                ],
              },
            },
          },
        ],
        [COUNTER, DROP],
      ],
    },
  ],
  'a verdict map by the device': [
    false,
    {
      base: [[{ vmap: { key: meta('iifname'), data: '@zones' } }], [REJECT]],
      maps: [
        {
          name: 'zones',
          elem: [
            ['flannel.1', to('goto', 'trusted')],
            ['docker0', to('goto', 'trusted')],
          ],
        },
      ],
      chains: { trusted: [[ACCEPT]] },
    },
  ],
  'a drop of what is invalid': [false, { base: [[is(state, 'invalid'), DROP]] }],
  'a drop of one address': [false, { base: [[is(field('saddr'), '10.5.7.9'), DROP]] }],
  'a drop of another device': [false, { base: [[is(meta('iifname'), 'eth9'), DROP]] }],
  'a drop of all devices but ours': [
    false,
    { base: [[is(meta('iifname'), { set: ['flannel.1', 'docker0'] }, '!='), DROP]] },
  ],
  'a drop that asks for something unknown': [false, { base: [[is(meta('cgroup'), 7), DROP]] }],
  'a loop': [false, { base: [[to('jump', 'a')], [DROP]], chains: { a: [[to('jump', 'a')]] } }],
  'a reject at input': [false, { ...FIREWALLD, hook: 'input' }],
};

for (const [name, [found, table]] of Object.entries(TABLES)) {
  test(`${found ? 'found' : 'not found'}: ${name}`, () => assert.equal(what(nft(table)).length > 0, found));
}

test('a table of one family says nothing of the other', () => {
  const only4: WantedRules = { ...WANTED_RULES, v6: undefined } as never;
  assert.equal(what(nft(FIREWALLD, { family: 'ip6' }), only4).length, 0);
  assert.equal(what(nft(FIREWALLD, { family: 'ip' }), only4).length, 1);
});

const DOCKER = { family: 'ip', name: 'docker-bridges' } as const;
/** The nftables back end of dockerd 29, as the options make it. */
const docker29 = ({ mark = true, direct = true }): SeenRules => {
  const forward: Table = {
    base: [[{ vmap: { key: meta('oifname'), data: '@filter-forward-in-jumps' } }]],
    maps: [
      { name: 'filter-forward-in-jumps', elem: [['docker0', to('jump', 'filter-forward-in__docker0')]] },
    ],
    chains: {
      'filter-forward-in__docker0': [
        [ESTABLISHED, COUNTER, ACCEPT],
        ...(mark ? [[is({ '&': [meta('mark'), 8192] }, 8192), COUNTER, ACCEPT]] : []),
        [is(meta('iifname'), 'docker0'), COUNTER, ACCEPT],
        [COUNTER, DROP, { comment: 'UNPUBLISHED PORT DROP' }],
      ],
    },
  };
  const raw: Table = {
    hook: 'prerouting',
    base: direct
      ? []
      : [
          [is(field('daddr'), '172.18.0.2'), is(meta('iifname'), 'br-1', '!='), COUNTER, DROP],
          [
            is(field('daddr'), '10.5.26.2'),
            is(meta('iifname'), 'docker0', '!='),
            COUNTER,
            DROP,
            { comment: 'DROP DIRECT ACCESS' },
          ],
        ],
  };
  return {
    iptables: [],
    nftables: [nft(forward, DOCKER), nft(raw, DOCKER)].flatMap(({ nftables }) => nftables),
  };
};

test("Docker's nftables back end: found without either option, and the lines for daemon.json are exact", () => {
  assert.deepEqual(whatDrops(docker29({}), WANTED_RULES), []);
  const without = whatDrops(docker29({ mark: false, direct: false }), WANTED_RULES);
  assert.deepEqual(
    without.map(({ what }) => what),
    [
      'Docker drops packets of the overlay: nftables table ip docker-bridges, chain filter-forward-in__docker0: UNPUBLISHED PORT DROP',
      'Docker drops packets of the overlay: nftables table ip docker-bridges, chain base: DROP DIRECT ACCESS',
    ],
  );
  for (const { remedy } of without)
    assert.ok(
      remedy.endsWith('"allow-direct-routing": true, "bridge-accept-fwmark": "0x2000/0x2000"'),
      remedy,
    );
  assert.equal(whatDrops(docker29({ mark: false }), WANTED_RULES).length, 1);
  assert.equal(whatDrops(docker29({ direct: false }), WANTED_RULES).length, 1);
});

test("Docker's nftables back end: another mark, none, and no rules of ours are found with what to do", () => {
  const remedy = (wanted: Partial<WantedRules>) =>
    whatDrops(docker29({}), { ...WANTED_RULES, ...wanted })[0]?.remedy ?? '';
  assert.match(remedy({ dockerMark: 0x10000 }), /"bridge-accept-fwmark": "0x10000\/0x10000"/);
  assert.match(remedy({ dockerMark: 0 }), /--docker-fwmark/);
  assert.match(remedy({ forward: false }), /--iptables-forward-rules=true/);
});

/** dockerd 29 with iptables and one container, our rules as `ours` has them. */
const docker29Iptables = (raw: string, user: string) => `*raw
:PREROUTING ACCEPT [0:0]
:FLANNEL-RAW - [0:0]
${raw}-A PREROUTING -d 10.5.26.2/32 ! -i docker0 -j DROP
-A FLANNEL-RAW -s 10.5.0.0/16 -d 10.5.26.0/24 -i flannel.1 -m comment --comment "flanneld raw" -j ACCEPT
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A FORWARD -s 10.5.0.0/16 -j ACCEPT
-A FORWARD -d 10.5.0.0/16 -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -o docker0 -j DOCKER
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
${user}COMMIT
`;
const RAW_JUMP = '-A PREROUTING -m comment --comment "flanneld raw" -j FLANNEL-RAW\n';
const USER = '-A DOCKER-USER -s 10.5.0.0/16 -d 10.5.26.0/24 -i flannel.1 -j ACCEPT\n';

test("iptables: Docker's drops are found where our accepts are not, and not where they are", () => {
  assert.deepEqual(what(iptables(docker29Iptables(RAW_JUMP, USER))), []);
  assert.deepEqual(what(iptables(docker29Iptables('', USER))), [
    'iptables drops packets of the overlay: table raw, chain PREROUTING: -d 10.5.26.2/32 ! -i docker0 -j DROP',
  ]);
  assert.deepEqual(what(iptables(docker29Iptables(RAW_JUMP, ''))), [
    'iptables drops packets of the overlay: table filter, chain DOCKER: ! -i docker0 -o docker0 -j DROP',
  ]);
  const [finding] = whatDrops(iptables(docker29Iptables('', '')), { ...WANTED_RULES, forward: false });
  assert.match(finding?.remedy ?? '', /--iptables-forward-rules=true/);
});

/** What comes before the policy DROP of iptables' FORWARD, and whether the overlay is dropped. */
const FORWARD: Readonly<Record<string, readonly [found: boolean, rules: string]>> = {
  nothing: [true, ''],
  'an accept': [false, '-A FORWARD -s 10.5.0.0/16 -j ACCEPT'],
  'an accept of a port': [true, '-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT'],
  'an accept by an ipset': [false, '-A FORWARD -m set --match-set ours src -j ACCEPT'],
  'a drop of our device': [true, '-A FORWARD -i flannel.+ -j DROP\n-A FORWARD -j ACCEPT'],
  'a drop of a part of the network': [false, '-A FORWARD -s 10.5.7.0/24 -j DROP\n-A FORWARD -j ACCEPT'],
  'a log, a mark and an accept': [
    false,
    '-A FORWARD -j LOG\n-A FORWARD -j MARK --set-xmark 0x1/0x1\n-A FORWARD -j ACCEPT',
  ],
  'an accept by our mark': [true, '-A FORWARD -m mark --mark 0x2000/0x2000 -j ACCEPT'],
  'an accept for this host': [true, '-A FORWARD -m addrtype --dst-type LOCAL -j ACCEPT'],
  'an accept of new connections': [false, '-A FORWARD -m conntrack --ctstate NEW -j ACCEPT'],
};

for (const [name, [found, rules]] of Object.entries(FORWARD)) {
  test(`iptables, policy DROP behind ${name}: ${found ? 'found' : 'not found'}`, () => {
    const seen = iptables(`*filter\n:FORWARD DROP [0:0]\n${rules}\nCOMMIT\n`);
    assert.equal(what(seen).length > 0, found);
  });
}

test('a drop in IPv6 only is found as well', () => {
  const seen = iptables('*filter\n:FORWARD DROP [0:0]\nCOMMIT\n', 6);
  assert.deepEqual(what(seen), [
    'ip6tables drops packets of the overlay: table filter, chain FORWARD: policy drop',
  ]);
});
