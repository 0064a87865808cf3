import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { callerSeenBy } from '#src/lab/traffic.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines, type Engine } from '../support/docker-engines.ts';
import {
  assertReach,
  type DockerNetwork,
  type DockerNode,
  dockerNetwork,
  runWeb,
} from '../support/docker-network.ts';
import { assertWhole, callEcho, serveEcho, taken, takenByEcho } from '../support/echo-calls.ts';
import { statusesOf } from '../support/node-status.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * The fast path between containers of real Docker engines, whose rules stay in force:
 *
 *     store .190     h1 .191 flanneld, dockerd ── docker0 ── web, shop     h2 .192 flanneld, dockerd ── docker0 ── web
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox', 'ping', 'nft', 'iptables', 'tc');
const { debian, iptables, nftables } = dockerEngines();
/** What the guide promises. */
const FRESH_MS = 1_000;
const ROUNDS = 3;

interface Setting {
  readonly engine: Engine;
  /** A user's rule that drops all that is forwarded, and how it goes. */
  readonly drop: string;
  readonly undo: string;
}

/** Docker with nftables has no chain for its users: they have tables of their own. */
const TABLE = 'table inet user';
const SETTINGS: readonly Setting[] = [
  ...[debian, iptables].map((engine) => ({
    engine,
    drop: 'iptables -I DOCKER-USER -j DROP',
    undo: 'iptables -D DOCKER-USER -j DROP',
  })),
  {
    engine: nftables,
    drop: `nft 'add ${TABLE}; add chain inet user forward { type filter hook forward priority -10; }; add rule inet user forward drop'`,
    undo: `nft delete ${TABLE}`,
  },
];

for (const { engine, drop, undo } of SETTINGS) {
  test(engine.called, { skip: cannot || engine.skip, timeout: 240_000 }, async (t) => {
    const network = await dockerNetwork(t, { engine, flags: ['--fast-path=on'] });
    const [one, two] = network.nodes;
    await assertReach(network);
    await Promise.all(network.nodes.map(({ host }) => untilFast(host, 1)));
    await serve(t, two.web);

    await t.test('flows between containers go fast, and nothing is lost', async () => {
      const before = await fastPackets(network);
      await assertFlows(one, two);
      await until(async () => (await fastPackets(network)) > before + 5_000, { what: 'fast packets' });
    });

    await t.test('a published port works beside it, from outside and over the overlay', (t) =>
      publish(t, network),
    );

    await t.test(`a user’s drop holds within a second: ${drop.split(' -')[0]}`, async () => {
      const call = await callEcho(one.web, two.web.address, { ms: 600_000 });
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const before = { all: await taken(two.web), fast: await fastPackets(network) };
          const isFast = async (): Promise<boolean> =>
            (await taken(two.web)) > before.all + 100 && (await fastPackets(network)) > before.fast + 200;
          await until(isFast, { what: `a fast flow in round ${round}`, timeoutMs: 20_000 });
          await two.host.must(['sh', '-c', drop]);
          await systemClock.sleep(FRESH_MS);
          const at = await takenByEcho(two.web);
          await systemClock.sleep(FRESH_MS / 4);
          assert.equal(await takenByEcho(two.web), at, `round ${round}`);
          await two.host.must(['sh', '-c', undo]);
        }
      } finally {
        call.stop();
      }
    });

    await t.test('a restart of Docker with live-restore loses nothing of a fast flow', async () => {
      const call = await callEcho(one.web, two.web.address, { ms: 10_000 });
      await two.docker.restart();
      assertWhole(await call.report);
      await untilFast(two.host, 1);
    });

    await t.test('containers that come and go are known, and another one gets the address', async () => {
      await two.docker.remove('web');
      const [first, second] = [await runWeb(two.docker, 'first'), await runWeb(two.docker, 'second')];
      assert.equal(first.address, two.web.address);
      for (const container of [first, second]) {
        await serve(t, container);
        await until(async () => (await pingOnce(one.web, container)).ms !== undefined, { what: 'a ping' });
        // Its programs come meanwhile.
        await assertFlows(one, { web: container }, 1_500);
      }
      const { packets = {} } = await untilFast(two.host, 2);
      assert.equal(packets.failed, 0);
    });
  });
}

async function serve(t: TestContext, container: Container): Promise<void> {
  const server = await serveEcho(container);
  t.after(() => server.kill('SIGKILL'));
}

async function statusOf(host: Host): Promise<FastPathStatus | undefined> {
  const [status] = await statusesOf(host);
  return status?.fastPath;
}

function untilFast(host: Host, containers: number): Promise<FastPathStatus> {
  let last = '';
  return until(
    async () => {
      const status = await statusOf(host);
      last = JSON.stringify(status);
      return status?.state === 'on' && status.tcp && status.containers === containers && status.peers > 0
        ? status
        : undefined;
    },
    { what: `fast path of ${host.name}`, timeoutMs: 30_000, signal: host.signal },
  ).catch((error) => {
    throw new Error(`${error.message}: ${last}`);
  });
}

/** How many packets went fast on both hosts, in and out. */
async function fastPackets({ nodes }: DockerNetwork): Promise<number> {
  const all = await Promise.all(nodes.map(({ host }) => statusOf(host)));
  return all.reduce(
    (sum, status) => sum + (status?.packets?.encapsulated ?? 0) + (status?.packets?.decapsulated ?? 0),
    0,
  );
}

async function assertFlows(
  from: Pick<DockerNode, 'web'>,
  to: Pick<DockerNode, 'web'>,
  ms = 3_000,
): Promise<void> {
  assertWhole(await (await callEcho(from.web, to.web.address, { ms })).report);
}

async function publish(t: TestContext, { lab, nodes: [one, two] }: DockerNetwork): Promise<void> {
  const ports = ['8081:8080', '7001:7000', '7001:7000/udp'].flatMap((port) => ['--publish', port]);
  const shop = await runWeb(one.docker, 'shop', ports);
  await serve(t, shop);
  assert.equal(await callerSeenBy(lab.store, one.host.address, 8081), lab.store.address);
  assert.equal(await callerSeenBy(two.web, one.host.address, 8081), two.host.address);
  assert.equal(await callerSeenBy(two.web, shop.address), two.web.address);
  // One flow by the container's own address is fast meanwhile.
  const calls = await Promise.all([
    callEcho(two.web, shop.address, { ms: 3_000 }),
    callEcho(two.web, one.host.address, { ms: 3_000, port: 7001 }),
    callEcho(lab.store, one.host.address, { ms: 3_000, port: 7001 }),
  ]);
  for (const [index, { report }] of calls.entries()) {
    assertWhole(await report, `call ${index}`);
  }
  await one.docker.remove('shop');
  await untilFast(one.host, 1);
}
