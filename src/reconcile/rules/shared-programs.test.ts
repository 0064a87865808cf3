import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { SharedPrograms, sharedRuleset } from '#src/reconcile/rules/shared-programs.ts';
import type { CommandOptions, CommandResult, CommandRunner } from '#src/sys/command.ts';

const RESTORE = ['iptables-restore', '--noflush'] as const;
const adding = (n: number): string => `*nat\n:OWN-${n} - [0:0]\n-A POSTROUTING -j OWN-${n}\nCOMMIT\n`;

/** A host whose programs end when a test says so, one after the other. */
function host() {
  const ran: { readonly argv: readonly string[]; readonly stdin: string | undefined }[] = [];
  const ends: (() => void)[] = [];
  let generation = 1;
  let now = 0;
  let refused = (_: string): boolean => false;
  const commands: CommandRunner = {
    async run(argv, { stdin, onStart }: CommandOptions = {}): Promise<CommandResult> {
      const pid = 100 + ran.length;
      ran.push({ argv, stdin });
      onStart?.(pid);
      await new Promise<void>((resolve) => ends.push(resolve));
      const code = stdin !== undefined && refused(stdin) ? 1 : 0;
      return { code, stdout: `rules of ${ran.length}`, stderr: '', pid };
    },
  };
  const ruleset: Ruleset = { generation: async () => generation, tables: async () => [] };
  return {
    programs: new SharedPrograms({ commands, ruleset, clock: { monotonic: () => now } }),
    pass: (ms: number) => {
      now += ms;
    },
    ran,
    change: () => void generation++,
    refuse: (how: typeof refused) => {
      refused = how;
    },
    /** Lets programs end until none runs. */
    async finish(): Promise<void> {
      for (let idle = 0; idle < 20; idle++) {
        const end = ends.shift();
        if (end !== undefined) idle = 0;
        end?.();
        await Promise.resolve();
      }
    },
  };
}

test('a hundred networks that list rules at once cost one listing, and none while nothing changes', async () => {
  const { programs, ran, change, finish } = host();
  const all = Array.from({ length: 100 }, () => programs.run(['iptables-save']));
  await finish();
  const results = new Set(await Promise.all(all));
  assert.deepEqual([results.size, ran.length], [1, 1], 'and they share what is read from it');
  const again = programs.run(['iptables-save']);
  await finish();
  assert.equal((await again).code, 0);
  assert.equal(ran.length, 1);
  change();
  const changed = programs.run(['iptables-save']);
  await finish();
  await changed;
  assert.equal(ran.length, 2);
});

test('a listing that may lack some of a transaction is made again when that is reported', async () => {
  const { programs, ran, change, finish } = host();
  const list = async (): Promise<void> => {
    const listed = programs.run(['iptables-save']);
    await finish();
    await listed;
  };
  change();
  await list();
  // The transaction is counted, and reported after the listing.
  programs.notify({ type: 'changed', generation: 2, pid: 7 });
  await list();
  assert.equal(ran.length, 2);
  // One that was counted before, and events of which some were lost.
  programs.notify({ type: 'changed', generation: 1, pid: 7 });
  await list();
  assert.equal(ran.length, 2);
  programs.notify({ type: 'overrun' });
  await list();
  assert.equal(ran.length, 3);

  // It is reported while the program runs.
  change();
  const listed = programs.run(['iptables-save']);
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  assert.equal(ran.length, 4);
  programs.notify({ type: 'changed', generation: 3, pid: 7 });
  await finish();
  await listed;
  await list();
  assert.equal(ran.length, 5);
});

test('rules of iptables-legacy are listed each time: their changes are not counted', async () => {
  const { programs, ran, finish } = host();
  for (let n = 0; n < 2; n++) {
    const listed = programs.run(['iptables-legacy-save']);
    await finish();
    await listed;
  }
  assert.equal(ran.length, 2);
});

test('what a hundred networks add while a program runs is written by the next one', async () => {
  const { programs, ran, finish } = host();
  const all = Array.from({ length: 100 }, (_, n) => programs.run(RESTORE, { stdin: adding(n) }));
  await finish();
  assert.ok((await Promise.all(all)).every(({ code }) => code === 0));
  assert.equal(ran.length, 2);
  assert.equal(ran[1]?.stdin?.match(/^-A POSTROUTING/gm)?.length, 99);
  assert.deepEqual(
    [programs.isWriter(101), programs.isWriter(99), programs.isWriter(undefined)],
    [true, false, false],
  );
});

test('one input that is refused does not keep the others from being written', async () => {
  const { programs, ran, refuse, finish } = host();
  refuse((input) => input.includes('OWN-2'));
  const all = [0, 1, 2, 3].map((n) => programs.run(RESTORE, { stdin: adding(n) }));
  await finish();
  assert.deepEqual(
    (await Promise.all(all)).map(({ code }) => code),
    [0, 0, 1, 0],
  );
  assert.equal(ran.length, 5, 'the first, all others together, and each of these');
});

test('a network that ends while it waits has nothing written', async () => {
  const { programs, ran, finish } = host();
  const end = new AbortController();
  const first = programs.run(RESTORE, { stdin: adding(0) });
  const late = programs.run(RESTORE, { stdin: adding(1), signal: end.signal });
  end.abort(new Error('ended'));
  late.catch(() => {});
  await finish();
  await first;
  await assert.rejects(late, /ended/);
  assert.ok(ran.every(({ stdin }) => !stdin?.includes('OWN-1')));
});

test('questions to the kernel that are asked at once are one', async () => {
  let asked = 0;
  const shared = sharedRuleset({
    generation: async () => ++asked,
    tables: async (family) => [String(family)],
  });
  const answers = await Promise.all(Array.from({ length: 50 }, () => shared.generation()));
  assert.deepEqual([new Set(answers), asked], [new Set([1]), 1]);
  assert.deepEqual(await Promise.all([shared.tables(4), shared.tables(6)]), [['4'], ['6']]);
});

test('a process is a writer while it runs and for a moment after, for its number may be another one’s then', async () => {
  const { programs, pass, finish } = host();
  const written = programs.run(RESTORE, { stdin: adding(1) });
  await Promise.resolve();
  pass(60_000);
  assert.ok(programs.isWriter(100));
  await finish();
  await written;
  pass(1_000);
  assert.ok(programs.isWriter(100));
  pass(2_000);
  assert.ok(!programs.isWriter(100));
});
