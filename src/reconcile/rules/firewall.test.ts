import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { Firewall, type FirewallOptions } from '#src/reconcile/rules/firewall.ts';
import { findPrograms } from '#src/reconcile/rules/programs.ts';
import type { CommandOptions, CommandResult, CommandRunner } from '#src/sys/command.ts';

const WANTED: WantedRules = {
  v4: { network: prefix4(ipv4(0x0a050000), 16), subnet: prefix4(ipv4(0x0a051a01), 24) },
  masquerade: true,
  forward: true,
  randomFully: true,
  arriveBy: ['flannel.1'],
  dockerMark: 0x2000,
};
const DOCKER = '*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i docker0 -j ACCEPT\nCOMMIT\n';
const ABSENT: Partial<CommandResult> = { code: 127, stderr: 'spawn ENOENT' };
const NO_TABLE: Partial<CommandResult> = { code: 1, stderr: 'Error: No such file or directory\nlist table' };

type Answer = Partial<CommandResult> | string;

/** Programs that give the answers of a table, by the whole command line; any other is not there. */
class Programs implements CommandRunner {
  readonly ran: string[] = [];
  readonly inputs: string[] = [];
  readonly answers: Record<string, Answer>;

  constructor(answers: Record<string, Answer>) {
    this.answers = answers;
  }

  async run(argv: readonly string[], { stdin }: CommandOptions = {}): Promise<CommandResult> {
    const line = argv.join(' ');
    this.ran.push(line);
    if (stdin !== undefined) this.inputs.push(stdin);
    const answer = this.answers[line] ?? ABSENT;
    const { code = 0, stdout = '', stderr = '' } = typeof answer === 'string' ? { stdout: answer } : answer;
    return { code, stdout, stderr };
  }
}

const IPTABLES = { 'iptables --version': 'iptables v1.8.9 (nf_tables)\n', 'iptables-save': '' };
const NFT = { 'nft --version': 'nftables v1.0.6 (Lester Gooch #5)\n' };
const RESTORE = 'iptables-restore --noflush --wait=5';
const LIST = 'nft -j list table ip flannel-ipv4';

function firewall(
  answers: Record<string, Answer>,
  options: FirewallOptions = { mode: 'auto' },
  log = silentLogger,
) {
  const programs = new Programs(answers);
  return { programs, firewall: new Firewall({ commands: programs, log }, options) };
}

function listener(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const say = (message: string) => void lines.push(message);
  return { log: { ...silentLogger, info: say, warning: say }, lines };
}

test('auto takes iptables, and reads once, writes once for each family', async () => {
  const { programs, firewall: own } = firewall({ ...IPTABLES, ...NFT, [RESTORE]: '' });
  const mended = await own.apply(WANTED);
  assert.equal(mended.length, 8, 'four chains, and a jump to each');
  assert.ok(mended.every((text) => text.startsWith('iptables ')));
  assert.deepEqual(programs.ran.slice(-2), ['iptables-save', RESTORE]);
  assert.equal(programs.inputs.length, 1);
});

for (const [tables, looked] of [
  [undefined, false],
  ['', false],
  ['filter\n', true],
] as const) {
  test(`iptables-legacy-save is ${looked ? '' : 'not '}run when the kernel lists ${JSON.stringify(tables)}`, async () => {
    const programs = new Programs({ ...IPTABLES, 'iptables-legacy-save': '', [RESTORE]: '' });
    const files = { read: async () => tables };
    await new Firewall({ commands: programs, files, log: silentLogger }, { mode: 'auto' }).apply(WANTED);
    assert.equal(programs.ran.includes('iptables-legacy-save'), looked);
    assert.equal(programs.ran.at(-1), RESTORE);
  });
}

/** What a kernel with these tables of IPv4 says, and how often something in them changed. */
const rulesetOf = (names: readonly string[], generation = 1): Ruleset => ({
  generation: async () => generation,
  tables: async (family) => (family === 4 ? names : []),
});
const NO_LEGACY = { read: async () => undefined };

test('where the kernel has no tables, one question and one write make the rules', async () => {
  const programs = new Programs({ ...IPTABLES, ...NFT, [RESTORE]: '' });
  const own = new Firewall(
    { commands: programs, files: NO_LEGACY, ruleset: rulesetOf(['other']), log: silentLogger },
    { mode: 'auto' },
  );
  await own.apply(WANTED);
  await own.cleanOther(WANTED);
  assert.deepEqual(programs.ran, ['iptables --version', RESTORE, RESTORE]);
});

