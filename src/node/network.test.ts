import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { messageOf } from '#src/lib/errors.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { Network } from '#src/node/network.ts';
import { artefactsOf, type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { MemoryHost, peerName, peerValue, testOptions } from '../../test/support/node-host.ts';

/* One host in memory, networks on it, and a registry in memory for each. Time is real. */

const ID: NetworkId = { prefix: '/n' };
const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const configOf = (backend: string, network = '10.5.0.0/16'): string =>
  `{"Network":"${network}","Backend":{"Type":"vxlan",${backend}}}`;

function hostFor(t: TestContext) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  return new MemoryHost({ clock: systemClock, signal: stop.signal });
}

interface Run {
  readonly network: Network;
  /** Stops it; resolves with what it rejected with when every part has ended. */
  end(): Promise<unknown>;
  readonly ended: Promise<unknown>;
}

function run(t: TestContext, host: MemoryHost, id = ID, set: Partial<FlanneldOptions> = {}): Run {
  const stop = new AbortController();
  const network = new Network(host.parts, { id, options: testOptions(set), onReady: () => {} });
  const ended = network.run(stop.signal).catch((error: unknown) => error);
  t.after(async () => {
    stop.abort();
    await ended;
  });
  return {
    network,
    ended,
    async end() {
      stop.abort();
      return ended;
    },
  };
}

const isReady = ({ network }: Run): Promise<true | undefined> =>
  until(() => network.troubles.length === 0 || undefined, {
    what: 'network that is ready',
    timeoutMs: 20_000,
  }).catch((error) => {
    throw new Error(`${messageOf(error)}: ${network.troubles.join('; ')}`);
  }) as Promise<true | undefined>;

const troubleOf = ({ network }: Run, pattern: RegExp): Promise<string> =>
  until(() => network.troubles.find((trouble) => pattern.test(trouble)), {
    what: `trouble ${pattern}`,
    timeoutMs: 20_000,
  });

const linksOf = (host: MemoryHost): string[] =>
  host.kernel.text.filter((text) => text.startsWith('link flannel'));
const fileOf = (host: MemoryHost, id = ID): string | undefined =>
  host.files.texts.get(artefactsOf(id, testOptions()).subnetFile);

/** A host whose network ran before, with three peers. */
async function hostWithPast(t: TestContext): Promise<MemoryHost> {
  const host = hostFor(t);
  const registry = host.registry(ID.prefix, systemClock);
  registry.writeConfig(CONFIG);
  const stop = new AbortController();
  for (const n of [2, 3, 4]) await registry.create(peerName(n), peerValue(n), undefined, stop.signal);
  const first = run(t, host);
  await isReady(first);
  await first.end();
  return host;
}

test('a start takes a lease, and makes device, peers and subnet.env', async (t) => {
  const host = await hostWithPast(t);
  assert.equal(linksOf(host).length, 1);
  assert.equal(host.kernel.text.filter((text) => / via 10\.5\.\d\.0 dev flannel\.1/.test(text)).length, 3);
  assert.match(
    fileOf(host) ?? '',
    /^FLANNEL_NETWORK=10\.5\.0\.0\/16\nFLANNEL_SUBNET=10\.5\..*\nFLANNEL_MTU=1450\n/,
  );
});

test('a start does not wait for what it does not need: drops, the config, and the memory come after it', async (t) => {
  const host = hostFor(t);
  const registry = host.registry(ID.prefix, systemClock);
  registry.writeConfig(CONFIG);
  const done: string[] = [];
  const note = (what: string): void => void (done.includes(what) || done.push(what));
  const network = new Network(
    {
      ...host.parts,
      watchDrops: () => ({ troubles: [], poke: () => {}, start: () => note('drops') }),
    },
    { id: ID, options: testOptions(), onReady: () => note('ready') },
  );
  const [write, follow] = [host.files.write.bind(host.files), registry.watchConfig.bind(registry)];
  host.files.writeAtomically = (path, text) => {
    if (path === artefactsOf(ID, testOptions()).stateFile) note('memory');
    return write(path, text);
  };
  registry.watchConfig = (signal) => {
    note('config');
    return follow(signal);
  };
  const stop = new AbortController();
  const ended = network.run(stop.signal).catch(() => {});
  await until(() => done.length === 4 || undefined, { what: 'all four' });
  stop.abort();
  await ended;
  assert.equal(done[0], 'ready');
});

