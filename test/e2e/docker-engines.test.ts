import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callerSeenBy, type TrafficReport, untilListening } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines, type Engine } from '../support/docker-engines.ts';
import {
  assertReach,
  type DockerNetwork,
  type DockerNode,
  dockerNetwork,
  runWeb,
} from '../support/docker-network.ts';
import { CONFIG } from '../support/flanneld.ts';
import { create, forEach, start } from '../support/many-containers.ts';
import { tryStranger } from '../support/stranger.ts';
import { cannotRun } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * Containers on two hosts reach each other whatever Docker and the host's administrator do meanwhile, with Debian's Docker
 * and with Docker 29, which drops what reaches a container by another device than its bridge:
 *
 *     store .190     h1 .191 flanneld, dockerd ── docker0 10.0.A.1 ── web 10.0.A.2     h2 .192: the same with 10.0.B
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox', 'ping', 'nft', 'iptables');
const { debian, iptables, nftables } = dockerEngines();
const OURS_IN_NFTABLES = CONFIG.replace('{', '{"EnableNFTables":true,');

interface Setting {
  readonly called: string;
  readonly engine: Engine;
  readonly config?: string;
  readonly dockerOptions?: readonly string[];
  readonly dockerFirst?: boolean;
  /** See `tryStranger`. Absent for Docker before 28, which stops no host that has a route. */
  readonly opened?: boolean;
  /** Whether 50 containers come and go. */
  readonly hasChurn?: true;
  /** Undoes a part of our rules, as a shell does it on the host. */
  readonly drifts: Readonly<Record<string, string>>;
}

/** As an administrator reloads a saved firewall that never had our rules. */
const RELOAD = 'iptables-save | grep -v -e FLANNEL -e flannel -e 10.0.0.0/16 | iptables-restore';

const SETTINGS: readonly Setting[] = [
  { called: debian.called, engine: debian, hasChurn: true, drifts: { 'firewall reload': RELOAD } },
  {
    called: `${iptables.called}, started before flanneld and without options for it`,
    engine: iptables,
    dockerOptions: ['--docker-version=20.10'],
    dockerFirst: true,
    opened: false,
    hasChurn: true,
    drifts: {
      'firewall reload': RELOAD,
      'raw table flushed, Docker’s drops put back': `
        drops=$(iptables -t raw -S PREROUTING | grep DROP)
        iptables -t raw -F PREROUTING
        echo "$drops" | while read -r rule; do iptables -t raw $rule; done`,
      'another drop put first': 'iptables -t raw -I PREROUTING ! -i docker0 -d "$1" -j DROP',
    },
  },
  {
    called: `${iptables.called} without options for it, our rules in nftables`,
    engine: iptables,
    dockerOptions: ['--docker-version=20.10'],
    config: OURS_IN_NFTABLES,
    opened: false,
    drifts: { 'firewall reload': `${RELOAD}; nft delete table ip flannel-ipv4` },
  },
  {
    called: nftables.called,
    engine: nftables,
    opened: true,
    hasChurn: true,
    drifts: {
      'firewall reload': RELOAD,
      'mangle table flushed': 'iptables -t mangle -F',
    },
  },
  {
    called: `${nftables.called}, our rules in nftables`,
    engine: nftables,
    opened: true,
    config: OURS_IN_NFTABLES,
    drifts: {
      'our tables flushed': 'nft flush table ip flannel-ipv4',
      'our tables deleted': 'nft delete table ip flannel-ipv4',
    },
  },
];

for (const { called, engine, drifts, opened, hasChurn = false, ...setting } of SETTINGS) {
  test(called, { skip: cannot || engine.skip, timeout: 240_000 }, async (t) => {
    const network = await dockerNetwork(t, { engine, ...setting });
    const [one, two] = network.nodes;

    await t.test('containers reach each other by ICMP and TCP, with their own addresses', () =>
      assertReach(network),
    );
    await t.test(
      'a published port answers on the host’s address, and on the container’s over the overlay',
      () => publishPorts(network),
    );
    await t.test(
      'a container of a user-defined network reaches the overlay, and is reached once it is on docker0 too',
      () => useOwnNetwork(network),
    );
    for (const [name, script] of Object.entries(drifts)) {
      await t.test(`repaired: ${name}`, async () => {
        const before = await ourRules(two);
        assert.match(before, /10\.0\.0\.0\/16/);
        await two.host.must(['sh', '-ec', script, 'sh', two.web.address]);
        await until(async () => (await ourRules(two)) === before, {
          what: `rules as before: ${before}`,
          signal: two.host.signal,
        });
        await assertReach(network);
      });
    }
    if (opened !== undefined) await tryStranger(t, network, { opened });
    // With our rules in nftables it would be the same Docker once more.
    if (hasChurn) {
      await t.test('50 containers started and removed lose no packet between two others', async () => {
        const report = await underTraffic(network, () => churn(two));
        assert.ok(report.sent > 200, JSON.stringify(report));
        assert.equal(report.lost, 0, JSON.stringify(report));
      });
    }
    await t.test('a restart of Docker with live-restore loses no packet', async () => {
      const report = await underTraffic(network, () => two.docker.restart());
      assert.equal(report.lost, 0, JSON.stringify(report));
    });
    await t.test('docker0 absent, a network of one’s own on the overlay’s subnet', async () => {
      const nodes = await Promise.all([useOwnBridge(one, engine), useOwnBridge(two, engine)]);
      await assertReach({ ...network, nodes });
    });
    await t.test('a restart of Docker that ends its containers', async () => {
      await one.docker.restart();
      await one.docker.must(['start', 'web']);
      await assertReach({ ...network, nodes: [await webAgain(one), await webAgain(two)] });
    });
  });
}