test('nft is asked and listed only where it has a table, or is in use', async () => {
  const listed = {
    ...NFT,
    [LIST]: '{"nftables": []}',
    'iptables-save': '',
    'nft -f -': '',
    'iptables-restore --noflush --wait=5': '',
  };
  for (const [names, mode, ran] of [
    [['flannel-ipv4'], 'auto', ['iptables --version', 'nft --version', LIST, RESTORE, 'nft -f -']],
    [['nat'], 'auto', ['iptables --version', 'iptables-save', RESTORE]],
    [[], 'nftables', ['iptables --version', 'nft --version', 'nft -f -']],
  ] as const) {
    const programs = new Programs({ ...IPTABLES, ...listed });
    const own = new Firewall(
      { commands: programs, files: NO_LEGACY, ruleset: rulesetOf(names), log: silentLogger },
      { mode },
    );
    await own.cleanOther(WANTED);
    assert.deepEqual([...programs.ran].sort(), [...ran].sort(), mode);
  }
});

test('while nothing changes and all is as wanted, no program is run; legacy tables are looked at all the same', async () => {
  const nothing = { ...WANTED, masquerade: false, forward: false };
  const programs = new Programs({ ...IPTABLES, 'iptables-legacy-save': '' });
  let generation: number | undefined = 1;
  let legacy = '';
  const own = new Firewall(
    {
      commands: programs,
      files: { read: async () => legacy },
      ruleset: { generation: async () => generation, tables: async () => undefined },
      log: silentLogger,
    },
    { mode: 'auto' },
  );
  const ranBy = async (wanted = nothing) => {
    const before = programs.ran.length;
    await own.apply(wanted);
    return programs.ran.slice(before);
  };
  await ranBy();
  assert.deepEqual(await ranBy(), []);
  generation++;
  assert.deepEqual(await ranBy(), ['iptables-save']);
  assert.deepEqual(await ranBy(), []);
  assert.deepEqual(await ranBy({ ...nothing, randomFully: false }), ['iptables-save']);
  legacy = 'filter\n';
  for (let times = 0; times < 2; times++)
    assert.deepEqual(await ranBy(), ['iptables-save', 'iptables-legacy-save']);
  legacy = '';
  assert.deepEqual(await ranBy(), []);
  generation = undefined;
  for (let times = 0; times < 2; times++) assert.deepEqual(await ranBy(), ['iptables-save']);
});

test('auto without iptables takes nftables and says so once', async () => {
  const { log, lines } = listener();
  const { programs, firewall: own } = firewall(
    { ...NFT, [LIST]: NO_TABLE, 'nft -f -': '' },
    { mode: 'auto' },
    log,
  );
  await own.apply(WANTED);
  await own.apply(WANTED);
  assert.deepEqual(lines, ['There is no iptables on this host; using nftables']);
  assert.ok(programs.ran.includes('nft -f -'));
});

test('a program that is not there is named with its package', async () => {
  const cases: [FirewallOptions['mode'], Record<string, Answer>, RegExp][] = [
    ['auto', {}, /no iptables nor nft on this host; install the package iptables/],
    ['iptables', NFT, /no iptables on this host; install the package iptables/],
    ['nftables', IPTABLES, /no nft on this host; install the package nftables/],
  ];
  for (const [mode, answers, expected] of cases) {
    const { firewall: own } = firewall(answers, { mode });
    await assert.rejects(own.apply(WANTED), (error) => {
      assert.ok(error instanceof WeftError && error.code === 'firewall-missing');
      assert.match(messageOf(error), expected);
      return true;
    });
  }
});

test('where nothing is wanted no program is needed', async () => {
  const { firewall: own } = firewall({});
  const wanted = { ...WANTED, masquerade: false, forward: false };
  assert.deepEqual(await own.apply(wanted), []);
  assert.deepEqual(await own.verify(wanted), { asWanted: true });
  assert.deepEqual(await own.cleanOther(wanted), []);
  assert.deepEqual(await own.removeAll(), []);
});

test('iptables before 1.6.2 is spared the words it does not know', async () => {
  const { programs, firewall: own } = firewall({
    'iptables --version': 'iptables v1.6.1\n',
    'iptables-save': '',
    'iptables-restore --noflush': '',
  });
  await own.apply(WANTED);
  assert.equal(programs.inputs.length, 1);
  assert.doesNotMatch(programs.inputs.join(), /random-fully/);
});

