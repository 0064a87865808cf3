import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { blocksForwarding, changeIptables, countForeignRules, hasDocker } from '#src/firewall/iptables.ts';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { namesOf, noRules, rulesOf } from '#src/firewall/rules.ts';
import { type Prefix4, type Prefix6, parsePrefix, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { WANTED_RULES } from '../../test/support/wanted-rules.ts';

const NAMES = namesOf();
const wanted4 = rulesOf(WANTED_RULES, 4);

function p4(text: string): Prefix4 {
  const prefix = parsePrefix4(text);
  assert.ok(prefix);
  return prefix;
}
function p6(text: string): Prefix6 {
  const prefix = parsePrefix6(text);
  assert.ok(prefix);
  return prefix;
}

const MASQUERADE_RULES = `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.26.0/24 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 -d 10.5.26.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.26.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
`;
const MASQUERADE_JUMP = '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG\n';
const FORWARD_RULES = `-A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
`;
const FORWARD_JUMP = '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n';
const MARK_RULES =
  '-A FLANNEL-MARK -s 10.5.0.0/16 -d 10.5.26.0/24 -i flannel.1 -m comment --comment "flanneld mark" -j MARK --set-xmark 0x2000/0x2000\n';
const MARK_JUMP = '-A PREROUTING -m comment --comment "flanneld mark" -j FLANNEL-MARK\n';
const RAW_RULES =
  '-A FLANNEL-RAW -s 10.5.0.0/16 -d 10.5.26.0/24 -i flannel.1 -m comment --comment "flanneld raw" -j ACCEPT\n';
const RAW_JUMP = '-I PREROUTING 1 -m comment --comment "flanneld raw" -j FLANNEL-RAW\n';
const PREROUTING =
  `*mangle\n:FLANNEL-MARK - [0:0]\n${MARK_RULES}${MARK_JUMP}COMMIT\n` +
  `*raw\n:FLANNEL-RAW - [0:0]\n${RAW_RULES}${RAW_JUMP}COMMIT\n`;

const change = (saved: string, wanted = wanted4, names = NAMES) =>
  changeIptables(parseIptablesSave(saved), wanted, names);

const BASE_CHAINS: Readonly<Record<string, string[]>> = {
  nat: ['POSTROUTING'],
  filter: ['FORWARD'],
  mangle: ['PREROUTING'],
  raw: ['PREROUTING'],
};

/**
 * What iptables-restore --noflush does with the words that we use, to one saved text. Real kernels are asked in
 * test/firewall/.
 */
function restore(saved: string, transaction: string): string {
  const tables = new Map<string, Map<string, { policy: string; rules: string[] }>>();
  const chain = (table: string, name: string) => {
    const found = tables.get(table)?.get(name);
    assert.ok(found, `no chain ${name} in ${table}`);
    return found;
  };
  let table = '';
  for (const [isSaved, line] of [
    ...saved.split('\n').map((text) => [true, text] as const),
    ...transaction.split('\n').map((text) => [false, text] as const),
  ]) {
    const [verb = '', name = '', ...rest] = line.split(' ');
    const text = rest.join(' ');
    if (verb.startsWith('*')) {
      table = verb.slice(1);
      const base = BASE_CHAINS[table] ?? [];
      if (!tables.has(table)) {
        tables.set(table, new Map(base.map((it) => [it, { policy: 'ACCEPT', rules: [] }])));
      }
    } else if (verb.startsWith(':')) {
      const own = isSaved ? chainOrNew(table, verb.slice(1)) : undefined;
      if (own !== undefined) own.policy = name;
      else tables.get(table)?.set(verb.slice(1), { policy: '-', rules: [] });
    } else if (verb === '-A') {
      chain(table, name).rules.push(text);
    } else if (verb === '-I') {
      chain(table, name).rules.splice(Number(rest[0]) - 1, 0, rest.slice(1).join(' '));
    } else if (verb === '-D') {
      const { rules } = chain(table, name);
      assert.ok(rules.includes(text), `no rule ${text} in ${name}`);
      rules.splice(rules.indexOf(text), 1);
    } else if (verb === '-X') {
      assert.equal(chain(table, name).rules.length, 0);
      const used = [...(tables.get(table)?.values() ?? [])].some(({ rules }) =>
        rules.some((rule) => rule.endsWith(`-j ${name}`)),
      );
      assert.ok(!used, `${name} is in use`);
      tables.get(table)?.delete(name);
    }
  }
  return [...tables]
    .map(([name, chains]) => {
      const heads = [...chains].map(([it, { policy }]) => `:${it} ${policy} [0:0]\n`);
      const rules = [...chains].flatMap(([it, own]) => own.rules.map((rule) => `-A ${it} ${rule}\n`));
      return `*${name}\n${heads.join('')}${rules.join('')}COMMIT\n`;
    })
    .join('');

  function chainOrNew(inTable: string, name: string) {
    const chains = tables.get(inTable);
    const own = chains?.get(name) ?? { policy: '-', rules: [] };
    chains?.set(name, own);
    return own;
  }
}

test('on an untouched host: flannel 0.28 rules, a chain and a jump to each table', () => {
  const { transaction } = change('');
  assert.equal(
    transaction,
    `*nat\n:FLANNEL-POSTRTG - [0:0]\n${MASQUERADE_RULES}${MASQUERADE_JUMP}COMMIT\n` +
      `*filter\n:FLANNEL-FWD - [0:0]\n${FORWARD_RULES}${FORWARD_JUMP}COMMIT\n${PREROUTING}`,
  );
  assert.deepEqual(change(restore('', transaction)), { faults: [], transaction: '' });
});

test('IPv6 says the same with its own multicast range', () => {
  const { transaction } = change('', rulesOf(WANTED_RULES, 6));
  assert.match(
    transaction,
    /^-A FLANNEL-POSTRTG -s fc00::\/48 ! -d ff00::\/8 .* -j MASQUERADE --random-fully$/m,
  );
  assert.match(transaction, /^-A FLANNEL-POSTRTG -s fc00:0:0:1::\/64 -d fc00::\/48 .* -j RETURN$/m);
});

test('random ports off, exempt ranges, a second network', () => {
  const exempt = [p4('192.168.0.0/16'), p6('2001:db8::/32')];
  const { transaction } = change(
    '',
    rulesOf({ ...WANTED_RULES, randomFully: false, exempt }, 4),
    namesOf('100'),
  );
  assert.doesNotMatch(transaction, /random|2001/);
  assert.match(
    transaction,
    /-A FLANNEL-POSTRTG-100 -s 10.5.0.0\/16 -d 192.168.0.0\/16 .* -j RETURN\n-A FLANNEL-POSTRTG-100 -s 10.5.0.0\/16 ! -d 224/,
  );
  assert.match(transaction, /-A FORWARD .* -j FLANNEL-FWD-100\n/);
});

test('the bare rules of flannel 0.9 go in the transaction that brings ours, copies and previous values too', () => {
  const old = `*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN
-A POSTROUTING -s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.26.0/24 -j RETURN
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A POSTROUTING -s 10.9.0.0/16 -d 10.9.0.0/16 -j RETURN
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -s 10.5.0.0/16 -j ACCEPT
-A FORWARD -s 10.5.0.0/16 -j ACCEPT
-A FORWARD -d 10.5.0.0/16 -j ACCEPT
-A FORWARD -s 10.5.0.0/16 -i eth7 -j ACCEPT
COMMIT
`;
  const previous = { v4: { network: p4('10.9.0.0/16'), subnet: p4('10.9.1.1/24') } };
  const wanted = rulesOf({ ...WANTED_RULES, previous }, 4);
  const { transaction } = change(old, wanted);
  assert.equal(transaction.match(/^-D /gm)?.length, 9);
  const after = restore(old, transaction);
  const kept = after.split('\n').filter((line) => /^-A (POSTROUTING|FORWARD)/.test(line));
  assert.deepEqual(kept, [
    '-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
    MASQUERADE_JUMP.trim(),
    '-A FORWARD -s 10.5.0.0/16 -i eth7 -j ACCEPT',
    FORWARD_JUMP.trim(),
  ]);
  assert.equal(change(after, wanted).transaction, '');
});

test('the jump goes before a rule that ends the chain, and is found wrong behind it', () => {
  const rejecting = (jump: string) => `*filter
:FORWARD ACCEPT [0:0]
:LOGGED - [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -i docker0 -j ACCEPT
-A FORWARD -i eth9 -j DROP
-A FORWARD -j LOGGED
${jump}-A LOGGED -j LOG --log-prefix "no: "
-A LOGGED -j REJECT --reject-with icmp-host-prohibited
${FORWARD_RULES}COMMIT
`;
  const wanted = rulesOf({ ...WANTED_RULES, masquerade: false }, 4);
  const { faults, transaction } = change(rejecting(FORWARD_JUMP), wanted);
  assert.equal(faults[0], 'filter FORWARD: the jump to FLANNEL-FWD is behind "-j LOGGED"');
  assert.equal(
    transaction,
    `*filter\n${FORWARD_JUMP.replace('-A', '-D')}${FORWARD_JUMP.replace('-A FORWARD', '-I FORWARD 3')}COMMIT\n${PREROUTING}`,
  );
  assert.equal(change(restore(rejecting(FORWARD_JUMP), transaction), wanted).transaction, '');
  assert.ok(blocksForwarding(parseIptablesSave(rejecting(''))));
});

const DOCKER_28 = `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-USER -s 10.66.0.0/16 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
`;

test("where Docker drops what other hosts send to containers, its own hook lets the overlay's hosts through", () => {
  const wanted = rulesOf({ ...WANTED_RULES, masquerade: false }, 4);
  const { transaction } = change(DOCKER_28, wanted);
  assert.match(
    transaction,
    /-A FLANNEL-DOCKER -s 10.5.0.0\/16 -d 10.5.26.0\/24 -i flannel.1 .* -j ACCEPT\n-I DOCKER-USER/,
  );
  assert.match(transaction, /-I DOCKER-USER 2 -m comment --comment "flanneld forward" -j FLANNEL-DOCKER\n/);
  const after = restore(DOCKER_28, transaction);
  assert.equal(change(after, wanted).transaction, '');
  const restarting = after.replace('-A DOCKER ! -i docker0 -o docker0 -j DROP\n', '');
  assert.equal(change(restarting, wanted).transaction, '');
});

test('a drop of all in Docker’s chain for its users stays in force', () => {
  const wanted = rulesOf({ ...WANTED_RULES, masquerade: false }, 4);
  const right = restore(DOCKER_28, change(DOCKER_28, wanted).transaction);
  for (const drop of [
    '-A DOCKER-USER -j DROP',
    '-A DOCKER-USER -j REJECT --reject-with icmp-port-unreachable',
  ]) {
    const dropping = right.replace('-A DOCKER-USER -s 10.66', `${drop}\n-A DOCKER-USER -s 10.66`);
    assert.equal(change(dropping, wanted).transaction, '', drop);
    // Also where our rules come later.
    const before = DOCKER_28.replace('-A DOCKER-USER -s 10.66', `${drop}\n-A DOCKER-USER -s 10.66`);
    const after = restore(before, change(before, wanted).transaction);
    const order = after.split('\n').filter((line) => /^-A (FORWARD|DOCKER-USER) /.test(line));
    assert.equal(order.indexOf('-A FORWARD -j DOCKER-USER'), 0, after);
    assert.ok(order.indexOf(drop) < order.findIndex((line) => line.endsWith('-j FLANNEL-DOCKER')), after);
  }
});

/** As dockerd 29 writes it for two containers, one with a port published and one on a bridge of its own. */
const DOCKER_29_RAW = `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d 10.5.26.2/32 ! -i docker0 -j DROP
-A PREROUTING -d 172.18.0.2/32 ! -i br-9a1b2c3d4e5f -j DROP
COMMIT
`;

test('in the raw table the jump stays before the drops of Docker, even if another program inserts before it', () => {
  const right = restore(DOCKER_29_RAW, change(DOCKER_29_RAW).transaction);
  assert.equal(change(right).transaction, '');
  const jump = RAW_JUMP.replace('-I PREROUTING 1', '-A PREROUTING');
  assert.match(right, new RegExp(`OUTPUT ACCEPT .*\n:FLANNEL-RAW - .*\n${jump}-A PREROUTING -d 10.5.26.2`));
  for (const inserted of [
    '-A PREROUTING -d 10.5.26.3/32 ! -i docker0 -j DROP',
    '-A PREROUTING -j firewalld',
  ]) {
    const behind = right.replace(jump, `${inserted}\n${jump}`);
    const { faults, transaction } = change(behind);
    assert.deepEqual(faults, [
      `raw PREROUTING: the jump to FLANNEL-RAW is behind "${inserted.replace('-A PREROUTING ', '')}"`,
    ]);
    assert.equal(change(restore(behind, transaction)).transaction, '');
  }
});

test('two networks share the first places of the raw table', () => {
  const both = (text: string) =>
    [NAMES, namesOf('100')].reduce((saved, names) => {
      const { transaction } = change(saved, wanted4, names);
      return restore(saved, transaction);
    }, text);
  const right = both(DOCKER_29_RAW);
  assert.equal(both(right), right);
  const removed = restore(right, change(right, rulesOf(noRules(), 4), namesOf('100')).transaction);
  assert.doesNotMatch(removed, /-100/);
  assert.deepEqual(change(removed), { faults: [], transaction: '' });
});

test('with DirectRouting the device of the underlay counts as well; without devices or a mark nothing is put there', () => {
  const direct = rulesOf({ ...WANTED_RULES, arriveBy: ['flannel.1', 'eth0'] }, 4);
  const { transaction } = change('', direct);
  for (const device of ['flannel.1', 'eth0'])
    assert.match(transaction, new RegExp(`-A FLANNEL-RAW -s 10.5.0.0/16 -d 10.5.26.0/24 -i ${device} `));
  assert.doesNotMatch(
    change('', rulesOf({ ...WANTED_RULES, arriveBy: [] }, 4)).transaction,
    /RAW|MARK|PREROUTING/,
  );
  assert.doesNotMatch(change('', rulesOf({ ...WANTED_RULES, dockerMark: 0 }, 4)).transaction, /MARK |MARK\n/);
  assert.doesNotMatch(
    change('', rulesOf({ ...WANTED_RULES, forward: false }, 4)).transaction,
    /RAW|MARK |PREROUTING/,
  );
});

test('tables that the kernel may lack come last, are said, and are left alone when it lacks them', () => {
  assert.equal(change('').optional, undefined);
  const without = restore('', change('').transaction).replace(/\*mangle.*/s, '');
  const saved = parseIptablesSave(without);
  assert.equal(changeIptables(saved, wanted4, NAMES).optional, 'mangle');
  const lacking = (...tables: string[]) => changeIptables(saved, wanted4, NAMES, new Set(tables));
  assert.equal(lacking('mangle').optional, 'raw');
  assert.equal(lacking('mangle', 'raw').transaction, '');
  const drops = parseIptablesSave(without + DOCKER_29_RAW);
  const change29 = changeIptables(drops, wanted4, NAMES, new Set(['mangle', 'raw']));
  assert.equal(change29.optional, undefined, 'what Docker drops must be accepted');
  assert.match(change29.transaction, /^\*raw\n/);
});

test('Docker is known by its chains and by its drops', () => {
  const known = (text: string) => hasDocker(parseIptablesSave(text));
  assert.ok(known(DOCKER_28));
  assert.ok(known(DOCKER_29_RAW));
  assert.ok(!known(''));
  assert.ok(
    !known('*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.0.0.0/8 ! -i eth0 -j DROP\nCOMMIT\n'),
  );
});

test('rules that are not wanted go; a host that never had them is left alone', () => {
  const nothing = rulesOf(noRules(), 4);
  assert.deepEqual(change('', nothing), { faults: [], transaction: '' });
  const { transaction } = change(DOCKER_28);
  const after = restore(DOCKER_28, transaction);
  const cleaned = restore(after, change(after, nothing).transaction);
  assert.deepEqual(cleaned.replace(/\*(nat|mangle|raw)\n.*?COMMIT\n/gs, ''), DOCKER_28);
});

test('rules that stop forwarding, and rules that do not', () => {
  const blocks = (text: string) => blocksForwarding(parseIptablesSave(`*filter\n${text}COMMIT\n`));
  assert.ok(blocks(':FORWARD DROP [0:0]\n'));
  assert.ok(blocks(DOCKER_28.replace('*filter\n', '').replace('FORWARD DROP', 'FORWARD ACCEPT')));
  assert.ok(!blocks(':FORWARD ACCEPT [0:0]\n-A FORWARD -i eth9 -j DROP\n'));
  assert.ok(!blocks(':FORWARD ACCEPT [0:0]\n:X - [0:0]\n-A FORWARD -j X\n-A X -j RETURN\n-A X -j DROP\n'));
  assert.ok(!blocksForwarding(parseIptablesSave('')));
});

test('rules of others are counted, ours are not', () => {
  assert.equal(countForeignRules(parseIptablesSave(restore('', change('').transaction))), 0);
  assert.equal(countForeignRules(parseIptablesSave(DOCKER_28)), 8);
});

test('after any disorder one transaction makes it right, a second look finds nothing, and foreign rules stay in order', () => {
  const ours =
    `${MASQUERADE_RULES}${FORWARD_RULES}${MASQUERADE_JUMP}${FORWARD_JUMP}${RAW_RULES}${RAW_JUMP.replace('-I PREROUTING 1', '-A PREROUTING')}`
      .trim()
      .split('\n');
  const foreign = [
    '-A PREROUTING -d 10.5.26.2/32 ! -i docker0 -m comment --comment raw -j DROP',
    '-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
    '-A POSTROUTING -j MASQUERADE',
    '-A FORWARD -j OTHER',
    '-A FORWARD -j REJECT --reject-with icmp-host-prohibited',
    '-A FORWARD -i eth9 -j DROP',
    '-A OTHER -j RETURN',
    '-A OTHER -s 10.66.0.0/16 -j DROP',
  ];
  const bare = [
    '-A FORWARD -s 10.5.0.0/16 -j ACCEPT',
    '-A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN',
  ];
  const isOfNat = (line: string) => /POSTRTG|^-A POSTROUTING/.test(line);
  const isOfRaw = (line: string) => /raw/.test(line);
  const isForeign = (line: string) =>
    line.startsWith('-A') && !line.includes('FLANNEL-') && !bare.includes(line);
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...ours, ...foreign, ...bare), { maxLength: 20 }),
      fc.boolean(),
      (lines, on) => {
        const nat = lines.filter(isOfNat).join('\n');
        const raw = lines.filter(isOfRaw).join('\n');
        const filter = lines.filter((line) => !isOfNat(line) && !isOfRaw(line)).join('\n');
        const before = restore(
          '',
          `*nat\n:FLANNEL-POSTRTG - [0:0]\n${nat}\nCOMMIT\n*filter\n:OTHER - [0:0]\n:FLANNEL-FWD - [0:0]\n${filter}\nCOMMIT\n*raw\n:FLANNEL-RAW - [0:0]\n${raw}\nCOMMIT\n`,
        );
        const wanted = rulesOf({ ...WANTED_RULES, masquerade: on }, 4);
        const { transaction } = change(before, wanted);
        const after = restore(before, transaction);
        assert.deepEqual(change(after, wanted), { faults: [], transaction: '' });
        assert.deepEqual(after.split('\n').filter(isForeign), before.split('\n').filter(isForeign));
        const jumps = after.split('\n').filter((line) => /^-A (POSTROUTING|FORWARD) .*FLANNEL-/.test(line));
        assert.equal(jumps.length, on ? 2 : 1);
        const first = after.split('\n').find((line) => /^-A PREROUTING .*raw/.test(line));
        assert.match(first ?? '', /-j FLANNEL-RAW$/);
      },
    ),
  );
});

test('a network that is a single address reads back', () => {
  const prefix = parsePrefix('10.5.0.1/32');
  assert.equal(prefix?.family, 4);
  const v4 = { network: p4('10.5.0.1/32'), subnet: p4('10.5.0.1/32') };
  const wanted = rulesOf({ ...WANTED_RULES, v4 }, 4);
  const { transaction } = change('', wanted);
  assert.equal(change(restore('', transaction), wanted).transaction, '');
});

test('a bare rule whose comment has a line break is left alone: iptables-restore could not name it', () => {
  const text = `*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -s 10.5.0.0/16 -m comment --comment "one
two" -j ACCEPT
COMMIT
`;
  assert.doesNotMatch(change(text).transaction, /^-D|two/m);
});