test('after its end nothing of a network changes the kernel, and all it made stays', async (t) => {
  const host = await hostWithPast(t);
  const [text, done] = [host.kernel.text, host.kernel.history.length];
  const [route] = host.kernel.text.filter((line) => line.startsWith('route 10.5.2.0'));
  assert.ok(route);
  host.reconciler.check();
  await host.reconciler.settled();
  assert.equal(host.kernel.history.length, done);
  assert.deepEqual(host.kernel.text, text);
  assert.deepEqual([...host.reconciler.view()], []);
});

test('a start without the registry forwards with what it remembers, and goes on with the registry', async (t) => {
  const host = await hostWithPast(t);
  const before = host.kernel.text;
  host.answers = false;
  const again = run(t, host);
  await isReady(again);
  assert.equal(again.network.status().peers.accepted, 3);
  host.answer();
  await until(() => again.network.status().registry.state === 'connected' || undefined, { what: 'registry' });
  await isReady(again);
  assert.deepEqual(host.kernel.text, before);
});

test('a start from memory that fails leaves nothing alive beside its successor', async (t) => {
  const host = await hostWithPast(t);
  host.answers = false;
  let fails = 1;
  host.firewalls.fail = () => (fails-- > 0 ? new Error('xtables is locked') : undefined);
  const again = run(t, host);
  await until(() => fails <= 0 || undefined, { what: 'failure of the rules' });
  host.answer();
  await isReady(again);
  const owners = new Set(Array.from(host.reconciler.view(), ({ owner }) => owner));
  assert.deepEqual(
    [...owners].filter((owner) => owner !== undefined),
    [ID.prefix],
  );
  const made = host.kernel.history.filter((command) => command.startsWith('ip link add flannel'));
  assert.equal(made.length, 1, 'the device of the first run is still the same');
});

test('a VNI that changed while the registry was away is that of the device and of the lease', async (t) => {
  const host = await hostWithPast(t);
  host.answers = false;
  const again = run(t, host);
  await isReady(again);
  const registry = host.registry(ID.prefix, systemClock);
  registry.writeConfig(configOf('"VNI":7'));
  host.answer();
  const names = () => linksOf(host).map((text) => text.split(' ')[1]);
  await until(() => names().join() === 'flannel.7' || undefined, { what: 'flannel.7, and it alone' });
  await isReady(again);
  assert.deepEqual(names(), ['flannel.7']);
  const { records } = await registry.list(new AbortController().signal);
  const own = records.find(({ value }) => value.includes('node-1'));
  assert.match(own?.value ?? '', /"VNI":7/);
});

test('an emptied store loses no remembered peer at a start', async (t) => {
  const host = await hostWithPast(t);
  const registry = host.registry(ID.prefix, systemClock);
  const { signal } = new AbortController();
  for (const record of (await registry.list(signal)).records) await registry.remove(record, signal);
  const again = run(t, host);
  await isReady(again);
  assert.equal(again.network.status().peers.accepted, 3);
});

test('peers that left while the network was down go at its start', async (t) => {
  const host = await hostWithPast(t);
  const registry = host.registry(ID.prefix, systemClock);
  const { signal } = new AbortController();
  const gone = await registry.read(peerName(3), signal);
  assert.ok(gone);
  await registry.remove(gone, signal);
  const again = run(t, host);
  await isReady(again);
  assert.equal(again.network.status().peers.accepted, 2);
  assert.ok(!host.kernel.text.some((text) => text.includes('10.5.3.0/24')));
});