test('the iptables that the host keeps its rules in is used; rules in both are reported once', async () => {
  const chosen: [Record<string, Answer>, string, RegExp | undefined][] = [
    [
      { 'iptables-legacy-save': DOCKER },
      'iptables-legacy-restore --noflush --wait=5',
      /keeps its rules in iptables-legacy/,
    ],
    [{ 'iptables-legacy-save': '' }, RESTORE, undefined],
    [{ 'iptables-save': DOCKER, 'iptables-legacy-save': '' }, RESTORE, undefined],
    [
      { 'iptables-save': DOCKER, 'iptables-legacy-save': DOCKER.replace('DROP', 'ACCEPT') },
      RESTORE,
      /rules in iptables-nft and in iptables-legacy; packets pass both. Using iptables-nft/,
    ],
  ];
  for (const [saved, restore, said] of chosen) {
    const { log, lines } = listener();
    const { programs, firewall: own } = firewall(
      { ...IPTABLES, ...saved, [restore]: '' },
      { mode: 'auto' },
      log,
    );
    await own.apply(WANTED);
    await own.apply(WANTED);
    assert.deepEqual([...new Set(programs.ran.filter((line) => line.includes('-restore')))], [restore]);
    assert.equal(lines.length, said === undefined ? 0 : 1);
    if (said !== undefined) assert.match(lines.join(), said);
  }
});

test('with nftables in use, an iptables that drops what is forwarded gets the forward rules, and only those', async () => {
  const answers = { ...IPTABLES, ...NFT, [LIST]: NO_TABLE, 'nft -f -': '', [RESTORE]: '' };
  const { programs, firewall: own } = firewall({ ...answers, 'iptables-save': DOCKER }, { mode: 'nftables' });
  await own.apply(WANTED);
  assert.deepEqual(programs.ran.slice(-2), ['nft -f -', RESTORE]);
  assert.match(programs.inputs[1] ?? '', /^\*filter\n:FLANNEL-FWD/);
  assert.doesNotMatch(programs.inputs[1] ?? '', /nat/);
  const open = firewall(answers, { mode: 'nftables' });
  await open.firewall.apply(WANTED);
  assert.equal(open.programs.ran.at(-1), 'nft -f -');
});

test('a plan holds what apply would run, and runs nothing', async () => {
  const { programs, firewall: own } = firewall({ ...IPTABLES, [RESTORE]: '' });
  const plan = await own.plan(WANTED);
  assert.equal(programs.inputs.length, 0);
  await own.apply(WANTED);
  assert.deepEqual(
    plan.map(({ command }) => command.join(' ')),
    [RESTORE],
  );
  assert.deepEqual(
    plan.map(({ input }) => input),
    programs.inputs,
  );
});

test('a refused transaction is tried again from a fresh look; then one line says what refused it and why', async () => {
  const { programs, firewall: own } = firewall({
    ...IPTABLES,
    [RESTORE]: {
      code: 4,
      stderr: '# Warning: iptables-legacy tables present\niptables-restore: line 3 failed\nmore\n',
    },
  });
  await assert.rejects(own.apply(WANTED), {
    message: `could not set the firewall rules: "${RESTORE}" ended with 4: iptables-restore: line 3 failed`,
  });
  assert.deepEqual(programs.ran.slice(-6), new Array(3).fill(['iptables-save', RESTORE]).flat());
});

const LACKS: Partial<CommandResult> = {
  code: 1,
  stderr: "can't initialize iptables table: Table does not exist",
};

