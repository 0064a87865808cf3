import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { ipv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import { systemClock } from '#src/sys/clock.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { until } from '#src/sys/until.ts';
import { Namespace } from '../firewall/namespace.ts';
import { arp, BROADCAST, ethernet, type FrameSocket } from '../support/frames.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  guard,
  identityOf,
  ip,
  type Member,
  makeSegment,
  PORT,
  pathOf,
  rulesOf,
  tableHostOf,
} from './segment.ts';

/*
 * The rules as wanted state, on a real kernel: put at once, mended on the event, the same after a restart.
 *
 *     weft (namespace): table bridge weft ◀── nft ── rules ── nft ──▶ table inet weft-tenants :host (namespace)
 *                             ▲                                               ▲
 *                             └──── nft flush ruleset, of other programs ─────┘
 */
const skip = cannotRun('nft');

interface Host {
  readonly weft: Namespace;
  readonly host: Namespace;
  readonly rules: TenantRules;
  /** What the rules ran, by its input; looks have none. */
  readonly ran: string[];
  /** Another daemon on the same host. */
  make(): TenantRules;
}

async function makeHost(t: TestContext): Promise<Host> {
  const [weft, host] = [await Namespace.make(t), await Namespace.make(t)];
  const ran: string[] = [];
  const recorded = (commands: CommandRunner): CommandRunner => ({
    run(argv, options) {
      ran.push(options?.stdin ?? 'look');
      return commands.run(argv, options);
    },
  });
  const hostOf = (namespace: Namespace) => {
    const components = tableHostOf(namespace);
    return { ...components, commands: recorded(components.commands) };
  };
  const make = () =>
    new TenantRules(
      { inside: hostOf(weft), host: hostOf(host), clock: systemClock, log: silentLogger },
      { port: PORT, intervalMs: 600_000 },
    );
  return { weft, host, rules: make(), ran, make };
}

const PEERS = { vteps: [ip('192.0.2.2'), ip('fd00::2')], underlays: ['eth0'] };

const identity = (number: number) => ({
  mac: macFromBytes(Uint8Array.of(2, 66, 10, 5, number >> 8, number & 255)),
  addresses: [ipv4(0x0a050000 + number), ip(`fd00:5::${number.toString(16)}`)],
});

/** All there is, but for what is counted and for the order of elements. */
async function everything(namespace: Namespace): Promise<string[]> {
  const text = await namespace.must('nft list ruleset');
  return text
    .replaceAll(/packets \d+ bytes \d+/g, '')
    .split(/,?\n\s*|, |elements = \{ | \}/)
    .sort();
}

const generationOf = (namespace: Namespace): Promise<number | undefined> =>
  new NftablesRuleset(
    { netlink: systemNetlink, clock: systemClock },
    { namespace: pathOf(namespace) },
  ).generation();

test('what other programs change is mended on the event', { skip }, async (t) => {
  const { weft, host, rules } = await makeHost(t);
  for (let number = 2; number < 9; number++) await rules.setPort(`p${number}`, identity(number));
  await rules.setPeers(PEERS);
  await rules.start(t.signal);
  assert.equal(rules.trouble, undefined);
  assert.equal(rules.weakness, undefined);
  const right = { weft: await everything(weft), host: await everything(host) };
  // Its own transactions must not make it wait.
  await rules.setPort('p9', identity(9));
  await rules.removePort('p9');
  for (const [namespace, what] of [
    [weft, 'flush ruleset'],
    [host, 'flush ruleset'],
    [weft, 'delete table bridge weft'],
    [weft, 'flush chain bridge weft from-ip'],
    [weft, 'insert rule bridge weft prerouting accept'],
    [weft, 'add chain bridge weft prerouting { policy accept; }'],
    [weft, 'flush set bridge weft targets6'],
    [weft, 'add element bridge weft macs { "p9" . 02:00:00:00:00:01 }'],
    [weft, 'add chain bridge weft stranger'],
    [host, 'add element inet weft-tenants vteps4 { 192.0.2.9 }'],
    [host, 'delete element inet weft-tenants vteps6 { fd00::2 }'],
    [host, 'flush chain inet weft-tenants arriving'],
  ] as const) {
    const repairs = rules.repairs;
    await namespace.must('nft -f -', `${what}\n`);
    const began = systemClock.monotonic();
    await until(() => rules.repairs > repairs, { what: `repair after "${what}"`, intervalMs: 2 });
    t.diagnostic(`${what}: mended after ${(systemClock.monotonic() - began).toFixed(0)} ms`);
    assert.deepEqual(await everything(namespace), right[namespace === weft ? 'weft' : 'host'], what);
  }
});