test('what of the config can change in place does: MTU, DirectRouting, nftables', async (t) => {
  const host = await hostWithPast(t);
  const again = run(t, host);
  await isReady(again);
  const registry = host.registry(ID.prefix, systemClock);
  registry.writeConfig(
    '{"Network":"10.5.0.0/16","EnableNFTables":true,"Backend":{"Type":"vxlan","MTU":1400}}',
  );
  await until(() => /FLANNEL_MTU=1350/.test(fileOf(host) ?? '') || undefined, { what: 'MTU in subnet.env' });
  await until(() => host.firewalls.applied.at(-1) === 'nftables ""' || undefined, { what: 'nftables' });
  assert.match(linksOf(host)[0] ?? '', /mtu 1350/);
  await isReady(again);
});

test('what of the config can not change in place is refused, by field, until it is taken back', async (t) => {
  const host = await hostWithPast(t);
  const again = run(t, host);
  await isReady(again);
  const before = host.kernel.text;
  const registry = host.registry(ID.prefix, systemClock);
  for (const [config, pattern] of [
    [
      configOf('"VNI":9'),
      /Backend\.VNI is now 9 instead of 1; write the old value again and use "weft network change"/,
    ],
    [configOf('"Port":4789'), /Backend\.Port is now 4789 instead of 8472/],
    [configOf('"VNI":1', '10.6.0.0/16'), /Network is now 10\.6\.0\.0\/16 instead of 10\.5\.0\.0\/16/],
    [
      '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}',
      /Backend\.Type is now host-gw instead of vxlan/,
    ],
    ['not JSON', /can't be used: the network config is not JSON/],
    [undefined, /config \/n\/config is gone from the registry/],
  ] as const) {
    registry.writeConfig(config);
    await troubleOf(again, pattern);
    assert.deepEqual(host.kernel.text, before);
  }
  registry.writeConfig(CONFIG);
  await isReady(again);
});

test('a change that the packet filter refuses is a trouble until it is in force', async (t) => {
  const host = await hostWithPast(t);
  const again = run(t, host);
  await isReady(again);
  host.firewalls.fail = () => new Error('xtables is locked');
  host
    .registry(ID.prefix, systemClock)
    .writeConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","MTU":1400}}');
  await troubleOf(again, /xtables is locked/);
  assert.doesNotMatch(fileOf(host) ?? '', /FLANNEL_MTU=1350/);
  host.firewalls.fail = undefined;
  await until(() => /FLANNEL_MTU=1350/.test(fileOf(host) ?? '') || undefined, { what: 'MTU in subnet.env' });
  await isReady(again);
});

test('a moved underlay is in the device and the lease; a peer that changed meanwhile is right', async (t) => {
  const host = await hostWithPast(t);
  const again = run(t, host);
  await isReady(again);
  const registry = host.registry(ID.prefix, systemClock);
  const { signal } = new AbortController();
  const [before, after] = [1, 9].map((n) => prefix4(ipv4(0xac100000 + n), 24));
  assert.ok(before && after);
  host.kernel.interfere({ verb: 'remove', object: { kind: 'address', prefix: before, device: 'eth0' } });
  host.kernel.interfere({ verb: 'add', object: { kind: 'address', prefix: after, device: 'eth0' } });
  const peer = await registry.read(peerName(2), signal);
  assert.ok(peer);
  await registry.replace(peer, peerValue(2, '172.18.0.2'), undefined, signal);
  await until(() => linksOf(host)[0]?.includes('local 172.16.0.9') || undefined, { what: 'new address' });
  await until(() => host.kernel.text.some((text) => /^fdb .*dst 172\.18\.0\.2/.test(text)) || undefined, {
    what: "peer's new address",
  });
  await until(
    async () => {
      const { records } = await registry.list(signal);
      return records.some(({ value }) => value.includes('"PublicIP":"172.16.0.9"')) || undefined;
    },
    { what: 'new address in the lease' },
  );
  await until(() => host.announced.join() === '172.16.0.9' || undefined, {
    what: 'announcement on the link',
  });
});

test('two networks on one host share no name, and the end of one is not the other’s', async (t) => {
  const host = hostFor(t);
  const [blue, red] = [namedNetwork('/n', 'blue'), namedNetwork('/n', 'red')];
  host.registry(blue.prefix, systemClock).writeConfig(configOf('"VNI":1'));
  host.registry(red.prefix, systemClock).writeConfig(configOf('"VNI":2', '10.6.0.0/16'));
  const [one, two] = [run(t, host, blue), run(t, host, red)];
  await isReady(one);
  await isReady(two);
  assert.deepEqual(
    linksOf(host).map((text) => text.split(' ')[1]),
    ['flannel.1', 'flannel.2'],
  );
  assert.deepEqual(new Set(host.firewalls.applied), new Set(['auto "1"', 'auto "2"']));
  assert.notEqual(fileOf(host, blue), fileOf(host, red));
  await one.end();
  const fdb = host.kernel.text.length;
  host.kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'flannel.2' } });
  await until(() => host.kernel.text.length === fdb || undefined, { what: 'flannel.2 again' });
  assert.deepEqual(two.network.troubles, []);
});