/** iptables over a kernel that says of each table but nat and filter whether it has it. `refused`: how it did not take one. */
function tablesOfKernel(answerFor: (table: string) => Partial<CommandResult> | undefined) {
  const refused: string[] = [];
  const kernel = new Map<string, string>();
  const commands: CommandRunner = {
    async run([program], { stdin } = {}) {
      const answer = (given: Partial<CommandResult>) => ({ code: 0, stdout: '', stderr: '', ...given });
      if (program === 'iptables') return answer({ stdout: 'iptables v1.8.9 (nf_tables)' });
      if (program === 'iptables-save') return answer({ stdout: [...kernel.values()].join('') });
      if (program !== 'iptables-restore' || stdin === undefined) return answer(ABSENT);
      for (const text of stdin.split(/^(?=\*)/m)) {
        const [table = ''] = /(?<=\*)\w+/.exec(text) ?? [];
        const given = /nat|filter/.test(table) ? undefined : answerFor(table);
        if (given !== undefined) {
          refused.push(table);
          return answer(given);
        }
        const chain = { nat: 'POSTROUTING', filter: 'FORWARD' }[table] ?? 'PREROUTING';
        const rules = text.replace(/^-I (\S+) \d+/gm, '-A $1');
        kernel.set(table, rules.replace(`*${table}\n`, `*${table}\n:${chain} ACCEPT [0:0]\n`));
      }
      return answer({});
    },
  };
  return { commands, refused, kernel };
}

test('a kernel without the tables raw and mangle: the other rules are set, and it is said once', async () => {
  const { commands, refused, kernel } = tablesOfKernel(() => LACKS);
  const { log, lines } = listener();
  const own = new Firewall({ commands, log }, { mode: 'auto' });
  await own.apply(WANTED);
  assert.match([...kernel.values()].join(''), /FLANNEL-POSTRTG.*FLANNEL-FWD/s);
  assert.deepEqual(refused, ['mangle', 'mangle', 'raw']);
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /^Going on without rules in the table mangle: .*Table does not exist/);
  await own.apply(WANTED);
  assert.equal(refused.length, 3);
  assert.deepEqual(await own.verify(WANTED), { asWanted: true });
  // Less and less often, and without a word.
  const tries: number[] = [];
  for (let call = 2; call < 200; call++) {
    await own.apply(WANTED);
    if (refused.splice(0).length > 0) tries.push(call);
  }
  assert.deepEqual(tries, [2, 6, 14, 30, 62, 126, 190]);
  assert.equal(lines.length, 2);
});

test('a table that the kernel refused once has its rules soon', async () => {
  let lacks = true;
  const { commands, kernel } = tablesOfKernel((table) => (lacks && table === 'mangle' ? LACKS : undefined));
  const { log, lines } = listener();
  let generation = 1;
  const ruleset: Ruleset = { generation: async () => generation, tables: async () => undefined };
  const own = new Firewall({ commands, log, ruleset }, { mode: 'auto' });
  await own.apply(WANTED);
  assert.equal(kernel.has('mangle'), false);
  assert.ok(kernel.has('raw'), 'the one behind it is filled');
  generation = 2;
  lacks = false;
  await own.apply(WANTED);
  assert.equal(kernel.has('mangle'), false);
  // Although the kernel says that nothing has changed.
  await own.apply(WANTED);
  assert.match(kernel.get('mangle') ?? '', /FLANNEL-MARK/);
  assert.match(lines.at(-1) ?? '', /^Nothing is left out of the table mangle any more$/);
  assert.equal(lines.length, 2);
});

for (const [what, cut] of [
  ['was killed for its time', { code: 124, stderr: 'timed out after 10000 ms' }],
  ['was killed', { code: 137 }],
  ['could not be started', { code: 125, stderr: 'spawn EAGAIN' }],
  ['did not get the lock', { code: 4, stderr: 'Another app is currently holding the xtables lock' }],
] as const)
  test(`a program that ${what} says nothing of the kernel: it runs again`, async () => {
    let times = 1;
    const { commands, kernel } = tablesOfKernel((table) =>
      table === 'mangle' && times-- > 0 ? cut : undefined,
    );
    const { log, lines } = listener();
    const own = new Firewall({ commands, log }, { mode: 'auto' });
    await own.apply(WANTED);
    assert.match(kernel.get('mangle') ?? '', /FLANNEL-MARK/);
    assert.deepEqual(lines, []);
    // Each time: a failure, as with the tables that every kernel has.
    times = Number.POSITIVE_INFINITY;
    kernel.delete('mangle');
    await assert.rejects(own.apply(WANTED), { code: 'firewall' });
    assert.deepEqual(lines, []);
  });

