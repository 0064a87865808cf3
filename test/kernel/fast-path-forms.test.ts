import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import {
  besides,
  datagram,
  fastPathHosts,
  LONG_MS,
  runFastPath,
  SET,
  scratchBpffs,
  textsIn,
  wantedOf,
  wishOf,
} from '../support/fast-path-hosts.ts';

/* The hosts are drawn in test/support/fast-path-hosts.ts. h1 has a fast path, and h2 is plain. */

const forms = await bpfForms('bridge', 'tc', 'mount');

test('links of an earlier run are taken off where the bpffs has become read-only, and filters take their place', {
  skip: forms.get('tcx'),
}, async (t) => {
  const bpffs = scratchBpffs(t);
  const [h1, h2] = fastPathHosts(t);
  const wanted = wantedOf({ ...wishOf(h1, h2), freshMs: LONG_MS });
  const first = await runFastPath(t, h1, wanted, { bpffs });
  assert.equal(first.actuator.form, 'tcx');
  await first.stop();
  execFileSync('mount', ['-o', 'remount,bind,ro', bpffs]);
  const again = await runFastPath(t, h1, wanted, { bpffs });
  assert.equal(again.actuator.form, 'clsact');
  assert.deepEqual(again.owner.status.failing, []);
  for (const [device, direction] of [
    ['eth0', 'ingress'],
    [SET, 'egress'],
  ])
    assert.match(h1.run(`tc filter show dev ${device} ${direction}`), /weft\/flannel\.1\//);
  // One program for each packet: the counters would be higher by the other.
  const [sender, receiver] = [await h1.frames(t), await h2.frames(t)];
  for (const text of ['one', 'two']) {
    sender.send(datagram(h1, h2, text));
    await until(() => textsIn(receiver.take()).includes(text), { what: text });
  }
  const { noted, encapsulated } = again.counts();
  assert.deepEqual([noted, encapsulated], [1, 1]);
  await again.set([]);
  assert.deepEqual(again.owner.status.failing, []);
  const found = await besides(h1, { form: 'clsact', bpffs }, ({ hooks, names }) => hooks.list(names));
  assert.deepEqual(found, []);
});
