import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { WantedRules } from '#src/firewall/rules.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import type { FirewallOptions } from '#src/reconcile/rules/firewall.ts';
import { cannotRun } from '../support/test-lab.ts';
import { WANTED_RULES } from '../support/wanted-rules.ts';
import { commandsOf, firewallOf, IPTABLES, KINDS, type Kind, NFTABLES } from './kinds.ts';
import { must, Namespace } from './namespace.ts';

/*
 * The rules on a real kernel, in each of the three firewalls, IPv4 and IPv6 at once. One host, no packets:
 *
 *     h1 (its own namespace): iptables-nft | iptables-legacy | nft
 */
const skip = cannotRun('iptables', 'iptables-legacy', 'nft');

/** A host on which `iptables` is the kind's, and its firewall. */
async function hostOf(t: TestContext, kind: Kind) {
  const host = await Namespace.make(t);
  const make = (options?: Partial<FirewallOptions>) => firewallOf(host, kind, options);
  return { host, commands: commandsOf(host, kind), make, firewall: make() };
}

/** Everything in all three firewalls, without counters, times and handles. */
async function everything(host: Namespace): Promise<string> {
  const saves = ['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'ip6tables-legacy-save'];
  const [ruleset = '', ...texts] = await Promise.all(
    ['nft -s list ruleset', ...saves].map((it) => host.must(it)),
  );
  // iptables-nft's own tables are in its saves, in a form that shows all of a rule.
  const native = ruleset.replace(/^table ip6? (nat|filter|mangle|raw) \{\n.*?^\}\n/gms, '');
  return [...texts, ...native.split(/^(?=table)/m).sort()]
    .join('')
    .replace(/^#.*\n/gm, '')
    .replace(/\[\d+:\d+\]/g, '');
}

/** Rules of others, above, below and around ours: those of a host with Docker, and an administrator's. */
const FOREIGN = `*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.18.0.0/16 ! -o docker1 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -m comment --comment "from FLANNEL-FWD" -j ACCEPT
-A FORWARD -i eth9 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
*mangle
-A PREROUTING -j CONNMARK --restore-mark
COMMIT
*raw
-A PREROUTING -i eth9 -j DROP
COMMIT
`;

for (const kind of KINDS) {
  test(`${kind.name}: as wanted right after it was applied; applied again nothing changes`, {
    skip,
  }, async (t) => {
    const { host, firewall, make } = await hostOf(t, kind);
    assert.equal((await firewall.verify(WANTED_RULES)).asWanted, false);
    assert.notDeepEqual(await firewall.apply(WANTED_RULES), []);
    assert.deepEqual(await firewall.verify(WANTED_RULES), { asWanted: true });
    const before = await everything(host);
    assert.deepEqual(await firewall.apply(WANTED_RULES), []);
    assert.deepEqual(await make().apply(WANTED_RULES), []);
    assert.deepEqual(await make().cleanOther(WANTED_RULES), []);
    assert.equal(await everything(host), before);
  });

  test(`${kind.name}: other values, and every switch, replace what was there`, { skip }, async (t) => {
    const { host, firewall } = await hostOf(t, kind);
    const other = { network: prefix4(ipv4(0x0a090000), 16), subnet: prefix4(ipv4(0x0a090101), 24) };
    for (const wanted of [
      WANTED_RULES,
      { ...WANTED_RULES, v4: other },
      { ...WANTED_RULES, randomFully: false },
      { ...WANTED_RULES, masquerade: false },
      { ...WANTED_RULES, forward: false },
      { ...WANTED_RULES, exempt: [prefix4(ipv4(0xc0a80000), 16)] },
    ]) {
      await firewall.apply(wanted);
      assert.deepEqual(await firewall.verify(wanted), { asWanted: true });
      const now = await everything(host);
      assert.equal(now.includes('10.9.'), wanted.v4 === other);
      assert.equal(
        /[Mm][Aa][Ss][Qq][Uu][Ee][Rr][Aa][Dd][Ee]\b(?! by)/.test(now.replace(/"[^"]*"/g, '')),
        wanted.masquerade,
      );
      assert.equal(/accept$|-j ACCEPT/m.test(now.replace(/policy accept;/g, '')), wanted.forward);
    }
  });

  test(`${kind.name}: two networks side by side do not touch each other`, { skip }, async (t) => {
    const { host, make } = await hostOf(t, kind);
    const second: WantedRules = {
      ...WANTED_RULES,
      v4: { network: prefix4(ipv4(0x0a090000), 16), subnet: prefix4(ipv4(0x0a090101), 24) },
    };
    const [one, two] = [make(), make({ instance: '100' })];
    await one.apply(WANTED_RULES);
    const alone = await everything(host);
    await two.apply(second);
    assert.deepEqual(await one.verify(WANTED_RULES), { asWanted: true });
    assert.deepEqual(await two.verify(second), { asWanted: true });
    await two.removeAll();
    assert.equal(await everything(host), alone);
  });

  test(`${kind.name}: foreign rules stay as they are, in number and in order, through all of it`, {
    skip,
  }, async (t) => {
    const { host, commands, firewall } = await hostOf(t, kind);
    await must(commands, ['iptables-restore', '--noflush'], FOREIGN);
    await must(commands, ['ip6tables-restore', '--noflush'], FOREIGN.replace('172.18.0.0/16', 'fd18::/64'));
    await host.must(
      'nft -f -',
      'table inet other {\nchain forward {\ntype filter hook forward priority 10;\nip saddr 10.5.0.0/16 accept\n}\n}\n',
    );
    const before = await everything(host);
    await firewall.apply(WANTED_RULES);
    await firewall.cleanOther(WANTED_RULES);
    assert.deepEqual(await firewall.verify(WANTED_RULES), { asWanted: true });
    assert.notEqual(await everything(host), before);
    await firewall.removeAll();
    assert.equal(await everything(host), before);
    assert.deepEqual(await firewall.removeAll(), []);
  });
}

/** Ways to spoil one chain, as lines of iptables-restore; CHAIN, PARENT and JUMP stand for the names and our jump. */
const DRIFTS: Readonly<Record<string, string>> = {
  'chain flushed': '-F CHAIN',
  'chain deleted': '-F PARENT\n-F CHAIN\n-X CHAIN',
  'foreign rule in the chain': '-I CHAIN -p tcp -j RETURN',
  'jump deleted': '-F PARENT',
  'jump twice': '-A PARENT JUMP',
  'jump changed': '-F PARENT\n-A PARENT -p tcp JUMP',
  'jump behind a rule that ends the chain': '-I PARENT -j RETURN',
  'all flushed': '-F',
  'all flushed and deleted': '-F\n-X',
};

/** By the comment of our rules in them. */
const TABLES: Readonly<Record<string, string>> = {
  masq: 'nat',
  forward: 'filter',
  mark: 'mangle',
  raw: 'raw',
};

for (const kind of IPTABLES) {
  test(`${kind.name}: each rule deleted, moved or doubled is noticed and mended`, { skip }, async (t) => {
    const { commands, firewall } = await hostOf(t, kind);
    await firewall.apply(WANTED_RULES);
    for (const program of ['iptables', 'ip6tables'] as const) {
      const rulesNow = async () =>
        (await must(commands, [`${program}-save`])).split('\n').filter((line) => line.startsWith('-A'));
      const rules = await rulesNow();
      assert.equal(rules.length, 14);
      for (const [index, rule] of rules.entries()) {
        const [, kind = ''] = /"flanneld (\w+)"/.exec(rule) ?? [];
        const table = TABLES[kind];
        const remove = `-D${rule.slice(2)}`;
        const isLast = rule.split(' ')[1] !== rules[index + 1]?.split(' ')[1];
        for (const words of isLast ? [remove, rule] : [remove, rule, `${remove}\n${rule}`]) {
          await must(commands, [`${program}-restore`, '--noflush'], `*${table}\n${words}\nCOMMIT\n`);
          assert.notDeepEqual(await firewall.apply(WANTED_RULES), [], words);
          assert.deepEqual(await rulesNow(), rules, words);
        }
      }
    }
  });

  for (const [name, lines] of Object.entries(DRIFTS)) {
    test(`${kind.name}: ${name}: noticed and mended`, { skip }, async (t) => {
      const { commands, firewall } = await hostOf(t, kind);
      await firewall.apply(WANTED_RULES);
      for (const program of ['iptables', 'ip6tables'] as const) {
        for (const [table, chain, parent, comment] of [
          ['nat', 'FLANNEL-POSTRTG', 'POSTROUTING', 'flanneld masq'],
          ['filter', 'FLANNEL-FWD', 'FORWARD', 'flanneld forward'],
          ['mangle', 'FLANNEL-MARK', 'PREROUTING', 'flanneld mark'],
          ['raw', 'FLANNEL-RAW', 'PREROUTING', 'flanneld raw'],
        ] as const) {
          const rulesNow = async () =>
            (await must(commands, [`${program}-save`])).match(/^-A .*FLANNEL.*$/gm);
          const right = await rulesNow();
          const drift = lines
            .replaceAll('JUMP', `-m comment --comment "${comment}" -j ${chain}`)
            .replaceAll('CHAIN', chain)
            .replaceAll('PARENT', parent);
          await must(commands, [`${program}-restore`, '--noflush'], `*${table}\n${drift}\nCOMMIT\n`);
          const verdict = await firewall.verify(WANTED_RULES);
          assert.ok(
            !verdict.asWanted && verdict.missing.every((text) => text.startsWith(`${program} ${table} `)),
          );
          assert.deepEqual(await firewall.apply(WANTED_RULES), verdict.missing);
          assert.deepEqual(await firewall.verify(WANTED_RULES), { asWanted: true });
          assert.deepEqual(await rulesNow(), right);
        }
      }
    });
  }

  test(`${kind.name}: the bare rules of flannel 0.9 and the chains of 0.28 with other values are replaced`, {
    skip,
  }, async (t) => {
    const { commands, firewall, make } = await hostOf(t, kind);
    const bare = `*nat
-A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN
-A POSTROUTING -s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.26.0/24 -j RETURN
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o docker1 -j MASQUERADE
COMMIT
*filter
-A FORWARD -s 10.5.0.0/16 -j ACCEPT
-A FORWARD -d 10.5.0.0/16 -j ACCEPT
COMMIT
`;
    const previous = {
      v4: { network: prefix4(ipv4(0x0a090000), 16), subnet: prefix4(ipv4(0x0a090101), 24) },
    };
    await make().apply({ ...WANTED_RULES, ...previous });
    for (const text of [bare, bare, bare.replaceAll('10.5.26', '10.9.1').replaceAll('10.5.', '10.9.')]) {
      await must(commands, ['iptables-restore', '--noflush'], text);
    }
    const wanted = { ...WANTED_RULES, previous };
    const plan = await firewall.plan(wanted);
    assert.equal(plan.length, 1, 'one transaction: only IPv4 has something to change');
    await firewall.apply(wanted);
    assert.deepEqual(await firewall.verify(wanted), { asWanted: true });
    const stdout = await must(commands, ['iptables-save']);
    assert.doesNotMatch(stdout, /10\.9\./);
    assert.equal(stdout.match(/^-A /gm)?.length, 5 * 2 + 4 + 3, 'ours, and three copies of a foreign one');
  });
}

test('nftables: each rule deleted, moved or doubled, and each chain or the table gone, is noticed and mended', {
  skip,
}, async (t) => {
  const { host, firewall } = await hostOf(t, NFTABLES);
  await firewall.apply(WANTED_RULES);
  const right = await everything(host);
  const spoil = async (text: string) => {
    await host.must('nft -f -', text);
    assert.equal((await firewall.verify(WANTED_RULES)).asWanted, false, text);
    await firewall.apply(WANTED_RULES);
    assert.equal(await everything(host), right, text);
  };
  const rulesIn = async (place: string) => {
    const listed = await host.must(`nft -a list chain ${place}`);
    const rules = [...listed.matchAll(/^\t\t((?:meta|ip6?|iifname) .*) # handle (\d+)$/gm)];
    return rules.map(([, text, handle]) => ({ text, remove: `delete rule ${place} handle ${handle}\n` }));
  };
  for (const [family, table] of [
    ['ip', 'flannel-ipv4'],
    ['ip6', 'flannel-ipv6'],
  ] as const) {
    for (const [chain, rules] of [
      ['forward', 2],
      ['postrtg', 6],
      ['fwmark', 1],
    ] as const) {
      const place = `${family} ${table} ${chain}`;
      assert.equal((await rulesIn(place)).length, rules);
      for (let index = 0; index < rules; index++) {
        await spoil((await rulesIn(place))[index]?.remove ?? '');
        const rule = (await rulesIn(place))[index];
        const again = `add rule ${place} ${rule?.text}\n`;
        await spoil(again);
        if (index + 1 < rules) await spoil(`${(await rulesIn(place))[index]?.remove}${again}`);
      }
      await spoil(`flush chain ${place}\n`);
      await spoil(`flush chain ${place}\ndelete chain ${place}\n`);
      await spoil(`add rule ${place} tcp dport 80 drop\n`);
    }
    await spoil(`add chain ${family} ${table} stranger\n`);
    await spoil(`delete table ${family} ${table}\n`);
  }
  await spoil('flush ruleset\n');
});

test('nftables: the table of flannel 0.28 is replaced', { skip }, async (t) => {
  const { host, firewall } = await hostOf(t, NFTABLES);
  await firewall.apply({ ...WANTED_RULES, randomFully: false });
  await host.must(
    'nft -f -',
    `flush chain ip flannel-ipv4 postrtg
add rule ip flannel-ipv4 postrtg meta mark 0x4000 return
add rule ip flannel-ipv4 postrtg ip saddr 10.5.26.0/24 ip daddr 10.5.0.0/16 return
add rule ip flannel-ipv4 postrtg ip saddr 10.5.0.0/16 ip daddr 10.5.26.0/24 return
add rule ip flannel-ipv4 postrtg ip saddr != 10.5.26.0/24 ip daddr 10.5.0.0/16 return
add rule ip flannel-ipv4 postrtg ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
add rule ip flannel-ipv4 postrtg ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random
`,
  );
  assert.equal(
    (await firewall.apply(WANTED_RULES)).length,
    4,
    'two rules of IPv4, random ports in two of IPv6',
  );
  assert.deepEqual(await firewall.verify(WANTED_RULES), { asWanted: true });
});

test('a change of firewall, to and fro, leaves rules in the one in use only', { skip }, async (t) => {
  const { host, make } = await hostOf(t, NFTABLES);
  for (const mode of ['iptables', 'nftables', 'iptables', 'nftables'] as const) {
    const firewall = make({ mode });
    await firewall.apply(WANTED_RULES);
    await firewall.cleanOther(WANTED_RULES);
    const now = await everything(host);
    assert.equal(now.includes('table ip flannel-ipv4'), mode === 'nftables');
    assert.equal(now.includes('FLANNEL-POSTRTG'), mode === 'iptables');
    assert.equal(now.includes('FLANNEL-FWD'), mode === 'iptables');
  }
});

test('the iptables that holds the rules of the host is used, and the other is cleaned', {
  skip,
}, async (t) => {
  const { host, make } = await hostOf(t, NFTABLES);
  await make({ mode: 'auto' }).apply(WANTED_RULES);
  assert.match(await host.must('iptables-nft-save'), /FLANNEL-POSTRTG/);
  await host.must('iptables-legacy-restore', FOREIGN);
  const restarted = make({ mode: 'auto' });
  await restarted.apply(WANTED_RULES);
  await restarted.cleanOther(WANTED_RULES);
  assert.match(await host.must('iptables-legacy-save'), /FLANNEL-POSTRTG/);
  assert.doesNotMatch(await host.must('iptables-nft-save'), /FLANNEL/);
  assert.deepEqual(await restarted.verify(WANTED_RULES), { asWanted: true });
});
