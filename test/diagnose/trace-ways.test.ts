import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullTrace } from '#src/diagnose/trace/run-trace.ts';
import type { Host } from '#src/lab/host.ts';
import { FLANNELD, WEFT } from '../support/flanneld.ts';
import { type Network, pairOf, testNetwork } from '../support/network.ts';
import { untilAllUp } from '../support/probes.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 * The command itself, on a host of each network; there is one for each backend:
 *
 *     h1 flanneld ── docker0 ── c        weft trace C1 C2 [--live]
 *     h2 flanneld ── docker0 ── c        its responder is asked
 *
 * No program of a host can look into the lab's plain namespaces: what is in the containers is unknown.
 */
/** A command that waits longer is ended, with exit code 124: nothing that it waits for takes a quarter of that. */
const LONGEST_MS = 30_000;
const skip = cannotRun('ping', 'nft');

interface Ran {
  readonly code: number;
  readonly trace: FullTrace;
}

async function trace(host: Host, words: readonly string[]): Promise<Ran> {
  const { code, stdout, stderr } = await host.run(
    [...[WEFT, 'trace', '--json', '--etcd-prefix=/flannel-vxlan/network', ...words]],
    { timeoutMs: LONGEST_MS },
  );
  assert.notEqual(stdout, '', stderr);
  return { code, trace: JSON.parse(stdout) as FullTrace };
}

const BACKENDS = [
  ['vxlan', '{"Type":"vxlan"}', true],
  ['vxlan with DirectRouting', '{"Type":"vxlan","DirectRouting":true}', false],
  ['host-gw', '{"Type":"host-gw"}', false],
] as const;

const DROP = (hook: string, match: string): string[] => [
  'nft',
  `table inet x { chain c { type filter hook ${hook} priority 0; ${match} drop; }; }`,
];
const UNDROP = ['nft', 'delete', 'table', 'inet', 'x'];

const networks = new Map<string, Network>();

const networkOf = (name: string): Network => networks.get(name) ?? assert.fail(name);

// At once: most of the time of a start is waited for.
wholeFile(skip, async (owner) => {
  const start = async ([name, backend]: (typeof BACKENDS)[number]): Promise<void> => {
    const config = `{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":${backend}}`;
    const programs = [FLANNELD, FLANNELD];
    const network = await testNetwork(owner, { api: 3, store: 'embedded', programs, config });
    for (const node of network.nodes) await untilAllUp(node, { peers: 1 });
    networks.set(name, network);
  };
  await Promise.all(BACKENDS.map(start));
});

for (const [name, , isTunnel] of BACKENDS) {
  test(`${name}: both hosts are seen from one, and a drop on the other is named`, { skip }, async () => {
    const [one, two] = pairOf(networkOf(name));
    const words = [one.container.address, two.container.address];
    const healthy = await trace(one.host, words);
    const ids = healthy.trace.hops.map(({ way, host, id }) => `${way} ${host} ${id}`);
    assert.equal(healthy.code, 0, JSON.stringify(healthy.trace, undefined, 1));
    assert.equal(ids.includes('there h1 fdb'), isTunnel);
    assert.ok(
      ids.includes('there h2 arrival-filter') && ids.includes('back h1 arrival-filter'),
      ids.join(', '),
    );
    const unsure = healthy.trace.hops.filter(({ ok }) => ok !== true).map(({ id }) => id);
    assert.deepEqual([...new Set(unsure)].sort(), [
      'arrival-bridge',
      'arrival-container',
      'bridge',
      'container',
    ]);

    await two.host.must(DROP('forward', `ip daddr ${two.container.address}`));
    const stopped = await trace(one.host, ['--live', ...words]);
    const last = stopped.trace.hops.at(-1);
    assert.equal(stopped.code, 1);
    assert.deepEqual([last?.way, last?.host, last?.id], ['there', 'h2', 'arrival-filter']);
    const { way, host, hop } = stopped.trace.live?.lost ?? {};
    assert.deepEqual([way, host, hop], ['there', 'h2', 'arrival-filter']);
    await two.host.must(UNDROP);
  });
}

