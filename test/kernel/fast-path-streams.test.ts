import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { patience } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import { assertWhole } from '../support/echo-calls.ts';
import type { CallReport } from '../support/echo-process.ts';
import {
  besides,
  type FastHost,
  fastPathHosts,
  runFastPath,
  scratchBpffs,
  wantedOf,
  wishOf,
} from '../support/fast-path-hosts.ts';

/*
 * A container talks to the other one by UDP and TCP all the time, while weft on its host ends, starts, and is replaced by another. The
 * hosts are drawn in test/support/fast-path-hosts.ts; both have a fast path.
 */
const forms = await bpfForms('bridge', 'iptables');
const PROGRAM = fileURLToPath(new URL('../support/echo-process.ts', import.meta.url));
/** `r0 = -1; exit` */
const LEAVE_ALONE = Uint8Array.of(0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0);

function inContainer(t: TestContext, host: FastHost, ...words: string[]): ChildProcess {
  const child = spawn('ip', ['netns', 'exec', host.container, process.execPath, PROGRAM, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** Calls from a container of the first host to one of the second, under way for so long. Returns how to wait for what became of them. */
async function startCalls(
  t: TestContext,
  [from, to]: readonly [FastHost, FastHost],
  ms: number,
): Promise<() => Promise<CallReport>> {
  const server = inContainer(t, to, 'serve');
  assert.ok(server.stdout !== null);
  await once(server.stdout, 'data');
  const caller = inContainer(t, from, 'call', '--address=10.244.2.2', `--ms=${ms * patience()}`);
  assert.ok(caller.stdout !== null);
  const [said] = (await once(caller.stdout, 'data')) as [Buffer];
  const rest = text(caller.stdout);
  return async () => JSON.parse((said.toString() + (await rest)).replace('calling\n', '')) as CallReport;
}

for (const [form, lack] of forms) {
  test(`${form}: no packet of a stream is lost while weft ends, starts and is replaced`, {
    skip: lack,
  }, async (t) => {
    const bpffs = scratchBpffs(t);
    const [h1, h2] = fastPathHosts(t);
    for (const host of [h1, h2]) {
      // What many hosts have; the fast path's sysctl makes it harmless.
      host.run('iptables -I FORWARD -m conntrack --ctstate INVALID -j DROP');
      host.run('sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1');
    }
    const first = await runFastPath(t, h1, wantedOf(wishOf(h1, h2)), { form, bpffs });
    const other = await runFastPath(t, h2, wantedOf(wishOf(h2, h1)), { form, bpffs });
    const report = await startCalls(t, [h1, h2], 3_000);

    await first.stop();
    const again = await runFastPath(t, h1, wantedOf(wishOf(h1, h2)), { form, bpffs });
    await again.stop();
    await besides(h1, { form, bpffs }, async ({ bpf, hooks, names }) => {
      const older = bpf.loadClassifier('weft_older', LEAVE_ALONE, 'GPL');
      for (const hook of await hooks.list(names)) await hooks.attach(hook, older);
      bpf.close(older);
    });
    const newer = await runFastPath(t, h1, wantedOf(wishOf(h1, h2)), { form, bpffs });
    assert.ok(newer.owner.stateOf('own').isDone);

    assertWhole(await report());
    const { encapsulated, decapsulated } = newer.counts();
    assert.ok(encapsulated > 100 && decapsulated > 100, `${encapsulated} out, ${decapsulated} in went fast`);
    assert.equal(other.counts().failed + newer.counts().failed, 0);
    assert.equal((await besides(h1, { form, bpffs }, ({ hooks, names }) => hooks.list(names))).length, 4);
  });
}

test('tcx: no packet of a stream is lost when the fast path is turned on, and off again', {
  skip: forms.get('tcx'),
}, async (t) => {
  const bpffs = scratchBpffs(t);
  const [h1, h2] = fastPathHosts(t);
  for (const host of [h1, h2]) host.run('sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1');
  const report = await startCalls(t, [h1, h2], 4_000);
  for (let round = 0; round < 5; round++) {
    for (const [host, peer] of [
      [h1, h2],
      [h2, h1],
    ] as const) {
      const fast = await runFastPath(t, host, wantedOf(wishOf(host, peer)), { form: 'tcx', bpffs });
      assert.deepEqual(fast.owner.status.failing, []);
      assert.doesNotMatch(host.run('tc qdisc show'), /clsact/);
      await fast.set([]);
      await fast.stop();
    }
  }
  assertWhole(await report());
});
