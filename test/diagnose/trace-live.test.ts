import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import type { LiveTrace } from '#src/diagnose/trace/live/locate.ts';
import { traceLive } from '#src/diagnose/trace/live/trace-live.ts';
import { watchHost } from '#src/diagnose/trace/live/watch-host.ts';
import type { WatchRequest } from '#src/diagnose/trace/live/watch-part.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { systemClock } from '#src/sys/clock.ts';
import { Random } from '../fuzz/random.ts';
import { FLANNELD } from '../support/flanneld.ts';
import { type Network, pairOf, testNetwork } from '../support/network.ts';
import { allDrops } from '../support/random-drops.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { type RememberingPair, rememberedPair } from '../support/traced-host.ts';

/*
 * Rules that no check knows, each alone, somewhere on the way there or back:
 *
 *     store ─┬─ h1 flanneld ── docker0 ── veth-c ── c
 *            └─ h2 flanneld ── docker0 ── veth-c ── c
 */
const skip = cannotRun('ping', 'nft', 'tc');
const ROUNDS = 20;
let network: Network;
let hosts: RememberingPair;

wholeFile(skip, async (owner) => {
  network = await testNetwork(owner, { api: 3, store: 'embedded', programs: [FLANNELD, FLANNELD] });
  hosts = await rememberedPair(network);
  owner.after(async () => hosts.close());
});

const watchOn = (host: LocalHost) => (request: WatchRequest, enough: Promise<void>) =>
  watchHost(host, systemClock, request, { enough });

function live(silent = false): Promise<LiveTrace> {
  const [one, two] = pairOf(network);
  const refuse = () => Promise.reject(new Error('nothing answers'));
  return traceLive({
    from: { address: one.container.address, host: 'h1', watch: watchOn(hosts.one) },
    to: { address: two.container.address, host: 'h2', watch: silent ? refuse : watchOn(hosts.two) },
    timeoutMs: 1_000,
  });
}

const explain = ({ sights }: LiveTrace): string =>
  sights
    .map(({ host, way, device, direction, seen }) => `${way} ${host} ${device} ${direction} ${seen}`)
    .join('\n');

test('the packet and its answer are seen at every station', { skip }, async () => {
  const traced = await live();
  assert.equal(traced.lost, undefined, explain(traced));
  assert.deepEqual(
    traced.sights.map(({ host, device, direction }) => `${host} ${device} ${direction}`),
    [
      ...['h1 eth0 out', 'h1 veth-c in', 'h1 docker0 in', 'h1 flannel.1 out', 'h1 eth0 out'],
      ...['h2 eth0 in', 'h2 flannel.1 in', 'h2 docker0 out', 'h2 veth-c out', 'h2 eth0 in'],
      ...['h2 eth0 out', 'h2 veth-c in', 'h2 docker0 in', 'h2 flannel.1 out', 'h2 eth0 out'],
      ...['h1 eth0 in', 'h1 flannel.1 in', 'h1 docker0 out', 'h1 veth-c out', 'h1 eth0 in'],
    ],
  );
});

test('without the other host: what is lost there is said to be lost on the wire or there', {
  skip,
}, async () => {
  const before = await live(true);
  assert.equal(before.lost, undefined, explain(before));
  const drop = allDrops(false).find(({ lostAt }) => lostAt === 'there h2 arrival-filter') ?? assert.fail();
  const [one, two] = pairOf(network);
  await drop.start({ one, two });
  try {
    const traced = await live(true);
    const { way, host, hop, orThere } = traced.lost ?? assert.fail(explain(traced));
    assert.deepEqual([way, host, hop, orThere], ['there', 'h1', 'wire', 'h2']);
  } finally {
    await drop.end({ one, two });
  }
});

const seed = Number(process.env.WEFT_TRACE_SEED ?? randomInt(2 ** 31));

test(`${ROUNDS} random drops are each located to the right hop (WEFT_TRACE_SEED=${seed})`, {
  skip,
}, async (t) => {
  const [one, two] = pairOf(network);
  const bridgeFilters = (await hosts.one.eye.sysctl('net/bridge/bridge-nf-call-iptables')) === '1';
  const drops = shuffled(allDrops(bridgeFilters), new Random(seed)).slice(0, ROUNDS);
  const missed: string[] = [];
  for (const drop of drops) {
    await drop.start({ one, two });
    try {
      const traced = await live();
      const { way, host, hop } = traced.lost ?? {};
      const found = `${way} ${host} ${hop}`;
      if (found !== drop.lostAt)
        missed.push(`${drop.name}: ${found}, not ${drop.lostAt}\n${explain(traced)}`);
    } finally {
      await drop.end({ one, two });
    }
  }
  t.diagnostic(`seed ${seed}: ${drops.length - missed.length} of ${drops.length} located`);
  assert.deepEqual(missed, []);
});

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.flatMap(() => left.splice(random.int(left.length - 1), 1));
}