test('rules and tables of others stay', { skip }, async (t) => {
  const { weft, host, rules } = await makeHost(t);
  await host.must('nft -f -', 'table inet other {\n\tchain input {\n\t}\n}\n');
  await rules.start(t.signal);
  await rules.removeAll();
  assert.equal(await host.must('nft list ruleset'), 'table inet other {\n\tchain input {\n\t}\n}\n');
  assert.equal(await weft.must('nft list ruleset'), '');
});

test('a start finds what is wanted and writes nothing; what is no longer wanted goes', {
  skip,
}, async (t) => {
  const { weft, host, rules, ran, make } = await makeHost(t);
  const stop = new AbortController();
  for (let number = 2; number < 5; number++) await rules.setPort(`p${number}`, identity(number));
  await rules.setPeers(PEERS);
  await rules.start(stop.signal);
  const before = [await generationOf(weft), await generationOf(host)];
  stop.abort();

  const second = make();
  for (let number = 2; number < 5; number++) await second.setPort(`p${number}`, identity(number));
  await second.setPeers(PEERS);
  ran.length = 0;
  // One that goes on would put back what the next one takes away.
  const stopSecond = new AbortController();
  await second.start(stopSecond.signal);
  assert.deepEqual(ran, ['look', 'look']);
  assert.deepEqual([await generationOf(weft), await generationOf(host)], before);
  stopSecond.abort();

  const third = make();
  await third.setPort('p2', identity(2));
  await third.setPeers(PEERS);
  ran.length = 0;
  await third.start(t.signal);
  assert.deepEqual(
    ran.filter((input) => input !== 'look' && !input.startsWith('delete element bridge weft')),
    [],
  );
  assert.deepEqual([...new Set((await weft.must('nft list ruleset')).match(/"p\d+"/g))], ['"p2"']);
});

test('a restart lets no lie through and loses nothing', { skip }, async (t) => {
  const segment = await makeSegment(t);
  const { a, b, h1 } = segment;
  const stop = new AbortController();
  await guard(stop.signal, h1, [a, b]);
  const claim = (sender: Member) =>
    ethernet(
      BROADCAST,
      a.mac,
      0x0806,
      arp({ operation: 1, mac: a.mac, sender: sender.v4, target: ip('10.5.0.250') }),
    );
  const flow = startFlow(a.frames, b.frames, { truth: claim(a), lie: claim(b) });
  stop.abort();
  // Another version's rules are in place: all are replaced.
  await h1.weft.must('nft -f -', 'add chain bridge weft of-another-version\n');
  await guard(t.signal, h1, [a, b]);
  const { sent, truths, lies } = await flow.stop();
  assert.ok(sent > 0);
  assert.deepEqual({ truths, lies }, { truths: sent, lies: 0 });
});

interface Flow {
  /** True frames so far. */
  readonly sent: number;
  stop(): Promise<{ readonly sent: number; readonly truths: number; readonly lies: number }>;
}

/** A true frame and a false one in each turn of the event loop. */
function startFlow(
  from: FrameSocket,
  to: FrameSocket,
  { truth, lie }: { readonly truth: Uint8Array; readonly lie: Uint8Array },
): Flow {
  to.take();
  const counted = { sent: 0, truths: 0, lies: 0 };
  const take = (): void => {
    for (const frame of to.take()) {
      if (frame.equals(truth)) counted.truths++;
      if (frame.equals(lie)) counted.lies++;
    }
  };
  let isStopped = false;
  const running = (async () => {
    while (!isStopped) {
      from.send(lie);
      from.send(truth);
      counted.sent++;
      await nextTurn();
      take();
    }
  })();
  return {
    get sent() {
      return counted.sent;
    },
    async stop() {
      isStopped = true;
      await running;
      await until(
        () => {
          take();
          return counted.truths >= counted.sent;
        },
        { what: 'last frame' },
      );
      return counted;
    },
  };
}

