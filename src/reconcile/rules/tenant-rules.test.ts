import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import { ipv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { Mac } from '#src/lib/mac.ts';
import type { TableHost } from '#src/reconcile/rules/kept-table.ts';
import { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import type { CommandResult } from '#src/sys/command.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

const IDENTITY = { mac: '02:42:0a:05:00:02' as Mac, addresses: [ipv4(0x0a050002)] };
const NO_NFT = { code: 127, stderr: 'nsenter: failed to execute nft: No such file or directory' };
const NO_TABLE = { code: 1, stderr: 'Error: No such file or directory' };

/** A packet filter whose program answers as the test says; it has no table. */
class FakeHost implements TableHost {
  answer: Partial<CommandResult> = {};
  /** What was written. */
  readonly written: string[] = [];
  notify: (event: NftablesEvent) => void = () => {};
  running = 0;
  readonly ruleset = { generation: async () => undefined, tables: async () => undefined };
  readonly watchRules: TableHost['watchRules'] = async (listener) => {
    this.notify = listener;
  };
  readonly commands: TableHost['commands'] = {
    run: async (_, options) => {
      assert.equal(++this.running, 1, 'one program at a time');
      await nextTurn();
      this.running--;
      const isLook = options?.stdin === undefined;
      const { code = isLook ? 1 : 0, stderr = '' } =
        isLook && this.answer.code !== 127 ? NO_TABLE : this.answer;
      if (!isLook) this.written.push(options.stdin);
      return { code, stdout: '', stderr, pid: 4242 };
    },
  };
}

function make(t: TestContext) {
  const [inside, host, clock] = [new FakeHost(), new FakeHost(), new FakeClock()];
  const rules = new TenantRules(
    { inside, host, clock, log: silentLogger },
    { port: 8473, intervalMs: 5_000 },
  );
  return { inside, host, clock, rules, start: () => rules.start(t.signal) };
}

test('without nft there is a trouble and no port; with it, both come right', async (t) => {
  const { inside, clock, rules, start } = make(t);
  inside.answer = NO_NFT;
  await start();
  assert.equal(
    rules.trouble,
    "could not set the rules of tenants' containers: there is no nft on this host; install the package nftables",
  );
  await assert.rejects(rules.setPort('p1', IDENTITY), { code: 'firewall-missing' });
  await rules.setPeers({ vteps: [], underlays: [] });
  inside.answer = {};
  await clock.advance(6_000);
  assert.equal(rules.trouble, undefined);
  assert.match(inside.written.at(-1) ?? '', /addresses4 \{ "p1" \. 02:42:0a:05:00:02 \. 10\.5\.0\.2 \}/);
});

test('while the tunnels are not guarded, no port is', async (t) => {
  const { host, rules, start } = make(t);
  host.answer = { code: 1, stderr: 'Error: syntax error' };
  await start();
  await assert.rejects(rules.setPort('p1', IDENTITY), {
    code: 'firewall',
    message: `could not set the rules of tenants' tunnels: "nft -f -" ended with 1: Error: syntax error`,
  });
  assert.match(rules.trouble ?? '', /^could not set the rules of tenants' tunnels: /);
});

test('a kernel without nf_tables for bridges is a weakness and no trouble', async (t) => {
  const { inside, rules, start } = make(t);
  inside.answer = {
    code: 1,
    stderr:
      '/dev/stdin:1:1-21: Error: Could not process rule: Operation not supported\nadd table bridge weft\n^^^^^\n',
  };
  await start();
  assert.equal(rules.trouble, undefined);
  assert.match(
    rules.weakness ?? '',
    /^containers of a tenant can use each other's IP addresses: .*Operation not/,
  );
  await rules.setPort('p1', IDENTITY);
  await rules.removePort('p1');
  assert.equal(inside.written.length, 1);
});

test('a kernel without nf_tables for both families is a trouble', async (t) => {
  const { host, rules, start } = make(t);
  host.answer = { code: 1, stderr: 'Error: Operation not supported\nadd table inet weft-tenants\n^^^^^\n' };
  await start();
  assert.match(rules.trouble ?? '', /Operation not supported$/);
  assert.equal(rules.weakness, undefined);
  await assert.rejects(rules.setPort('p1', IDENTITY), /Operation not supported$/);
});

test('calls that come together are written together, in order', async (t) => {
  const { inside, rules, start } = make(t);
  await start();
  inside.written.length = 0;
  await Promise.all([
    rules.setPort('p1', IDENTITY),
    rules.setPort('p2', IDENTITY),
    rules.removePort('p1'),
    rules.setPort('p3', IDENTITY),
  ]);
  const all = inside.written.join('');
  assert.ok(inside.written.length <= 2);
  assert.match(all, /"p2"/);
  assert.match(all, /"p3"/);
  await rules.setPort('p3', IDENTITY);
  await rules.removePort('p9');
  assert.equal(inside.written.join(''), all, 'nothing new is wanted');
  await rules.removePort('p3');
  assert.match(inside.written.at(-1) ?? '', /^delete element bridge weft macs \{ "p3" /);
});

test('a port that could not be written stays wanted', async (t) => {
  const { inside, clock, rules, start } = make(t);
  await start();
  inside.answer = { code: 1, stderr: 'Error: Could not process rule: Cannot allocate memory' };
  await assert.rejects(rules.setPort('p1', IDENTITY), /Cannot allocate memory/);
  inside.answer = {};
  await clock.advance(2_000);
  assert.match(inside.written.at(-1) ?? '', /"p1"/);
  assert.equal(rules.trouble, undefined);
});

test('another program’s transaction is followed by a look, our own is not', async (t) => {
  const { inside, clock, rules, start } = make(t);
  await start();
  inside.written.length = 0;
  inside.notify({ type: 'changed', generation: 2, pid: 4242 });
  await clock.advance(1_000);
  assert.deepEqual(inside.written, []);
  inside.notify({ type: 'changed', generation: 3, pid: 17 });
  await clock.advance(1_000);
  assert.equal(inside.written.length, 1, 'this host never has the table');
  assert.equal(rules.repairs, 1);
});
