import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullTrace } from '#src/diagnose/trace/run-trace.ts';
import { localSite } from '#src/diagnose/trace/site.ts';
import { type Trace, traceWay } from '#src/diagnose/trace/trace-way.ts';
import type { FamilyProbe } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { type DualNetwork, type DualNode, dualNetwork } from '../support/dual-network.ts';
import { startFlanneld, WEFT } from '../support/flanneld.ts';
import { apiSocketOf, isDownBy, untilAllUp } from '../support/probes.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { tracedHost } from '../support/traced-host.ts';

/*
 * What the diagnosis says of a network of both families. The faults come when no flanneld runs any more: it would mend them.
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 *          └───────────────────────── br0 172.16.70.0/24, fd77::/64 ─────────────────────────┘
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'nft');
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

/** For a peer to be measured: a look has several packets, and a loaded machine is late with each. */
const PATIENCE_MS = 30_000;

let network: DualNetwork;

wholeFile(skip, async (owner) => {
  network = await dualNetwork(owner, { config: CONFIG });
  // Once more, so that each writes down at once which peers it has.
  for (const { host, flags } of [network.one, network.two]) {
    await (await host.daemon('flanneld'))?.stop();
    await startFlanneld(host, flags);
  }
  for (const node of [network.one, network.two]) await untilAllUp(node, { peers: 1 });
});

interface Said {
  readonly findings: readonly { readonly id: string; readonly what: string; readonly remedy: string }[];
  readonly unknown: readonly unknown[];
}

async function doctor({ host, flags }: DualNode): Promise<Said> {
  const { stdout, stderr } = await host.run([WEFT, 'doctor', '--json', ...flags]);
  assert.notEqual(stdout, '', stderr);
  const { networks } = JSON.parse(stdout) as { readonly networks: readonly Said[] };
  return networks[0] ?? assert.fail('no network');
}

async function trace(from: DualNode, to: DualNode): Promise<Trace> {
  const hosts = await Promise.all([from, to].map(({ host, container }) => tracedHost(host, [container])));
  const [a, b] = hosts;
  assert.ok(a && b);
  try {
    return await traceWay({
      from: { address: from.address6, site: localSite(a) },
      to: { address: to.address6, site: localSite(b) },
      all: false,
    });
  } finally {
    for (const { eye } of hosts) eye.close();
  }
}

const explain = ({ hops }: Trace): string =>
  hops.map(({ way, host, id, ok, found }) => `${way} ${host} ${id} ${ok}: ${found.join('; ')}`).join('\n');

/** Where it stopped: `there h2 arrival-filter`. */
function stopOf({ hops }: Trace): string {
  const stop = hops.find(({ ok }) => ok === false);
  return stop === undefined ? 'arrives' : `${stop.way} ${stop.host} ${stop.id}`;
}

test('doctor has nothing to say of a healthy network, and every check can look', { skip }, async () => {
  const { findings, unknown } = await doctor(network.one);
  assert.deepEqual({ findings, unknown }, { findings: [], unknown: [] });
});

test('trace walks from container to container in IPv6, there and back', { skip }, async () => {
  const { one, two } = network;
  const traced = await trace(one, two);
  assert.equal(traced.outcome, 'arrives', explain(traced));
  const text = explain(traced);
  assert.match(text, /there h1 device true: .*flannel-v6\.1/);
  assert.match(text, /there h1 route true: .*flannel-v6\.1/);
  assert.match(text, /there h1 underlay true: .*eth0/);
  assert.match(text, /there h2 arrival-device true: .*flannel-v6\.1/);
});

test('weft trace takes IPv6 addresses, and says what it can not do with others', { skip }, async () => {
  const { one, two } = network;
  const run = (...words: string[]) =>
    one.host.run([WEFT, 'trace', ...words, ...one.flags, '--responder-port=0']);
  const traced = await run(one.address6, two.address6);
  assert.match(traced.stdout, /flannel-v6\.1/, traced.stderr);
  const mixed = await run(one.address6, two.container.address);
  assert.equal(mixed.code, 2);
  assert.match(mixed.stderr, /they are of two families; write both addresses in IPv4, or both in IPv6/);
  const outside = await run('2001:db8::1', two.address6);
  assert.match(outside.stderr, /2001:db8::1 is not in the network 10\.0\.0\.0\/16 and fd00:10::\/48/);
});

