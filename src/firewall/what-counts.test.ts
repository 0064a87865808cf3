import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftTable } from '#src/firewall/nft-listing.ts';
import { type CrossingPlace, rulesThatCount } from '#src/firewall/what-counts.ts';
import { type Prefix4, parsePrefix4 } from '#src/lib/ip.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const PLACE: CrossingPlace = {
  network: prefix('10.0.0.0/16'),
  subnet: prefix('10.0.65.0/24'),
  device: 'flannel.1',
  bridge: 'docker0',
  underlay: 'eth0',
  port: 8472,
};

/** What is found in one table of `iptables-save`. */
function saved(table: string, ...rules: string[]): string[] {
  const chains = new Set(['PREROUTING', 'FORWARD', 'POSTROUTING', 'INPUT', 'OUTPUT']);
  for (const rule of rules) chains.add(rule.split(' ')[1] ?? '');
  const text = [`*${table}`, ...[...chains].map((name) => `:${name} ACCEPT [0:0]`), ...rules, 'COMMIT'].join(
    '\n',
  );
  const iptables = [{ program: 'iptables', saved: parseIptablesSave(text) }];
  return rulesThatCount({ iptables, nftables: [] }, PLACE).map(({ why, rule }) => `${why}: ${rule}`);
}

test('rules of Docker and of weft need no packet more than one', () => {
  assert.deepEqual(
    saved(
      'filter',
      '-A FORWARD -j DOCKER-USER',
      '-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT',
      '-A DOCKER-USER -s 192.0.2.0/24 -j DROP',
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s 10.0.0.0/16 -j ACCEPT',
    ),
    [],
  );
  assert.deepEqual(
    saved(
      'mangle',
      '-A PREROUTING -j FLANNEL-MARK',
      '-A FLANNEL-MARK -i flannel.1 -j MARK --set-xmark 0x4/0x4',
    ),
    [],
  );
});

for (const [name, table, rule, why] of [
  ['a rate limit', 'filter', '-A FORWARD -s 10.0.0.0/16 -m limit --limit 5/sec -j ACCEPT', 'limits a rate'],
  [
    'a limit in a chain of the user’s',
    'filter',
    '-A DOCKER-USER -m hashlimit --hashlimit-upto 5/sec -j RETURN',
    undefined,
  ],
  ['a log line', 'filter', '-A FORWARD -i flannel.1 -j LOG --log-prefix "x "', 'writes packets to the log'],
  [
    'a queue',
    'mangle',
    '-A PREROUTING -p tcp --dport 80 -j NFQUEUE --queue-num 1',
    'gives packets to a program',
  ],
  ['a mark', 'mangle', '-A PREROUTING -s 10.0.0.0/8 -j TOS --set-tos 0x10/0x3f', 'changes packets'],
  ['a quota', 'filter', '-A FORWARD -d 10.0.65.7/32 -m quota --quota 1000 -j ACCEPT', 'counts bytes'],
  [
    'a condition on the payload',
    'filter',
    '-A FORWARD -m string --string bad --algo bm -j DROP',
    'reads each packet',
  ],
  [
    'a limit of outer packets',
    'filter',
    '-A INPUT -p udp --dport 8472 -m limit --limit 5/sec -j ACCEPT',
    'limits a rate',
  ],
] as const) {
  test(`${name} is found`, () => {
    const jump = rule.includes('DOCKER-USER') ? ['-A FORWARD -j DOCKER-USER'] : [];
    const [first] = saved(table, ...jump, rule);
    assert.equal(first, `${why ?? 'limits a rate'}: ${rule.replace(/^-A \S+ /, '')}`);
  });
}

for (const [name, ...rules] of [
  ['of pings', '-A FORWARD -p icmp -m limit --limit 5/sec -j ACCEPT'],
  ['of new connections', '-A FORWARD -p tcp -m conntrack --ctstate NEW -m recent --set --name x'],
  ['of another network', '-A FORWARD -s 192.0.2.0/24 -m limit --limit 5/sec -j ACCEPT'],
  ['of another device', '-A FORWARD -i eth1 -j LOG'],
  ['of another port of the host', '-A INPUT -p udp --dport 53 -j LOG'],
  [
    'after all of the overlay was accepted',
    '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A FORWARD -j LOG',
  ],
  ['in a chain that no packet comes to', '-A OTHER -j LOG'],
] as const) {
  test(`a rule ${name} is none`, () => {
    assert.deepEqual(saved('filter', ...rules), []);
  });
}

const match = (left: object, right: unknown) => ({ match: { op: '==', left, right } });
const saddr = { payload: { protocol: 'ip', field: 'saddr' } };

function listed(family: string, hook: string, ...rules: object[][]): string[] {
  const table = parseNftTable(
    JSON.stringify({
      nftables: [
        { chain: { name: 'base', type: 'filter', hook, prio: 0, policy: 'accept' } },
        { chain: { name: 'sub' } },
        ...rules.map((expr) => ({ rule: { chain: 'base', expr } })),
        { rule: { chain: 'sub', expr: [{ log: null }] } },
      ],
    }),
  );
  const seen = { iptables: [], nftables: [{ family, name: 'mine', table }] };
  return rulesThatCount(seen, PLACE).map(({ why, place }) => `${why} (${place})`);
}

test('statements of nftables that need every packet are found', () => {
  const at = '(nftables, table inet mine, chain base)';
  const forward = (...expr: object[]) => listed('inet', 'forward', expr);
  assert.deepEqual(forward({ limit: { rate: 5, per: 'second' } }, { drop: null }), [`limits a rate ${at}`]);
  assert.deepEqual(forward({ counter: 'mine' }), [`counts packets ${at}`]);
  assert.deepEqual(forward({ counter: { packets: 0, bytes: 0 } }, { accept: null }), []);
  assert.deepEqual(forward({ mangle: { key: { meta: { key: 'mark' } }, value: 1 } }), [
    `marks packets ${at}`,
  ]);
  assert.deepEqual(forward(match(saddr, { prefix: { addr: '192.0.2.0', len: 24 } }), { log: null }), []);
  assert.deepEqual(forward(match({ ct: { key: 'state' } }, 'new'), { log: null }), []);
  assert.deepEqual(forward({ jump: { target: 'sub' } }), [
    'writes packets to the log (nftables, table inet mine, chain sub)',
  ]);
  assert.deepEqual(
    forward({
      vmap: { key: { meta: { key: 'iifname' } }, data: { set: [['docker0', { jump: { target: 'sub' } }]] } },
    }),
    ['writes packets to the log (nftables, table inet mine, chain sub)'],
  );
  assert.deepEqual(forward(match({ meta: { key: 'length' } }, 100), { drop: null }), [
    `looks at each packet’s length ${at}`,
  ]);
});

test('rules of a bridge see the containers’ packets; those of another hook see none', () => {
  const veth = match({ meta: { key: 'iifname' } }, 'veth1234');
  assert.deepEqual(listed('bridge', 'prerouting', [veth, { limit: { rate: 5 } }]), [
    'limits a rate (nftables, table bridge mine, chain base)',
  ]);
  assert.deepEqual(listed('ip6', 'forward', [{ log: null }]), []);
  assert.deepEqual(listed('inet', 'output', [{ log: null }]).length, 1, 'outer packets');
});
