import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { parseMac } from '#src/lib/mac.ts';
import { formatObject, type KernelObject, type Link } from '#src/state/object.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { type DualNetwork, dualNetwork } from '../support/dual-network.ts';
import { reportFault } from '../support/fault-report.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { pause, TIMES } from './suite.ts';

/*
 * What others do to the IPv6 part of a host's network; each time it must come back as it was:
 *
 *     h1 .191 fd77::1 flanneld ── docker0 ── c          c ── docker0 ── flanneld .192 fd77::2 h2
 *      └ the kernel's own messages change flannel-v6.1, and show when it is right again
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const DEVICE = 'flannel-v6.1';
/** Between two of a kind, so that a repair is not taken for a fight with another program. */
const PAUSE_MS = 120;
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

let made: DualNetwork | undefined;
let opened: RtnetlinkKernel | undefined;
wholeFile(skip, async (owner) => {
  made = await dualNetwork(owner, { config: CONFIG });
});
after(() => opened?.close());

const network = (): DualNetwork => made ?? assert.fail('there is no network');

function kernel(): RtnetlinkKernel {
  opened ??= new RtnetlinkKernel(
    { netlink: systemNetlink },
    { namespace: `/run/netns/${network().one.host.namespace}` },
  );
  return opened;
}

/** What flanneld made. The kernel gives each device with IPv6 a link-local address and its routes, and learns neighbours. */
const isMade = (object: KernelObject): boolean =>
  !/\bf[ef][08]0::|33:33:/.test(formatObject(object)) && (object.kind !== 'neighbour' || object.permanent);

async function overlayState(): Promise<readonly KernelObject[]> {
  const link = (await kernel().links()).filter(({ name }) => name === DEVICE);
  const on = await kernel().dump({ kinds: ['address', 'route', 'neighbour', 'fdb'], device: DEVICE });
  return [...link, ...on.filter(isMade)];
}

const textOf = (objects: readonly KernelObject[]): string =>
  objects
    .map(
      (object) => `${object.kind} ${formatObject(object)}${object.kind === 'link' ? ` up=${object.up}` : ''}`,
    )
    .sort()
    .join('\n');

async function apply(operation: Operation): Promise<void> {
  const [result] = await kernel().apply([operation]);
  assert.ok(result?.done, `${commandOf(operation)}: ${result?.done === false ? result.error.message : ''}`);
}

async function drift(fault: string, act: (state: readonly KernelObject[]) => Promise<void>): Promise<void> {
  const before = await overlayState();
  const wanted = textOf(before);
  const repairedMs: number[] = [];
  for (let time = 0; time < TIMES; time++) {
    const began = performance.now();
    await act(before);
    await until(async () => textOf(await overlayState()) === wanted, {
      what: `the repair of ${fault}`,
      timeoutMs: 10_000,
      intervalMs: 0,
    });
    repairedMs.push(performance.now() - began);
    await pause(PAUSE_MS);
  }
  reportFault({ fault, repairedMs, lost: 0 });
  const { one, two } = network();
  await waitForAnswer(one.container, two.address6);
}

/** The one of a kind that flanneld made for the peer, or for itself. */
const first = (objects: readonly KernelObject[], kind: KernelObject['kind']): KernelObject =>
  objects.find((object) => object.kind === kind && (object.kind !== 'route' || object.onlink)) ??
  assert.fail(`there is no ${kind}`);

for (const kind of ['route', 'neighbour', 'fdb', 'address'] as const) {
  test(`IPv6: a deleted ${kind} is put back`, { skip }, () =>
    drift(`IPv6 ${kind} deleted`, (state) => apply({ verb: 'remove', object: first(state, kind) })),
  );
}

const LINK_CHANGES: readonly (readonly [string, Partial<Link>])[] = [
  ['link down', { up: false }],
  ['MAC changed', { mac: parseMac('02:00:00:0b:ad:06') ?? assert.fail() }],
  ['MTU changed', { mtu: 1300 }],
];
for (const [what, change] of LINK_CHANGES) {
  test(`IPv6: ${what}: the device is as before`, { skip }, () =>
    drift(`IPv6 ${what}`, () => apply({ verb: 'set', object: { kind: 'link', name: DEVICE, ...change } })),
  );
}

test('IPv6: a deleted device is made again, with all that was on it', { skip }, () =>
  drift('IPv6 device deleted', () => apply({ verb: 'remove', object: { kind: 'link', name: DEVICE } })),
);

for (const path of ['net.ipv6.conf.all.forwarding', 'net.ipv6.conf.flannel-v6/1.accept_ra']) {
  test(`IPv6: ${path} is set back`, { skip }, async () => {
    const { host } = network().one;
    const read = async () => (await host.must(['sysctl', '-n', path])).trim();
    const wanted = await read();
    await host.must(['sysctl', '-qw', `${path}=${wanted === '1' ? 0 : 1}`]);
    // The kernel reports forwarding at once, and accept_ra not at all: that is looked at each ten seconds.
    await until(async () => (await read()) === wanted, { what: `the repair of ${path}`, timeoutMs: 30_000 });
  });
}