test('a peer that lets nothing in is waited for once, and nothing stays open', { skip }, async () => {
  const [one, two] = pairOf(networkOf('vxlan'));
  await two.host.must(DROP('input', 'udp dport 8472'));
  try {
    // Once the probes know of it, a trace goes on behind the wire with --all only.
    const silent = await trace(one.host, ['--all', one.container.address, two.container.address]);
    assert.match(
      silent.trace.hops.find(({ id, host }) => id === 'arrival-device' && host !== 'h1')?.found[0] ?? '',
      /: nothing in 3 s$/,
    );
  } finally {
    await two.host.must(UNDROP);
  }
  await untilAllUp(one, { peers: 1 });
});

test('nor after weft doctor, with a registry that lets nothing in', { skip }, async () => {
  const { etcd, nodes } = networkOf('vxlan');
  const [store] = etcd.members;
  assert.ok(store);
  await store.host.must(DROP('input', 'tcp dport 2379'));
  const argv = [WEFT, 'doctor', '--json', '--etcd-prefix=/flannel-vxlan/network'];
  argv.push(`--etcd-endpoints=${store.endpoint}`);
  const { code, stdout } = await (nodes[0] ?? assert.fail()).host.run(argv, { timeoutMs: LONGEST_MS });
  assert.equal(code, 1, stdout);
  await store.host.must(UNDROP);
});

test('a peer whose daemon is down, an address of no lease, and one outside of the network', {
  skip,
}, async () => {
  const [one, two] = pairOf(networkOf('vxlan'));
  const [a, b] = [one.container.address, two.container.address];
  await (await two.host.daemon('flanneld'))?.stop();
  const blind = await trace(one.host, [a, b]);
  assert.equal(blind.code, 0);
  assert.equal(blind.trace.outcome, 'unknown');
  assert.match(
    blind.trace.hops.find(({ id, ok }) => id === 'arrival-device' && ok === 'unknown')?.found[0] ?? '',
    /^it can't be asked: no answer of weft from 10\.0\.\d+\.0:8474: /,
  );

  const nobody = await trace(one.host, [a, '10.0.255.2']);
  assert.equal(nobody.code, 1);
  assert.match(
    nobody.trace.hops.at(-1)?.found[0] ?? '',
    /^no host of the network has a lease for 10\.0\.255\.2$/,
  );

  const run = async (words: readonly string[]) => {
    const { code, stderr } = await one.host.run([
      WEFT,
      'trace',
      '--etcd-prefix=/flannel-vxlan/network',
      ...words,
    ]);
    return [code, stderr.trim()] as const;
  };
  assert.deepEqual(await run([a, '192.0.2.1']), [
    2,
    'weft trace: 192.0.2.1 is not in the network 10.0.0.0/16: its packets do not take the overlay; "ip route get 192.0.2.1" shows the way that they take',
  ]);
  const [code, text] = await run(['nobody', b]);
  assert.equal(code, 2);
  assert.match(text, /there is no Docker here that could say where the container nobody is/);
});

for (const [name, , isTunnel] of BACKENDS) {
  test(`${name}: of a peer that can’t be asked the answer comes as this host would send`, {
    skip,
  }, async () => {
    const [one, two] = pairOf(networkOf(name));
    await (await two.host.daemon('flanneld'))?.stop();
    const { code, trace: blind } = await trace(one.host, [one.container.address, two.container.address]);
    assert.deepEqual([code, blind.outcome], [0, 'unknown'], JSON.stringify(blind, undefined, 1));
    const back = blind.hops.filter(({ way, host }) => way === 'back' && host === 'h1');
    assert.equal(
      back.some(({ id }) => id === 'arrival-device'),
      isTunnel,
    );
    const filter = back.find(({ id }) => id === 'arrival-filter')?.found[0] ?? '';
    assert.match(filter, isTunnel ? /flannel\.1 > docker0/ : /eth0 > docker0/);
  });
}
