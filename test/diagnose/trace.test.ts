import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hop } from '#src/diagnose/trace/hop.ts';
import { probeEvidence } from '#src/diagnose/trace/probe-evidence.ts';
import { localSite, RemoteSite, type Site } from '#src/diagnose/trace/site.ts';
import { type Trace, traceWay } from '#src/diagnose/trace/trace-way.ts';
import { makeContainer } from '#src/lab/container.ts';
import { parseIpv4 } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';
import { FLANNELD } from '../support/flanneld.ts';
import { type Network, type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { shellOn, TRACE_FAULTS } from '../support/trace-faults.ts';
import { rememberPeers, tracedHost } from '../support/traced-host.ts';

/*
 * One lab for all of it. The faults come when no flanneld runs any more: it would mend them.
 *
 *     store ─┬─ h1 flanneld ── docker0 ── c, and d in one test
 *            ├─ h2 flanneld ── docker0 ── c
 *            └─ h3 flanneld ── docker0 ── c
 */
const skip = cannotRun('ping', 'nft');
let network: Network;

wholeFile(skip, async (owner) => {
  network = await testNetwork(owner, { api: 3, store: 'embedded', programs: [FLANNELD, FLANNELD, FLANNELD] });
  await rememberPeers(network);
});

interface TraceOptions {
  readonly all?: boolean;
  /** The second host has no responder. */
  readonly silent?: boolean;
  /** With what the first host's probes measured. */
  readonly probed?: boolean;
}

async function trace(
  from: Node,
  to: Node,
  { all = false, silent = false, probed = false }: TraceOptions = {},
): Promise<Trace> {
  const hosts = await Promise.all([from, to].map(({ host, container }) => tracedHost(host, [container])));
  const [a, b] = hosts;
  assert.ok(a && b);
  const refused = () => Promise.reject(new Error('nothing answers at its VTEP'));
  const probe = a.known?.peers.find(({ publicIp }) => publicIp === parseIpv4(to.host.address))?.probe;
  const other: Site = silent ? new RemoteSite(to.host.address, refused) : localSite(b);
  try {
    return await traceWay({
      from: { address: from.container.address, site: localSite(a) },
      to: { address: to.container.address, site: other },
      all,
      ...(probed && { evidence: (it) => probeEvidence({ probe, port: 8472, now: Date.now() }, it) }),
    });
  } finally {
    for (const { eye } of hosts) eye.close();
  }
}

/** Where it stopped: `there h2 arrival-filter`. */
function stopOf({ hops }: Trace): string {
  const stop = hops.find(({ ok }) => ok === false);
  return stop === undefined ? 'arrives' : `${stop.way} ${stop.host} ${stop.id}`;
}

const explain = ({ hops }: Trace): string =>
  hops.map(({ way, host, id, ok, found }) => `${way} ${host} ${id} ${ok}: ${found.join('; ')}`).join('\n');

test('a healthy network: every hop is ok, there and back', { skip }, async () => {
  const [one, two] = pairOf(network);
  const traced = await trace(one, two);
  assert.equal(traced.outcome, 'arrives', explain(traced));
  assert.deepEqual(
    traced.hops.map(({ way, host, id }) => `${way} ${host} ${id}`),
    [...wayOf('there', 'h1', 'h2'), ...wayOf('back', 'h2', 'h1')],
  );
  assert.ok(traced.hops.every(({ found }) => found.length > 0));
});

const LEAVE =
  'container bridge forwarding route forward-filter device neighbour fdb underlay output-filter wire';
const ENTER =
  'input-filter arrival-device arrival-forwarding arrival-route arrival-filter arrival-bridge arrival-container';
const wayOf = (way: string, from: string, to: string): string[] => [
  ...LEAVE.split(' ').map((id) => `${way} ${from} ${id}`),
  ...ENTER.split(' ').map((id) => `${way} ${to} ${id}`),
];

test('a peer that can’t be asked: all of this host is seen, and the rest is said to be unknown', {
  skip,
}, async () => {
  const [one, two] = pairOf(network);
  const traced = await trace(one, two, { silent: true });
  assert.equal(traced.outcome, 'unknown', explain(traced));
  const unknown = traced.hops.filter(({ ok }) => ok === 'unknown');
  assert.deepEqual(
    unknown.map(({ way, host, id }) => `${way} ${host} ${id}`),
    [
      'there h1 wire',
      `there ${two.host.address} arrival-device`,
      `back ${two.host.address} container`,
      `back ${two.host.address} wire`,
    ],
  );
  assert.match(unknown[1]?.found[0] ?? '', /can't be asked: nothing answers at its VTEP/);
  assert.ok(
    traced.hops.some(({ way, host, id }) => way === 'back' && host === 'h1' && id === 'arrival-container'),
  );
});

test('with probes: the wire is where it stops, and why', { skip }, async () => {
  const [one, two] = pairOf(network);
  const wireWhen = async (what: string, wanted: (found: string, ok: Hop['ok']) => boolean): Promise<Hop> => {
    let traced: Trace | undefined;
    const isSo = async () => {
      traced = await trace(one, two, { silent: true, probed: true });
      const { found = [], ok = 'unknown' } = traced.hops.find(({ id }) => id === 'wire') ?? {};
      return wanted(found[0] ?? '', ok);
    };
    await until(isSo, { what, timeoutMs: 30_000 });
    return traced?.hops.findLast(({ id }) => id === 'wire') ?? assert.fail();
  };
  await wireWhen('an answer inside the tunnel', (_, ok) => ok === true);
  await two.host.must([
    'nft',
    'table inet trouble { chain c { type filter hook input priority 0; udp dport 8472 drop; }; }',
  ]);
  try {
    const dropped = await wireWhen('a tunnel that is down', (found) => found.includes('underlay answers'));
    assert.equal(dropped.ok, false);
    assert.match(dropped.remedy ?? '', /UDP port 8472/);
    assert.equal(stopOf(await trace(one, two, { silent: true, probed: true })), 'there h1 wire');
    await two.host.must(['nft', 'add rule inet trouble c ip protocol icmp drop']);
    const cut = await wireWhen('a host that is cut off', (found) => found.startsWith('neither the tunnel'));
    assert.equal(cut.ok, false);
  } finally {
    await two.host.must(['nft', 'delete table inet trouble']);
  }
});

test('flanneld ends on both hosts: what it wrote down is what is expected', { skip }, async () => {
  const [one, two] = pairOf(network);
  for (const { host } of [one, two]) await (await host.daemon('flanneld'))?.stop();
  const traced = await trace(one, two);
  assert.equal(traced.outcome, 'arrives', explain(traced));
});

for (const fault of TRACE_FAULTS) {
  test(`${fault.name}: it stops at ${fault.stopsAt}`, { skip }, async () => {
    const [one, two] = pairOf(network);
    await fault.start({ one, two });
    try {
      const traced = await trace(one, two);
      assert.equal(stopOf(traced), fault.stopsAt, explain(traced));
      const stop = traced.hops.at(-1);
      assert.ok(stop?.ok === false && stop.remedy !== undefined, 'the last hop, and what mends it');
    } finally {
      await fault.end({ one, two });
    }
    // Devices have their carrier a moment after they came up.
    let after: Trace | undefined;
    const arrives = async (): Promise<boolean> => {
      after = await trace(one, two);
      return after.outcome === 'arrives';
    };
    await until(arrives, { what: 'way as it was' }).catch((error: Error) =>
      assert.fail(`${error.message}:\n${after && explain(after)}`),
    );
  });
}

const SAME_HOST: readonly (readonly [string, string, 'c1' | 'h1', string, string])[] = [
  [
    'the port of the other container is down',
    'there h1 arrival-bridge',
    ...(['h1', 'ip link set veth-d down', 'ip link set veth-d up'] as const),
  ],
  [
    'the port of the other container is not in the bridge',
    'there h1 arrival-bridge',
    ...(['h1', 'ip link set veth-d nomaster', 'ip link set veth-d master docker0'] as const),
  ],
  [
    'a container without a route to its own subnet',
    'there h1 container',
    ...(['c1', 'ip route del $AS', 'ip route add $AS dev eth0 src $A'] as const),
  ],
];

test('two containers of one host: no hop leaves it, and faults are found', { skip }, async (t) => {
  const [one] = pairOf(network);
  const other = await makeContainer(one.host, 'd');
  const traceHere = async (): Promise<Trace> => {
    const host = await tracedHost(one.host, [one.container, other]);
    const site = localSite(host);
    try {
      return await traceWay({
        from: { address: one.container.address, site },
        to: { address: other.address, site },
      });
    } finally {
      host.eye.close();
    }
  };
  const healthy = await until(
    async () => {
      const traced = await traceHere();
      return traced.outcome === 'arrives' && traced;
    },
    { what: 'way to the other container' },
  );
  assert.deepEqual(
    healthy.hops.map(({ way, host, id }) => `${way} ${host} ${id}`),
    ['there', 'back'].flatMap((way) =>
      ['container', 'bridge', 'arrival-bridge', 'arrival-container'].map((id) => `${way} h1 ${id}`),
    ),
  );
  const [, two] = pairOf(network);
  for (const [name, stopsAt, where, start, end] of SAME_HOST) {
    await t.test(`${name}: it stops at ${stopsAt}`, async () => {
      await shellOn(where, start)({ one, two });
      try {
        const traced = await traceHere();
        assert.equal(stopOf(traced), stopsAt, explain(traced));
      } finally {
        await shellOn(where, end)({ one, two });
      }
    });
  }
});

test('after all of them the way is as it was', { skip }, async () => {
  const [one, two] = pairOf(network);
  const traced = await trace(one, two, { all: true });
  assert.equal(stopOf(traced), 'arrives', explain(traced));
});
