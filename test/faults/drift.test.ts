import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { formatObject, type KernelObject, type Link } from '#src/kernel/object.ts';
import type { Operation } from '#src/kernel/operation.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { parseMac } from '#src/lib/mac.ts';
import { until } from '#src/lib/until.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { reportFault } from '../support/fault-report.ts';
import { type Network, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * What others do to a host's network, under traffic of 200 packets a second from c on h1 to c on h2. Each drift is done
 * several times; each time the state must come back, and the time is taken until it has:
 *
 *     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 *      └ the kernel's own messages change it, and tell when it is right again
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'nft');
const DEVICE = 'flannel.1';
/** Between two of a kind, so that a repair is not taken for a fight with another program. */
const PAUSE_MS = 120;

let network: Network | undefined;
let kernel: RtnetlinkKernel | undefined;
const cleanUps: (() => Promise<void>)[] = [];

before(async () => {
  if (skip !== false) return;
  const suite = {
    signal: new AbortController().signal,
    after: (act: () => Promise<void>) => void cleanUps.push(act),
  };
  network = await testNetwork(suite, { api: 3 });
  const [one] = pairOf(network);
  kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: `/run/netns/${one.host.namespace}` });
});
after(async () => {
  kernel?.close();
  for (const act of cleanUps.reverse()) await act();
});

function parts(): { kernel: RtnetlinkKernel; network: Network } {
  assert.ok(kernel !== undefined && network !== undefined);
  return { kernel, network };
}

/** Everything on the overlay's device, and the device, as sorted text. */
async function overlayState(): Promise<readonly KernelObject[]> {
  const { kernel } = parts();
  const link = (await kernel.links()).filter(({ name }) => name === DEVICE);
  return [
    ...link,
    ...(await kernel.dump({ kinds: ['address', 'route', 'neighbour', 'fdb'], device: DEVICE })),
  ];
}

const textOf = (objects: readonly KernelObject[]): string =>
  objects
    .map(
      (object) => `${object.kind} ${formatObject(object)}${object.kind === 'link' ? ` up=${object.up}` : ''}`,
    )
    .sort()
    .join('\n');

async function apply(operation: Operation): Promise<void> {
  const [result] = await parts().kernel.apply([operation]);
  assert.ok(result?.done, JSON.stringify(result));
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Does it `TIMES` times under traffic; each time waits until the overlay is as before. */
async function drift(fault: string, act: (state: readonly KernelObject[]) => Promise<void>): Promise<void> {
  const [one, two] = pairOf(parts().network);
  const traffic = await Traffic.start(one.container, two.container.address);
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
  const { lost } = await traffic.stop();
  reportFault({ fault, repairedMs, lost });
}

const first = (objects: readonly KernelObject[], kind: KernelObject['kind']): KernelObject =>
  objects.find((object) => object.kind === kind) ?? assert.fail(`there is no ${kind}`);

for (const kind of ['route', 'neighbour', 'fdb', 'address'] as const) {
  test(`P7 a deleted ${kind} is put back`, { skip }, () =>
    drift(`P7 ${kind} deleted`, (state) => apply({ verb: 'remove', object: first(state, kind) })),
  );
}

const LINK_CHANGES: readonly (readonly [string, string, Partial<Link>])[] = [
  ['P7', 'link down', { up: false }],
  ['P6', 'MAC changed', { mac: parseMac('02:00:00:0b:ad:01') ?? assert.fail() }],
  ['P22', 'MTU changed', { mtu: 1300 }],
];
for (const [number, what, change] of LINK_CHANGES) {
  test(`${number} ${what}: the device is as before`, { skip }, () =>
    drift(`${number} ${what}`, () =>
      apply({ verb: 'set', object: { kind: 'link', name: DEVICE, ...change } }),
    ),
  );
}

test('P7 a deleted device is made again, with all that was on it', { skip }, () =>
  drift('P7 device deleted', () => apply({ verb: 'remove', object: { kind: 'link', name: DEVICE } })),
);

test('P7 a flapped underlay leaves the overlay as it was', { skip }, () =>
  drift('P7 underlay flapped', async () => {
    await apply({ verb: 'set', object: { kind: 'link', name: 'eth0', up: false } });
    await apply({ verb: 'set', object: { kind: 'link', name: 'eth0', up: true } });
  }),
);

/** Faults outside rtnetlink: a shell on the host does them, and looks until its `check` prints what it printed before. */
async function driftByShell(fault: string, act: string, check: string): Promise<void> {
  const [one, two] = pairOf(parts().network);
  const traffic = await Traffic.start(one.container, two.container.address);
  const repairedMs: number[] = [];
  for (let time = 0; time < TIMES; time++) {
    const script = `
      look() { ${check}; }
      before=$(look)
      began=$(date +%s%N)
      ${act}
      tries=0
      until [ "$(look)" = "$before" ]; do
        tries=$((tries + 1))
        [ $tries -lt 2000 ] || exit 1
      done
      echo $(($(date +%s%N) - began))`;
    repairedMs.push(Number(await one.host.must(['sh', '-c', script])) / 1e6);
    await pause(PAUSE_MS);
  }
  const { lost } = await traffic.stop();
  reportFault({ fault, repairedMs, lost });
}

const RULES = "iptables-save | grep -v -e '^#' -e '^:'";

test('P3, P19 flushed rules are put back', { skip }, () =>
  driftByShell('P3 rules flushed (iptables -F)', 'iptables -F; iptables -t nat -F', RULES),
);

test('P3, P19 a firewall that is reloaded from nothing gets the rules again', { skip }, () =>
  driftByShell('P3 ruleset flushed (firewall reload)', 'nft flush ruleset', RULES),
);

test('P7 forwarding that is switched off is switched on', { skip }, () =>
  driftByShell(
    'P7 sysctl ip_forward off',
    'sysctl -qw net.ipv4.ip_forward=0',
    `sysctl -n net.ipv4.ip_forward net.ipv4.conf.${DEVICE.replace('.', '/')}.forwarding`,
  ),
);
