import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WantedRules } from '#src/firewall/rules.ts';
import { ipv4, ipv6, prefix4, prefix6 } from '#src/lib/ip.ts';
import { QuietRules } from '#src/reconcile/rules/quiet-rules.ts';

const wanted = (third: number): WantedRules => ({
  v4: { network: prefix4(ipv4(0x0a050000), 16), subnet: prefix4(ipv4(0x0a050000 + third * 256), 24) },
  v6: { network: prefix6(ipv6(0xfc00n << 112n), 48), subnet: prefix6(ipv6(0xfc01n << 112n), 64) },
  masquerade: true,
  forward: true,
  randomFully: true,
  arriveBy: ['flannel.1'],
  dockerMark: 0x2000,
});
const OURS = 4242;
const FOREIGN = 17;

/** A kernel that counts transactions, and reports them when the test lets it. */
class Kernel {
  count: number | undefined = 7;
  readonly quiet = new QuietRules({ generation: async () => this.count });

  commit(pid: number | undefined): void {
    this.count = (this.count ?? 0) + 1;
    this.quiet.notify({ type: 'changed', generation: this.count, pid });
  }

  /** Whether the rules may be left alone now. */
  async isQuiet(rules = wanted(1)): Promise<boolean> {
    return this.quiet.hold(await this.quiet.read(), rules);
  }

  /** A look that finds all right, or writes. */
  async look(write: () => void = () => {}): Promise<void> {
    const generation = await this.quiet.read();
    write();
    this.quiet.found(generation, wanted(1), [OURS]);
  }
}

/** What happens after nothing, and whether the rules are quiet then. */
const CASES: readonly (readonly [what: string, happens: (kernel: Kernel) => unknown, quiet: boolean])[] = [
  ['nothing', () => {}, false],
  ['a look', (kernel) => kernel.look(), true],
  ['a look, and another transaction', (kernel) => kernel.look().then(() => kernel.commit(FOREIGN)), false],
  ['a transaction during the look', (kernel) => kernel.look(() => kernel.commit(FOREIGN)), false],
  [
    'a transaction that nobody reported',
    (kernel) =>
      kernel.look().then(() => {
        kernel.count = 8;
      }),
    false,
  ],
  [
    'a write of ours in two transactions',
    (kernel) =>
      kernel.look(() => {
        kernel.commit(OURS);
        kernel.commit(OURS);
      }),
    true,
  ],
  [
    'another transaction before our write',
    (kernel) =>
      kernel.look(() => {
        kernel.commit(FOREIGN);
        kernel.commit(OURS);
      }),
    false,
  ],
  [
    'another transaction after our write',
    (kernel) =>
      kernel.look(() => {
        kernel.commit(OURS);
        kernel.commit(FOREIGN);
      }),
    false,
  ],
  [
    'a transaction of which the kernel names no process',
    (kernel) => kernel.look(() => kernel.commit(undefined)),
    false,
  ],
  [
    'an event that comes after the count was read, during the look',
    (kernel) => kernel.look(() => kernel.quiet.notify({ type: 'changed', generation: 7, pid: FOREIGN })),
    false,
  ],
  [
    'an event that comes after the look',
    (kernel) =>
      kernel.look().then(() => kernel.quiet.notify({ type: 'changed', generation: 7, pid: FOREIGN })),
    false,
  ],
  [
    'events that were lost',
    (kernel) => kernel.look().then(() => kernel.quiet.notify({ type: 'overrun' })),
    false,
  ],
  [
    'a kernel that reports nothing',
    (kernel) => {
      kernel.count = undefined;
      return kernel.look();
    },
    false,
  ],
];

for (const [what, happens, quiet] of CASES) {
  test(`after ${what} the rules are ${quiet ? '' : 'not '}known to be as wanted`, async () => {
    const kernel = new Kernel();
    await happens(kernel);
    assert.equal(await kernel.isQuiet(), quiet);
  });
}

test('a write of ours whose events come late is followed by a look, and then all is quiet', async () => {
  const kernel = new Kernel();
  await kernel.look(() => {
    kernel.count = 8;
  });
  assert.equal(await kernel.isQuiet(), false);
  kernel.quiet.notify({ type: 'changed', generation: 8, pid: OURS });
  await kernel.look();
  assert.equal(await kernel.isQuiet(), true);
});

test('other rules that are wanted are looked for', async () => {
  const kernel = new Kernel();
  await kernel.look();
  assert.equal(await kernel.isQuiet(wanted(2)), false);
  assert.equal(await kernel.isQuiet(wanted(1)), true);
});

test('without a kernel to ask nothing is ever known', async () => {
  const quiet = new QuietRules(undefined);
  quiet.found(await quiet.read(), wanted(1));
  assert.equal(quiet.hold(await quiet.read(), wanted(1)), false);
});