test('a second network with the device of the first is refused, with both names', async (t) => {
  const host = hostFor(t);
  const [blue, red] = [namedNetwork('/n', 'blue'), namedNetwork('/n', 'red')];
  host.registry(blue.prefix, systemClock).writeConfig(configOf('"VNI":1'));
  host.registry(red.prefix, systemClock).writeConfig(configOf('"VNI":1', '10.6.0.0/16'));
  await isReady(run(t, host, blue));
  const error = await run(t, host, red).ended;
  assert.match(
    messageOf(error),
    /network red can not start: its device would be flannel\.1, .* network blue/,
  );
});

test('one network is served once on a host', async (t) => {
  const host = await hostWithPast(t);
  await isReady(run(t, host));
  assert.match(
    messageOf(await run(t, host).ended),
    /another flanneld serves the network \/n on this host already/,
  );
});

test('a second daemon has names of its own in the packet filter, and keeps them when the first is gone', async (t) => {
  const host = hostFor(t);
  const [one, two] = [{ prefix: '/a' }, { prefix: '/b' }];
  host.registry('/a', systemClock).writeConfig(configOf('"VNI":1'));
  host.registry('/b', systemClock).writeConfig(configOf('"VNI":2', '10.6.0.0/16'));
  const first = run(t, host, one, { subnetFile: '/run/a.env' });
  await isReady(first);
  const second = run(t, host, two, { subnetFile: '/run/b.env' });
  await isReady(second);
  assert.deepEqual(new Set(host.firewalls.applied), new Set(['auto ""', 'auto "2"']));
  await first.end();
  await second.end();
  host.firewalls.applied.length = 0;
  await isReady(run(t, host, two, { subnetFile: '/run/b.env' }));
  assert.deepEqual(new Set(host.firewalls.applied), new Set(['auto "2"']));
});

test('a network goes on where what measures its peers can’t be loaded', async (t) => {
  const host = hostFor(t);
  host.registry(ID.prefix, systemClock).writeConfig(CONFIG);
  const asked = Promise.withResolvers<void>();
  const measuring = (): Promise<never> => {
    asked.resolve();
    return Promise.reject(new Error('the program was replaced'));
  };
  const stop = new AbortController();
  const said: string[] = [];
  const log = { ...silentLogger, error: (text: string) => void said.push(text) };
  const parts = { ...host.parts, measuring, createLogger: () => log };
  const network = new Network(parts, { id: ID, options: testOptions(), onReady: () => {} });
  const ended = network.run(stop.signal).catch((error: unknown) => error);
  await asked.promise;
  const stays = { network, ended, end: async () => ended };
  await isReady(stays);
  await until(() => said.length > 0 || undefined, { what: 'a line in the log' });
  assert.deepEqual(said, ['Peers are not measured any more: the program was replaced; restart flanneld']);
  await isReady(stays);
  stop.abort(new Error('end of test'));
  assert.equal(messageOf(await ended), 'end of test');
});
