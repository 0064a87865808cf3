import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { EtcdServer } from '../support/etcd-server.ts';
import { TestStore } from '../support/store.ts';

/** The real etcdctl, the same commands at a real etcd and at the store: what it prints and how it exits is compared. */
let etcd: EtcdServer;
let store: TestStore;

before(async () => {
  [etcd, store] = await Promise.all([EtcdServer.start(), TestStore.start()]);
});

after(() => Promise.all([etcd?.stop(), store?.remove()]));

const TIMEOUT_MS = 60_000;

interface Run {
  readonly output: string;
  readonly errors: string;
  readonly code: number | null;
}

function start(url: string, args: readonly string[]): ChildProcess {
  return spawn('etcdctl', [`--endpoints=${url}`, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
  });
}

/** Runs to the end, or until it has printed `lines` lines. */
async function etcdctl(url: string, args: readonly string[], stdin = '', lines?: number): Promise<Run> {
  const child = start(url, args);
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  let output = '';
  let errors = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
    if (lines !== undefined && output.split('\n').length > lines) child.kill('SIGKILL');
  });
  child.stderr?.on('data', (chunk) => {
    errors += chunk;
  });
  // Most commands read nothing, and may have ended by now: EPIPE.
  child.stdin?.on('error', () => {});
  child.stdin?.end(stdin);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  // More than was waited for may have come before the program was ended.
  const counted = lines === undefined ? output : `${output.split('\n').slice(0, lines).join('\n')}\n`;
  return { output: neutral(counted), errors: neutral(errors), code };
}

/** Without what is each server's own: addresses, durations, ids and names in JSON, the log lines of etcdctl's retries. */
function neutral(output: string): string {
  return output
    .split('\n')
    .filter((line) => !line.startsWith('{"level"'))
    .join('\n')
    .replaceAll(etcd.url, 'URL')
    .replaceAll(store.url, 'URL')
    .replaceAll(/"(cluster_id|member_id|raft_term)":\d+/g, '"$1":0')
    .replaceAll(TOOK, 'took');
}

/** A duration as Go prints one: 872.812µs, 1.2ms, 1m2.5s. */
const TOOK = /took = (?:[\d.]+(?:ns|µs|ms|s|m|h))+/g;

async function same(args: readonly string[], stdin = '', lines?: number): Promise<string> {
  const [theirs, ours] = await Promise.all(
    [etcd.url, store.url].map((url) => etcdctl(url, args, stdin, lines)),
  );
  assert.deepEqual(ours, theirs, `etcdctl ${args.join(' ')}`);
  return ours?.output ?? '';
}

test('etcdctl prints the same at the store as at etcd', async () => {
  await same(['put', 'foo', 'bar']);
  await same(['put', 'foo', 'bar2', '--prev-kv']);
  await same(['put', 'dir/1', 'one']);
  await same(['put', 'dir/2', 'two', '-w', 'json']);
  await same(['get', 'foo']);
  await same(['get', 'foo', '-w', 'json']);
  await same(['get', 'foo', '--rev=2', '--print-value-only']);
  await same(['get', '--prefix', 'dir/', '--keys-only']);
  await same(['get', '--prefix', 'dir/', '--order=DESCEND', '--limit=1', '-w', 'json']);
  await same(['get', '--prefix', 'foo', '-w', 'json']);
  await same(['get', '--from-key', 'e', '-w', 'json']);
  await same(['get', 'foo', '--rev=100']);
  await same(['txn'], 'mod("foo") > "0"\nvalue("foo") = "bar2"\n\nput foo bar3\nget foo\n\nget foo\n\n');
  await same(['txn', '-w', 'json'], 'version("new") = "0"\n\nput new 1\ndel dir/1\n\nget new\n\n');
  await same(['del', 'dir/', '--prefix', '--prev-kv']);
  await same(['del', 'nothing']);
});

test('etcdctl watch: history, what was before, and a compacted start', async () => {
  await same(['watch', 'foo', '--rev=1', '--prev-kv'], '', 9);
  await same(['watch', '--prefix', '', '--rev=2', '-w', 'json'], '', 1);
  await same(['compaction', '5']);
  await same(['compaction', '5']);
  await same(['compaction', '500']);
  await same(['get', 'foo', '--rev=3']);
  await same(['watch', 'foo', '--rev=1']);
  await same(['watch', 'foo', '--rev=5'], '', 3);
});

test('etcdctl lease: grant, timetolive, keep-alive, revoke', async () => {
  for (const { url } of [etcd, store]) {
    const granted = await etcdctl(url, ['lease', 'grant', '300']);
    const id = /^lease ([0-9a-f]+) granted with TTL\(300s\)\n$/.exec(granted.output)?.[1];
    assert.ok(id, granted.output);
    assert.equal((await etcdctl(url, ['put', `--lease=${id}`, 'leased', 'x'])).output, 'OK\n');
    const { output } = await etcdctl(url, ['lease', 'timetolive', id, '--keys']);
    assert.match(output, /granted with TTL\(300s\), remaining\(\d+s\), attached keys\(\[leased\]\)/);
    const alive = await etcdctl(url, ['lease', 'keep-alive', '--once', id]);
    assert.equal(alive.output, `lease ${id} keepalived with TTL(300)\n`);
    assert.match((await etcdctl(url, ['lease', 'list'])).output, new RegExp(`found 1 leases\n${id}\n`));
    assert.equal((await etcdctl(url, ['lease', 'revoke', id])).output, `lease ${id} revoked\n`);
    assert.equal((await etcdctl(url, ['get', 'leased'])).output, '');
    assert.match((await etcdctl(url, ['lease', 'timetolive', id])).output, /already expired/);
  }
  await same(['lease', 'revoke', '1abc']);
  await same(['lease', 'keep-alive', '--once', '1abc']);
  await same(['put', '--lease=1abc', 'a', 'b']);
});

test('etcdctl endpoint, member and alarm commands', async () => {
  await same(['endpoint', 'health']);
  await same(['alarm', 'list']);
  const shape = (text: string): string =>
    text.replaceAll(/[0-9a-f]{9,16}/g, 'ID').replaceAll(/\d+ kB/g, 'SIZE');
  for (const endpoint of [store.url, store.url.replace('http://', '')]) {
    const { output, code } = await etcdctl(endpoint, ['endpoint', 'status']);
    assert.match(
      shape(output.replace(endpoint, 'URL')),
      /^URL, ID, 3\.4\.34\+weft, SIZE, true, false, 1, \d+, \d+, $/m,
    );
    assert.equal(code, 0);
  }
  assert.match(
    shape((await etcdctl(store.url, ['member', 'list'])).output),
    /^ID, started, weft, , URL, false$/m,
  );
  const { errors, code } = await etcdctl(store.url, ['user', 'list']);
  assert.match(errors, /code = Unimplemented/);
  assert.notEqual(code, 0);
});

test('etcdctl lock, which is made of leases, txns and watches', async () => {
  for (const { url } of [etcd, store]) {
    const lock = await etcdctl(url, ['lock', 'mutex', 'echo', 'locked']);
    assert.deepEqual(lock, { output: 'locked\n', errors: '', code: 0 });
  }
});