const peerOf = async (from: DualNode, to: DualNode) => {
  const { peers } = await askApi(apiSocketOf(from), '/v1/peers');
  return peers.find(({ lease }) => lease.startsWith(`${to.subnet}.`));
};

const isUp = (probe: FamilyProbe | undefined): boolean =>
  probe?.state === 'up' && probe.tcp === 'answered' && probe.tunnel.fullSize === 'passes' && probe.responder;

test('peers are measured in both families', { skip }, async () => {
  const { one, two } = network;
  const probe = await until(
    async () => {
      const measured = (await peerOf(one, two))?.probe;
      return isUp(measured?.ipv4) && isUp(measured?.ipv6) && measured;
    },
    { what: 'peer that is up in both families', timeoutMs: PATIENCE_MS },
  );
  assert.deepEqual(
    [probe.state, probe.findings, probe.ipv4?.workingMtu, probe.ipv6?.workingMtu],
    ['up', [], 1450, 1430],
  );
});

test('where the underlay drops the tunnel of IPv6 alone, the peer is down in IPv6', { skip }, async () => {
  const { one, two } = network;
  const { host } = two;
  const chain = 'add chain ip6 fault in { type filter hook prerouting priority -300; }';
  const rule = 'add rule ip6 fault in udp dport 8472 drop';
  await host.must(['nft', `add table ip6 fault; ${chain}; ${rule}`]);
  try {
    const isDown = isDownBy(
      /^IPv6: nothing passes inside .* UDP port 8472 over IPv6 is dropped between this host and fd77::2/,
    );
    const probe = await until(
      async () => {
        const measured = (await peerOf(one, two))?.probe;
        return measured !== undefined && isDown(measured) && measured;
      },
      { what: 'peer that is down', timeoutMs: PATIENCE_MS },
    );
    assert.equal(probe.ipv4?.state, 'up');
    await until(
      async () => {
        const { ready, troubles } = await askApi(apiSocketOf(one), '/v1/status');
        return !ready && /^IPv6: the only peer does not answer inside the tunnel/.test(troubles.join());
      },
      { what: 'host that is not ready', timeoutMs: PATIENCE_MS },
    );
    const { findings } = await doctor(one);
    assert.match(
      findings.find(({ id }) => id === 'tunnel-silent')?.what ?? '',
      /172\.16\.70\.192 \(.*\) in IPv6/,
      JSON.stringify(findings),
    );
    const { stdout } = await one.host.run([
      WEFT,
      'trace',
      '--live',
      one.address6,
      two.address6,
      ...one.flags,
    ]);
    assert.match(stdout, /lost/i);
  } finally {
    await host.must(['nft', 'delete table ip6 fault']);
  }
  await untilAllUp(one, { peers: 1 });
});

test('a marked packet goes from container to container in IPv6, and its answer comes back', {
  skip,
}, async () => {
  const { one, two } = network;
  const run = async (...flags: string[]) => {
    const { stdout, stderr, code } = await one.host.run([
      ...[WEFT, 'trace', '--live', '--json', one.address6, two.address6, ...one.flags, ...flags],
    ]);
    assert.equal(code, 0, stderr + stdout);
    return (JSON.parse(stdout) as FullTrace).live ?? assert.fail('no live trace');
  };
  const { lost, sights } = await run();
  assert.equal(lost, undefined);
  assert.ok(sights.length > 8 && sights.every(({ seen }) => seen), JSON.stringify(sights));
  assert.ok(sights.some(({ device, wrapped }) => device === 'eth0' && wrapped));
  assert.ok(sights.some(({ device }) => device === 'flannel-v6.1'));
});

test('weft routes explains the way to an address of a peer in IPv6', { skip }, async () => {
  const { one, two } = network;
  const { stdout, stderr, code } = await one.host.run([WEFT, 'routes', two.address6, ...one.flags]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, new RegExp(`${two.subnet6.replaceAll('/', '\\/')}, the subnet of the peer`));
  assert.match(stdout, /flannel-v6\.1/);
});

/** Faults of IPv6 alone on the first host, and how they are taken away. */
interface Fault {
  readonly called: string;
  readonly make: (one: DualNode, two: DualNode) => string;
  readonly mend: (one: DualNode, two: DualNode) => string;
  readonly check: string;
  readonly stop: string;
}

