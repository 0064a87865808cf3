import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { XfrmKernel } from '#src/kernel/xfrm-kernel.ts';
import { type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KernelObject, PolicyDirection, XfrmPolicy } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace with IPsec policies. Others' hands are iproute2. States, with the keys, are not needed for any of this.
 */
const skip = cannotRun();

const prefix = (text: string) => parsePrefix(text) as Prefix;
const ip = (text: string) => parseIp(text) as Ip;
const [OWN, PEER] = [prefix('10.5.1.0/24'), prefix('10.5.2.0/24')];

const policy = (direction: PolicyDirection, peer = PEER): XfrmPolicy => ({
  kind: 'xfrm-policy',
  direction,
  source: direction === 'out' ? OWN : peer,
  destination: direction === 'out' ? peer : OWN,
  action: 'allow',
  priority: 0,
  tunnel:
    direction === 'out'
      ? { source: ip('192.0.2.1'), destination: ip('192.0.2.2'), requestId: 11 }
      : { source: ip('192.0.2.2'), destination: ip('192.0.2.1'), requestId: 11 },
});
const WANTED = [policy('out'), policy('in'), policy('fwd')];

async function dump(kernel: XfrmKernel): Promise<KernelObject[]> {
  const found: KernelObject[] = [];
  await kernel.scan({ kinds: ['xfrm-policy'] }, (object) => found.push(object));
  return found;
}

/** `ip xfrm policy`, a line for each. */
const listed = (namespace: ScratchNamespace): string[] =>
  namespace
    .run('ip xfrm policy')
    .split(/\n(?=src)/)
    .map((text) => text.replaceAll(/\s+/g, ' ').trim())
    .filter(Boolean)
    .sort();

async function reconciled(t: TestContext) {
  const namespace = scratchNamespace(t);
  const kernel = new XfrmKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const scopes = [
    {
      kinds: ['xfrm-policy' as const],
      owns: (object: KernelObject) => object.kind === 'xfrm-policy' && object.tunnel?.requestId === 11,
    },
  ];
  const owner = reconciler.own({ name: 'blue', scopes: () => scopes });
  owner.set('peer', WANTED);
  await reconciler.start(t.signal);
  return { namespace, kernel, owner, reconciler };
}

test('policies are what ip says, and the commands make the same', { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  const kernel = new XfrmKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const block: XfrmPolicy = {
    kind: 'xfrm-policy',
    direction: 'out',
    source: prefix('0.0.0.0/0'),
    destination: prefix('10.5.0.0/16'),
    action: 'block',
    priority: 2,
  };
  const operations = [...WANTED, block].map((object) => ({ verb: 'replace' as const, object }));
  assert.ok((await kernel.apply(operations)).every(({ done }) => done));
  const made = listed(namespace);
  assert.deepEqual(made, [
    'src 0.0.0.0/0 dst 10.5.0.0/16 dir out action block priority 2 ptype main',
    'src 10.5.1.0/24 dst 10.5.2.0/24 dir out priority 0 ptype main tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 11 mode tunnel',
    'src 10.5.2.0/24 dst 10.5.1.0/24 dir fwd priority 0 ptype main tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 11 mode tunnel',
    'src 10.5.2.0/24 dst 10.5.1.0/24 dir in priority 0 ptype main tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 11 mode tunnel',
  ]);
  for (const object of [...WANTED, block]) namespace.run(commandOf({ verb: 'remove', object }));
  assert.deepEqual(await dump(kernel), []);
  for (const operation of operations) namespace.run(commandOf(operation));
  assert.deepEqual(listed(namespace), made);
  const bySelector = (a: KernelObject, b: KernelObject) =>
    commandOf({ verb: 'remove', object: a }) < commandOf({ verb: 'remove', object: b }) ? -1 : 1;
  assert.deepEqual((await dump(kernel)).sort(bySelector), [...WANTED, block].sort(bySelector));
  const [again] = await kernel.apply([{ verb: 'add', object: block }]);
  assert.equal(again?.done === false && again.error.errno, 'EEXIST');
  const [gone] = await kernel.apply([{ verb: 'remove', object: policy('out', prefix('10.5.9.0/24')) }]);
  assert.equal(gone?.done === false && gone.error.errno, 'ENOENT');
});

/** When the last change was heard of, by a monitor of its own: iproute2 would take longer than the repair. */
async function lastChange(t: TestContext, namespace: ScratchNamespace): Promise<() => number> {
  const kernel = new XfrmKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  let heardAt = Number.NaN;
  await kernel.monitor((event) => {
    if (event.type === 'changed') heardAt = performance.now();
  }, t.signal);
  await dump(kernel);
  return () => heardAt;
}

const TUNNEL = 'tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 11 mode tunnel';
const OUT = 'src 10.5.1.0/24 dst 10.5.2.0/24 dir out';

for (const [what, ...commands] of [
  ['a policy that was removed', `ip xfrm policy delete ${OUT}`],
  ['a policy for another end', `ip xfrm policy update ${OUT} ${TUNNEL.replace('192.0.2.2', '192.0.2.9')}`],
  ['a policy for other states', `ip xfrm policy update ${OUT} ${TUNNEL.replace('reqid 11', 'reqid 12')}`],
  ['a policy without a tunnel', `ip xfrm policy update ${OUT}`],
  ['a policy that blocks', `ip xfrm policy update ${OUT} action block`],
  ['a policy of less weight', `ip xfrm policy update ${OUT} priority 7 ${TUNNEL}`],
  ['all policies at once', 'ip xfrm policy flush'],
  [
    'a policy that was made again elsewhere',
    `ip xfrm policy delete ${OUT}`,
    `ip xfrm policy add ${OUT} action block`,
  ],
] as const)
  test(`drift is repaired: ${what}`, { skip }, async (t) => {
    const { namespace, owner, reconciler } = await reconciled(t);
    const made = listed(namespace);
    assert.equal(made.length, 3);
    const heardAt = await lastChange(t, namespace);
    for (const command of commands) namespace.run(command);
    const began = performance.now();
    await until(() => listed(namespace).join() === made.join() || undefined, { what, timeoutMs: 10_000 });
    // The list may show it before the event is read.
    await until(() => heardAt() >= began || undefined, { what: `the event of the repair of ${what}` });
    reportFault({ fault: `IPsec: ${what}`, repairedMs: [heardAt() - began], lost: undefined });
    await owner.settled();
    assert.deepEqual(owner.status.failing, []);
    assert.ok(reconciler.status.repairs > 0);
  });

test('what a former peer left goes, and what others made stays', { skip }, async (t) => {
  const { namespace, owner } = await reconciled(t);
  const foreign = 'src 10.9.1.0/24 dst 10.9.2.0/24 dir out';
  namespace.run(`ip xfrm policy add ${foreign} ${TUNNEL.replace('reqid 11', 'reqid 1')}`);
  namespace.run(`ip xfrm policy add src 10.5.1.0/24 dst 10.5.7.0/24 dir out ${TUNNEL}`);
  owner.allowRemoval();
  await until(() => !/10\.5\.7\.0/.test(namespace.run('ip xfrm policy')) || undefined, { what: 'removal' });
  owner.set('peer', []);
  await owner.settled();
  assert.deepEqual(listed(namespace), [
    `${foreign} priority 0 ptype main tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel`,
  ]);
});
