import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { WantedRules } from '#src/firewall/rules.ts';
import { monitorNftables, type NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { systemClock } from '#src/sys/clock.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { cannotRun } from '../support/test-lab.ts';
import { WANTED_RULES_V4 } from '../support/wanted-rules.ts';
import { commandsOf, IPTABLES, type Kind, NFTABLES } from './kinds.ts';
import { Namespace } from './namespace.ts';

/*
 * How little is run to know that the rules are as wanted, on a real kernel. One host, no packets:
 *
 *     h1 (its own namespace): firewall ──GETGEN──▶ nf_tables ◀── nft, iptables-nft, iptables-legacy of others
 *                                └──── counted programs ──▶
 */
const skip = cannotRun('iptables', 'iptables-legacy', 'nft');
const [IPTABLES_NFT, IPTABLES_LEGACY] = IPTABLES;

interface Counted {
  readonly host: Namespace;
  /** Applies when the events have come; the programs that this ran. */
  apply(wanted?: WantedRules): Promise<string[]>;
  /** Called once, before the next transaction is written. */
  beforeWrite: (() => Promise<unknown>) | undefined;
}

async function counted(t: TestContext, kind: Kind, { events = true } = {}): Promise<Counted> {
  const host = await Namespace.make(t);
  const namespace = `/run/netns/${host.name}`;
  const ran: string[] = [];
  const real = commandsOf(host, kind);
  const commands: CommandRunner = {
    async run(argv, options) {
      ran.push(argv[0]);
      const before = options?.stdin === undefined ? undefined : made.beforeWrite;
      if (before !== undefined) made.beforeWrite = undefined;
      await before?.();
      return real.run(argv, options);
    },
  };
  const files = {
    read: async (path: string) => {
      const { code, stdout } = await host.run(['cat', path]);
      return code === 0 ? stdout : undefined;
    },
  };
  const ruleset = new NftablesRuleset({ netlink: systemNetlink, clock: systemClock }, { namespace });
  const firewall = new Firewall({ commands, files, ruleset, log: silentLogger }, { mode: kind.mode });
  let heard = await ruleset.generation();
  if (events) {
    const listener = (event: NftablesEvent): void => {
      if (event.type === 'changed') heard = event.generation;
      firewall.notify(event);
    };
    await monitorNftables({ netlink: systemNetlink, clock: systemClock }, { namespace }, listener, t.signal);
  }
  const heardAll = async (): Promise<boolean> => heard === (await ruleset.generation());
  const made: Counted = {
    host,
    beforeWrite: undefined,
    async apply(wanted = WANTED_RULES_V4) {
      if (events) await until(heardAll, { what: 'event of the last transaction' });
      ran.length = 0;
      await firewall.apply(wanted);
      return [...ran];
    },
  };
  return made;
}

/** For each kind: the program that looks, the one that writes, and how others flush the rules. */
const QUIET: readonly (readonly [kind: Kind | undefined, look: string[], write: string, flush: string])[] = [
  [IPTABLES_NFT, ['iptables-save'], 'iptables-restore', 'iptables-nft -F'],
  [NFTABLES, ['nft', 'iptables-save'], 'nft', 'nft flush ruleset'],
];

for (const [kind, look, write, flush] of QUIET) {
  assert.ok(kind);
  test(`${kind.name}: nothing is run while nothing changes, and a change is seen`, { skip }, async (t) => {
    const { host, apply } = await counted(t, kind);
    const saved = async () =>
      (await host.must('nft -s list ruleset')).replace(/counter packets.*? bytes \d+/g, '');
    assert.ok((await apply()).includes(write));
    assert.deepEqual(await apply(), [], 'after our own write');
    const right = await saved();

    await host.must(flush);
    assert.ok((await apply()).includes(write), 'after a flush');
    assert.equal(await saved(), right);
    assert.deepEqual(await apply(), [], 'after the repair');

    await host.must('nft add table inet other');
    const looked = (await apply()).sort();
    assert.ok(looked.length > 0 && looked.every((program) => look.includes(program)), looked.join());
    assert.deepEqual(await apply(), [], 'after a look that found all right');

    await host.must('nft delete table inet other');
    const others = { ...WANTED_RULES_V4, randomFully: false };
    assert.ok((await apply(others)).includes(write), 'other rules are wanted');
    assert.deepEqual(await apply(others), []);
    assert.ok((await apply()).includes(write), 'those of before are wanted');
  });

  test(`${kind.name}: what others change between the look and the write is not missed`, {
    skip,
  }, async (t) => {
    const firewall = await counted(t, kind);
    await firewall.apply();
    await firewall.host.must(flush);
    firewall.beforeWrite = () => firewall.host.must('nft add table inet other');
    assert.ok((await firewall.apply()).includes(write));
    assert.notDeepEqual(await firewall.apply(), []);
    assert.deepEqual(await firewall.apply(), []);
  });
}

test('without events our own write is followed by one look', { skip }, async (t) => {
  assert.ok(IPTABLES_NFT);
  const { apply } = await counted(t, IPTABLES_NFT, { events: false });
  assert.deepEqual(await apply(), ['iptables', 'iptables-restore']);
  assert.deepEqual(await apply(), ['iptables-save']);
  assert.deepEqual(await apply(), []);
});

test('iptables-legacy in use: it is looked at each time, and a flush is repaired', { skip }, async (t) => {
  assert.ok(IPTABLES_LEGACY);
  const { host, apply } = await counted(t, IPTABLES_LEGACY);
  await apply();
  for (let times = 0; times < 2; times++) assert.ok((await apply()).includes('iptables-save'));
  await host.must('iptables-legacy -F');
  assert.ok((await apply()).includes('iptables-restore'));
});

test('rules that come up in iptables-legacy are seen', { skip }, async (t) => {
  assert.ok(IPTABLES_NFT);
  const { host, apply } = await counted(t, IPTABLES_NFT);
  await apply();
  assert.deepEqual(await apply(), []);
  await host.must('iptables-legacy -P FORWARD DROP');
  assert.ok((await apply()).includes('iptables-legacy-restore'));
  assert.match(await host.must('iptables-legacy-save'), /-j FLANNEL-FWD/);
  for (let times = 0; times < 2; times++) assert.ok((await apply()).includes('iptables-legacy-save'));
});