/** In docker0's place a bridge of another name, as `docker network create` makes it: the containers end, and start there. */
async function useOwnBridge(node: DockerNode, { config }: Engine): Promise<DockerNode> {
  const { docker, host, subnet } = node;
  await docker.remove('web');
  const options = docker.options.filter((option) => !/^--(bip|ip-masq|mtu)=/.test(option));
  await docker.restart({ options: [...options, '--bridge=none'], config });
  assert.deepEqual(
    (await host.ip(['link', 'show', 'type', 'bridge'])).map(({ ifname }) => ifname),
    [],
  );
  const addresses = [`--subnet=${subnet}.0/24`, `--gateway=${subnet}.1`];
  const bridge = [
    'com.docker.network.driver.mtu=1450',
    'com.docker.network.bridge.enable_ip_masquerade=false',
  ];
  await docker.must(['network', 'create', ...addresses, ...bridge.flatMap((it) => ['-o', it]), 'overlay']);
  const web = await runWeb(docker, 'web', ['--network', 'overlay']);
  return { ...node, web };
}

async function webAgain(node: DockerNode): Promise<DockerNode> {
  const web = await node.docker.container('web');
  assert.ok(web);
  await untilListening(web);
  return { ...node, web };
}

/** All rules that name us, without counters. */
async function ourRules({ host }: DockerNode): Promise<string> {
  const list = 'iptables-save | grep -e "^-A.*FLANNEL"; nft list table ip flannel-ipv4 2>/dev/null';
  const listed = (await host.must(['sh', '-c', `${list}; true`])).replaceAll(/ packets \d+ bytes \d+/g, '');
  return listed.split('\n').sort().join('\n').trim();
}

async function publishPorts({ lab, nodes: [one, two] }: DockerNetwork): Promise<void> {
  const shop = await runWeb(one.docker, 'shop', ['--publish', '8081:8080']);
  assert.equal(await callerSeenBy(lab.store, one.host.address, 8081), lab.store.address);
  // What leaves the overlay for a host's address is masqueraded, as ever.
  assert.equal(await callerSeenBy(two.web, one.host.address, 8081), two.host.address);
  assert.equal(await callerSeenBy(two.web, shop.address), two.web.address);
  // docker-proxy's own call.
  assert.equal(await callerSeenBy(one.host, '127.0.0.1', 8081), `${one.subnet}.1`);
  await one.docker.remove('shop');
}

/** As `docker compose` makes them: a bridge of its own, with addresses that are not the overlay's. */
async function useOwnNetwork({ nodes: [one, two] }: DockerNetwork): Promise<void> {
  await one.docker.must(['network', 'create', '--label', 'com.docker.compose.project=shop', 'shop_default']);
  const db = await runWeb(one.docker, 'db', ['--network', 'shop_default']);
  // Docker gives it the address of the device that leads to the overlay.
  assert.equal(await callerSeenBy(db, two.web.address), `${one.subnet}.0`);
  await one.docker.must(['network', 'connect', 'bridge', 'db']);
  const address = '{{.NetworkSettings.Networks.bridge.IPAddress}}';
  const onBridge = (await one.docker.must(['inspect', '--format', address, 'db'])).trim();
  assert.equal(await callerSeenBy(two.web, onBridge), two.web.address);
  await one.docker.remove('db');
  await one.docker.must(['network', 'rm', 'shop_default']);
}

/** Four at once. */
async function churn({ docker }: DockerNode): Promise<void> {
  const names = Array.from({ length: 50 }, (_, n) => `churn${n}`);
  await forEach(names, 4, async (name) => {
    await create(docker, name);
    await start(docker, name);
  });
  await forEach(names, 4, (name) => docker.remove(name));
}

const underTraffic = (
  { nodes: [one, two] }: DockerNetwork,
  act: () => Promise<unknown>,
): Promise<TrafficReport> => duringTraffic(one.web, two.web.address, act);
