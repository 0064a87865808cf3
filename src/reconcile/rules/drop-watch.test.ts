import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WantedRules } from '#src/firewall/rules.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { DropWatch } from '#src/reconcile/rules/drop-watch.ts';
import type { Programs } from '#src/reconcile/rules/programs.ts';
import { systemClock } from '#src/sys/clock.ts';

const WANTED: WantedRules = {
  v4: { network: prefix4(ipv4(0x0a050000), 16), subnet: prefix4(ipv4(0x0a051a01), 24) },
  masquerade: true,
  forward: true,
  randomFully: true,
  arriveBy: ['flannel.1'],
  dockerMark: 0x2000,
};
const OPEN = '*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n';
const DROPS = '*filter\n:FORWARD DROP [0:0]\nCOMMIT\n';
const FIREWALLD = JSON.stringify({
  nftables: [
    { chain: { name: 'filter_FORWARD', type: 'filter', hook: 'forward', prio: 10, policy: 'accept' } },
    { rule: { chain: 'filter_FORWARD', expr: [{ reject: null }] } },
  ],
});
const SIGNAL = new AbortController().signal;

/** A host whose rules and Docker the test makes; time passes only when somebody sleeps. */
class HostOfRules {
  saved = OPEN;
  /** What programs end with. */
  code = 0;
  /** What the next look sees in its place. */
  passing: string | undefined;
  inet: readonly string[] = [];
  generation = 1;
  docker: Record<string, string> = {};
  pid: string | undefined;
  looks = 0;
  asked = 0;
  now = 0;
  readonly lines: string[] = [];
  readonly watch: DropWatch;

  constructor(bridge?: string) {
    const programs: Programs = {
      iptables: [{ kind: 'nft', infix: '', modern: true }],
      nft: async () => ({ comments: true }),
      mixed: false,
    };
    const say = (message: string) => void this.lines.push(message);
    this.watch = new DropWatch(
      {
        programs: async () => programs,
        commands: {
          run: async ([program]) => ({ code: this.code, stdout: this.#answer(program), stderr: '' }),
        },
        files: { read: async (path) => (path === '/run/docker.pid' ? this.pid : undefined) },
        ruleset: {
          generation: async () => this.generation,
          tables: async (family) => (family === 'inet' ? this.inet : ['filter', 'flannel-ipv4-100']),
        },
        clock: {
          ...systemClock,
          monotonic: () => this.now,
          sleep: async (ms) => {
            this.now += ms;
          },
        },
        http: {
          get: async (_, path) => {
            this.asked++;
            return this.docker[path];
          },
        },
        log: { ...silentLogger, info: say, warning: say },
      },
      { wanted: () => WANTED, bridge: async () => bridge },
    );
  }

  #answer(program: string): string {
    if (program === 'nft') return FIREWALLD;
    this.looks++;
    const text = this.passing ?? this.saved;
    this.passing = undefined;
    return text;
  }

  /** Another transaction, and a look. */
  async look(): Promise<readonly string[]> {
    this.generation++;
    await this.watch.ensure(SIGNAL);
    return this.watch.troubles;
  }
}

test('what drops is a trouble and a line in the log, until it is gone', async () => {
  const host = new HostOfRules();
  assert.deepEqual(await host.look(), []);
  host.saved = DROPS;
  const [trouble, ...others] = await host.look();
  assert.match(
    trouble ?? '',
    /^iptables drops packets of the overlay: table filter, chain FORWARD: policy drop; /,
  );
  assert.deepEqual(others, []);
  await host.look();
  assert.equal(host.lines.length, 1, 'said once');
  host.saved = OPEN;
  assert.deepEqual(await host.look(), []);
  assert.match(host.lines[1] ?? '', /^No longer so: iptables drops/);
});

test('the middle of a change is not taken for its end', async () => {
  const host = new HostOfRules();
  host.passing = DROPS;
  assert.deepEqual(await host.look(), []);
  assert.equal(host.looks, 2);
});

test('a program that was killed does not show that nothing drops', async () => {
  const host = new HostOfRules();
  host.saved = DROPS;
  host.inet = ['firewalld'];
  assert.equal((await host.look()).length, 2);
  host.code = 124;
  assert.equal((await host.look()).length, 2);
  host.code = 0;
  host.saved = OPEN;
  host.inet = [];
  await host.watch.ensure(SIGNAL);
  assert.deepEqual(host.watch.troubles, [], 'it looks again, although nothing has changed');
});

test('without a change nothing is run', async () => {
  const host = new HostOfRules();
  await host.look();
  await host.watch.ensure(SIGNAL);
  assert.equal(host.looks, 1);
});

test("tables of nftables are listed, not those of ours or of iptables' own", async () => {
  const host = new HostOfRules();
  host.inet = ['firewalld'];
  const [trouble, ...others] = await host.look();
  assert.match(trouble ?? '', /table inet firewalld, chain filter_FORWARD: reject; let firewalld forward it/);
  assert.deepEqual(others, []);
});

test('a bridge of the user is the way to the containers, when it has our subnet', async () => {
  const saved = `*filter
:FORWARD ACCEPT [0:0]
-A FORWARD ! -i br-1 -o br-1 -j DROP
COMMIT
`;
  for (const [bridge, found] of [
    ['br-1', 1],
    [undefined, 0],
  ] as const) {
    const host = new HostOfRules(bridge);
    host.saved = saved;
    assert.equal((await host.look()).length, found);
  }
});

test('the engine is asked at the start, when another dockerd runs, and after a while', async () => {
  const host = new HostOfRules();
  await host.look();
  assert.deepEqual([host.watch.engine], [undefined]);
  host.pid = '17';
  await host.look();
  host.docker = {
    '/version': '{"Version":"29.1.0","ApiVersion":"1.52"}',
    '/info': '{"FirewallBackend":{"Driver":"nftables"},"LiveRestoreEnabled":true}',
  };
  await host.look();
  const line = 'Docker 29.1.0 (API 1.52) runs on this host: rules in nftables, live-restore';
  assert.deepEqual(host.lines, [line], 'one that begins is asked until it answers');
  assert.equal(host.watch.engine?.firewall, 'nftables');
  const { asked } = host;
  await host.look();
  assert.equal(host.asked, asked);
  host.pid = '18';
  await host.look();
  assert.equal(host.asked, asked + 2);
  host.now += 60_000;
  await host.look();
  assert.equal(host.asked, asked + 4);
  assert.deepEqual(host.lines, [line]);
});

test('rules that can not be read are no trouble', async () => {
  const host = new HostOfRules();
  host.inet = ['firewalld'];
  const broken = new DropWatch(
    {
      programs: async () => {
        throw new Error('no programs');
      },
      commands: { run: async () => ({ code: 1, stdout: '', stderr: '' }) },
      clock: systemClock,
      http: { get: async () => undefined },
      log: silentLogger,
    },
    { wanted: () => WANTED, bridge: async () => undefined },
  );
  await broken.ensure(SIGNAL);
  assert.deepEqual(broken.troubles, []);
});