test('a look that did not come to its end is made again', async () => {
  const answers: Record<string, Answer> = { ...IPTABLES, ...NFT, [RESTORE]: '' };
  const slow: Record<string, Answer> = { ...answers, 'iptables --version': { code: 124 } };
  const programs = new Programs(slow);
  const looked = findPrograms({ commands: programs });
  await assert.rejects(looked, /could not look which packet filter this host has/);
  const own = new Firewall({ commands: programs, log: silentLogger, programs: looked }, { mode: 'auto' });
  await assert.rejects(own.apply(WANTED), { code: 'firewall' });
  programs.answers['iptables --version'] = 'iptables v1.8.9 (nf_tables)\n';
  await own.apply(WANTED);
  assert.equal(programs.ran.at(-1), RESTORE);

  const { nft } = await own.programs();
  programs.answers['nft --version'] = { code: 137 };
  await assert.rejects(nft(), { code: 'firewall' });
  programs.answers['nft --version'] = 'nftables v1.0.6\n';
  assert.deepEqual(await nft(), { comments: true });
});

test('with nftables in use, an iptables in which Docker drops gets the accept, too, and no mark', async () => {
  const docker = `*filter
:FORWARD ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
COMMIT
`;
  const answers = { ...IPTABLES, ...NFT, [LIST]: NO_TABLE, 'nft -f -': '', [RESTORE]: '' };
  const { programs, firewall: own } = firewall({ ...answers, 'iptables-save': docker }, { mode: 'nftables' });
  await own.apply(WANTED);
  assert.match(programs.inputs[0] ?? '', /meta mark set/);
  const input = programs.inputs[1] ?? '';
  assert.match(input, /-A FLANNEL-DOCKER .*-i flannel.1 .*-j ACCEPT/);
  assert.match(input, /-I PREROUTING 1 .*-j FLANNEL-RAW/);
  assert.doesNotMatch(input, /nat|mangle|FLANNEL-FWD/);
});

test('rules that can not be read are an error in the firewall in use, and nothing in another', async () => {
  const denied = { code: 4, stderr: 'Permission denied (you must be root)' };
  const { firewall: own } = firewall({ ...IPTABLES, 'iptables-save': denied });
  await assert.rejects(
    own.verify(WANTED),
    /could not read the firewall rules: "iptables-save" ended with 4: Permission/,
  );
  const other = firewall(
    { ...IPTABLES, ...NFT, 'iptables-save': denied, [LIST]: NO_TABLE },
    { mode: 'nftables' },
  );
  assert.equal((await other.firewall.verify(WANTED)).asWanted, false);
  // Docker may drop there.
  other.programs.answers['iptables-save'] = { code: 124 };
  await assert.rejects(other.firewall.verify(WANTED), /"iptables-save" ended with 124/);
});

test('an instance name that a chain can not carry is refused', () => {
  assert.throws(() => firewall({}, { mode: 'auto', instance: 'a b' }), TypeError);
  assert.throws(() => firewall({}, { mode: 'auto', instance: 'x'.repeat(13) }), TypeError);
});

test('chains that only newer Docker engines need come when Docker does, and stay', async () => {
  const tables = new Set(['filter']);
  const ruleset: Ruleset = { generation: async () => undefined, tables: async () => [...tables] };
  const programs = new Programs({ ...IPTABLES, [RESTORE]: '' });
  const own = new Firewall({ commands: programs, ruleset, log: silentLogger }, { mode: 'auto' });
  const chains = async (saved: string): Promise<string[]> => {
    programs.answers['iptables-save'] = saved;
    const [step] = await own.plan(WANTED);
    return step?.input.match(/^:FLANNEL-(?:RAW|MARK)\b|^-X FLANNEL-(?:RAW|MARK)$/gm) ?? [];
  };
  assert.deepEqual(await chains('*filter\n:DOCKER-USER - [0:0]\n:DOCKER - [0:0]\nCOMMIT\n'), []);
  assert.deepEqual(await chains('*filter\n:DOCKER-FORWARD - [0:0]\nCOMMIT\n'), [':FLANNEL-RAW']);
  const dropped = '-A PREROUTING -d 10.5.26.2/32 ! -i docker0 -j DROP';
  assert.deepEqual(await chains(`*raw\n:PREROUTING ACCEPT [0:0]\n${dropped}\nCOMMIT\n`), [':FLANNEL-RAW']);
  const present = '*raw\n:FLANNEL-RAW - [0:0]\nCOMMIT\n*mangle\n:FLANNEL-MARK - [0:0]\nCOMMIT\n';
  assert.deepEqual(await chains(present), [':FLANNEL-MARK', ':FLANNEL-RAW']);
  tables.add('docker-bridges');
  assert.deepEqual(await chains(''), [':FLANNEL-MARK']);
});