const FAULTS: readonly Fault[] = [
  {
    called: 'forwarding is off',
    make: () => 'sysctl -qw net.ipv6.conf.all.forwarding=0',
    mend: () => 'sysctl -qw net.ipv6.conf.all.forwarding=1',
    check: 'ipv6-forward-off',
    stop: 'there h1 forwarding',
  },
  {
    called: 'ip6tables drops what is forwarded',
    make: () => 'ip6tables -I FORWARD -j DROP',
    mend: () => 'ip6tables -D FORWARD -j DROP',
    check: 'iptables-drops',
    stop: 'there h1 forward-filter',
  },
  {
    called: 'ip6tables drops the tunnel',
    make: () => 'ip6tables -I OUTPUT -p udp --dport 8472 -j DROP',
    mend: () => 'ip6tables -D OUTPUT -p udp --dport 8472 -j DROP',
    check: 'tunnel-blocked-out',
    stop: 'there h1 output-filter',
  },
  {
    called: 'the route to the peer is gone',
    make: (_, { subnet6 }) => `ip -6 route del ${subnet6}`,
    mend: (_, { subnet6 }) =>
      `ip -6 route add ${subnet6} via ${subnet6.split('/')[0]} dev flannel-v6.1 onlink`,
    check: 'route-missing',
    stop: 'there h1 route',
  },
  {
    called: 'the address of the tunnel is gone',
    make: ({ subnet6 }) => `ip -6 addr del ${subnet6.split('/')[0]}/128 dev flannel-v6.1`,
    mend: ({ subnet6 }) => `ip -6 addr add ${subnet6.split('/')[0]}/128 dev flannel-v6.1 nodad`,
    check: 'vtep-address',
    stop: 'arrives',
  },
];

test('faults of IPv6 alone are named by doctor and by trace', { skip }, async (t) => {
  const { one, two } = network;
  for (const { host } of [one, two]) await (await host.daemon('flanneld'))?.stop();
  // A busy machine's etcd may take longer to answer than doctor waits.
  const ids = async () => (await doctor(one)).findings.map(({ id }) => id).join();
  await until(async () => (await ids()) === 'daemon-not-running', {
    what: 'host without a fault but its flanneld',
    timeoutMs: 20_000,
    signal: t.signal,
  });
  for (const { called, make, mend, check, stop } of FAULTS) {
    await t.test(called, async () => {
      await one.host.must(make(one, two).split(' '));
      try {
        const { findings } = await doctor(one);
        assert.ok(
          findings.some((finding) => finding.id === check),
          JSON.stringify(findings),
        );
        const traced = await trace(one, two);
        assert.equal(stopOf(traced), stop, explain(traced));
      } finally {
        await one.host.must(mend(one, two).split(' '));
      }
    });
  }
});

/*
 * A network of IPv6 alone, on hosts of its own:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 */
test('IPv6 alone is measured, and traced live, also where an anycast address hides the overlay’s', {
  skip,
}, async (t) => {
  const config =
    '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';
  const { one, two } = await dualNetwork(t, { config });
  const probe = async () => {
    const { peers } = await askApi(apiSocketOf(one), '/v1/peers');
    return peers[0]?.probe;
  };
  await until(async () => isUp(await probe()), { what: 'peer that is up', timeoutMs: PATIENCE_MS });
  const { host, subnet6 } = two;
  const first = subnet6.split('/')[0] ?? '';
  await host.must(['ip', 'link', 'del', 'flannel-v6.1']);
  // The bridge's anycast address is there before the device's own is again.
  const own = async () => host.must(['ip', '-6', 'route', 'get', first]);
  await until(async () => (await own()).startsWith('anycast'), { what: 'anycast address' });
  const before = Date.now();
  const after = await until(
    async () => {
      const last = await probe();
      const isFresh = last !== undefined && Date.parse(last.at) > before + 2_000;
      return isFresh && last.state === 'up' && last;
    },
    { what: 'peer that is up again', timeoutMs: PATIENCE_MS },
  );
  assert.deepEqual([after.findings, after.ipv4, after.ipv6], [[], undefined, undefined]);
  const { stdout, stderr, code } = await one.host.run([
    ...[WEFT, 'trace', '--live', '--json', one.address6, two.address6, ...one.flags],
  ]);
  assert.equal(code, 0, stdout + stderr);
});