test('many changes at once are few transactions, and a flush among them is mended', { skip }, async (t) => {
  const { weft, host, rules, ran } = await makeHost(t);
  await rules.setPeers(PEERS);
  await rules.start(t.signal);
  ran.length = 0;
  const numbers = Array.from({ length: 200 }, (_, index) => index + 2);
  await Promise.all(numbers.map((number) => rules.setPort(`p${number}`, identity(number))));
  assert.ok(ran.filter((input) => input !== 'look').length <= 3, ran.join('\n'));
  const right = await everything(weft);
  await Promise.all([
    weft.must('nft flush ruleset'),
    host.must('nft flush ruleset'),
    ...numbers.map((number) => rules.removePort(`p${number}`)),
    ...numbers.map((number) => rules.setPort(`q${number}`, identity(number))),
  ]);
  await until(
    async () => {
      const now = (await everything(weft)).map((line) => line.replace('"q', '"p')).sort();
      return now.join() === right.join();
    },
    { what: 'rules of all' },
  );
  await Promise.all(numbers.map((number) => rules.removePort(`q${number}`)));
  assert.doesNotMatch(await weft.must('nft list ruleset'), /"[pq]\d/);
});

test('one more container costs the same however many there are', { skip }, async (t) => {
  const { rules, ran } = await makeHost(t);
  const timed = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    const began = systemClock.monotonic();
    await work();
    t.diagnostic(`${what}: ${(systemClock.monotonic() - began).toFixed(1)} ms`);
  };
  await rules.setPeers(PEERS);
  await rules.start(t.signal);
  await timed('the first port', () => rules.setPort('p1', identity(1)));
  const many = Array.from({ length: 1_998 }, (_, index) => index + 2);
  await timed('1,998 more at once', () =>
    Promise.all(many.map((number) => rules.setPort(`p${number}`, identity(number)))),
  );
  ran.length = 0;
  await timed('port 2,000', () => rules.setPort('p2000', identity(2_000)));
  await timed('port 2,000 removed', () => rules.removePort('p2000'));
  assert.deepEqual(
    ran.map((input) => input.split(' ', 2).join(' ')),
    ['add element', 'delete element'],
  );
});

test('a locked port without rules checks the MAC only', { skip }, async (t) => {
  const { a, b, h1 } = await makeSegment(t);
  await h1.weft.must(`bridge fdb replace ${a.mac} dev ${a.port} master static`);
  await h1.weft.must(`bridge link set dev ${a.port} locked on learning off`);
  const claim = (own: Member, sender: Member) =>
    ethernet(
      BROADCAST,
      own.mac,
      0x0806,
      arp({ operation: 1, mac: own.mac, sender: sender.v4, target: ip('10.5.0.250') }),
    );
  const flow = startFlow(a.frames, b.frames, { truth: claim(a, b), lie: claim(b, b) });
  await until(() => flow.sent > 20, { what: 'frames' });
  const { sent, truths, lies } = await flow.stop();
  assert.deepEqual({ truths, lies }, { truths: sent, lies: 0 }, 'its IP addresses are not looked at');
});

test('rules that are set while they are kept by nobody stay wanted', { skip }, async (t) => {
  const { h1, a } = await makeSegment(t);
  const rules = rulesOf(h1);
  await rules.setPort(a.port, identityOf(a));
  assert.equal(await h1.weft.must('nft list ruleset'), '');
  await rules.start(t.signal);
  assert.match(await h1.weft.must('nft list ruleset'), new RegExp(`"${a.port}" . ${a.mac} . 10.5.0.2`));
});
