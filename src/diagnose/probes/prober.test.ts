import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { OwnEnds, PeerEnds } from '#src/backend/probe-ends.ts';
import type { Judgement } from '#src/diagnose/probes/judge.ts';
import { Prober } from '#src/diagnose/probes/prober.ts';
import { type Ip, ipv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { DialOutcome } from '#src/sys/dialer.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Echo, EchoReply } from '#src/sys/icmp-socket.ts';

const OWN: OwnEnds = {
  inside: ipv4(0x0a050100),
  outside: ipv4(0xac100001),
  responder: ipv4(0x0a050100),
  mtu: { inside: 1450, outside: 1500 },
  device: 'eth0',
  inner: 'overlay0',
  carrier: 'UDP port 8472',
  mtuRemedy: (passes) => `set ${passes}`,
};
const endsOf = (n: number): PeerEnds => ({
  inside: ipv4(0x0a060000 + n),
  outside: ipv4(0xac110000 + n),
  responder: ipv4(0x0a060000 + n),
  isCertain: true,
});
const isInside = (ip: Ip): boolean => Number(ip) >>> 24 === 10;

/** A network in memory, by a clock that is moved by hand. */
class MemoryNetwork {
  readonly clock = new FakeClock();
  readonly sent: (Echo & { readonly at: number })[] = [];
  readonly judgements: (Judgement & { readonly name: string; readonly at: number })[] = [];
  /** Milliseconds until the answer; `undefined` for none. */
  answer: (echo: Echo) => number | undefined = () => 1;
  tcp: DialOutcome = 'answered';
  udp = { withChecksum: true, withoutChecksum: true };
  dialed = 0;
  open = 0;
  readonly prober: Prober;

  constructor(t: TestContext, { budget = 50, port = 8474 } = {}) {
    this.prober = new Prober(
      {
        clock: this.clock,
        random: () => 0.5,
        log: silentLogger,
        icmp: { open: async () => this.#socket() },
        dialer: {
          connect: async (_, request) => {
            this.dialed++;
            const answer = 'HTTP/1.1 200 OK\r\n\r\n{"version":"1"}';
            const isAsked = request !== undefined && this.tcp === 'answered';
            return { outcome: this.tcp, ...(isAsked && { answer }) };
          },
          datagram: async (_, { checksum }) => {
            const { withChecksum, withoutChecksum } = this.udp;
            return (checksum ? withChecksum : withoutChecksum) ? 'refused' : 'silent';
          },
        },
      },
      {
        budget,
        port,
        onChange: (name, judgement) => {
          this.judgements.push({ ...judgement, name, at: this.clock.monotonic() });
        },
      },
    );
    const stop = new AbortController();
    t.after(() => stop.abort());
    void this.prober.run(stop.signal);
    this.prober.use(OWN);
  }

  #socket() {
    this.open++;
    const replies: EchoReply[] = [];
    let listener = (): void => {};
    return {
      send: (echo: Echo): string | undefined => {
        this.sent.push({ ...echo, at: this.clock.monotonic() });
        const ms = this.answer(echo);
        if (ms !== undefined) {
          void this.clock.sleep(ms).then(() => {
            replies.push({ from: echo.to, sequence: echo.sequence });
            listener();
          });
        }
        return undefined;
      },
      receive: () => replies.shift(),
      watch: (next: () => void) => {
        listener = next;
      },
      close: () => {
        this.open--;
      },
    };
  }

  put(...numbers: readonly number[]): void {
    for (const n of numbers) this.prober.put(`peer-${n}`, endsOf(n));
  }

  /** The most packets in any second. */
  get peak(): number {
    return Math.max(
      ...this.sent.map(
        ({ at }) => this.sent.filter((other) => other.at >= at && other.at < at + 1000).length,
      ),
    );
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n + 1);

test('a host alone opens no socket and sends nothing', async (t) => {
  const network = new MemoryNetwork(t);
  await network.clock.advance(600_000);
  assert.deepEqual([network.sent.length, network.open, network.dialed], [0, 0, 0]);
  assert.equal(network.prober.trouble, undefined);
});

test('a peer that answers is up, with its round trip, its MTU and its responder', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(1);
  await network.clock.advance(5_000);
  const probe = network.prober.of('peer-1');
  assert.deepEqual(
    { ...probe, at: undefined },
    {
      at: undefined,
      state: 'up',
      findings: [],
      tunnel: { sent: 7, answered: 7, roundTripMs: 1, fullSize: 'passes' },
      underlay: { sent: 7, answered: 7, roundTripMs: 1, fullSize: 'passes' },
      tcp: 'answered',
      workingMtu: 1450,
      responder: true,
    },
  );
  assert.deepEqual(network.judgements, []);
  const { up, sent, lost, worstRoundTripSeconds } = network.prober.counts;
  assert.deepEqual([up, sent, lost, worstRoundTripSeconds], [1, network.sent.length, 0, 0.001]);
});

test('at ten hosts a broken tunnel is known within two seconds, wherever in its round it breaks', async (t) => {
  for (const brokenAt of [10_000, 10_150, 10_300, 10_450, 10_600]) {
    const network = new MemoryNetwork(t);
    network.put(...upTo(9));
    await network.clock.advance(brokenAt);
    const broken = endsOf(4).inside;
    network.answer = ({ to }) => (to === broken ? undefined : 1);
    await network.clock.advance(3_000);
    const [down] = network.judgements;
    assert.deepEqual([down?.name, down?.state], ['peer-4', 'down']);
    assert.ok((down?.at ?? 0) - brokenAt < 2_000, `known after ${(down?.at ?? 0) - brokenAt} ms`);
    network.answer = () => 1;
    await network.clock.advance(2_000);
    assert.deepEqual([network.judgements.length, network.judgements.at(-1)?.state], [2, 'up']);
  }
});

test('a thousand peers that join at once are all looked at within 65 s, and never faster than the budget', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(...upTo(1_000));
  await network.clock.advance(65_000);
  const looked = upTo(1_000).filter((n) => network.prober.of(`peer-${n}`) !== undefined);
  assert.equal(looked.length, 1_000);
  // Connections are counted by three packets each; the echoes alone are fewer.
  assert.ok(network.peak <= 60, `${network.peak} packets in one second`);
});

test('however many peers there are, packets leave five times a second at most, and on the beat', async (t) => {
  for (const peers of [1, 10, 30, 1_000]) {
    const network = new MemoryNetwork(t);
    await network.clock.advance(130);
    network.put(...upTo(peers));
    await network.clock.advance(10_000);
    network.sent.length = 0;
    await network.clock.advance(10_000);
    const moments = new Set(network.sent.map(({ at }) => at));
    assert.ok(moments.size >= 10 && moments.size <= 51, `${peers} peers: at ${moments.size} moments`);
    assert.deepEqual(
      [...moments].filter((at) => at % 200 !== 0),
      [],
    );
  }
});

test('the silence of half of them leaves the round its share', async (t) => {
  const network = new MemoryNetwork(t, { budget: 100 });
  network.put(...upTo(100));
  await network.clock.advance(20_000);
  network.answer = ({ to }) => ((Number(to) & 1) === 0 ? undefined : 1);
  network.sent.length = 0;
  await network.clock.advance(20_000);
  for (const n of upTo(100)) {
    const looks = network.sent.filter(({ to }) => to === endsOf(n).inside);
    assert.ok(looks.length >= 2, `peer ${n} was looked at ${looks.length} times`);
  }
  assert.equal(network.prober.counts.down, 50);
  assert.ok(network.peak <= 121, `${network.peak} packets in one second`);
});

test('a way that becomes slow is not broken', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(1);
  await network.clock.advance(5_000);
  network.answer = () => 800;
  await network.clock.advance(20_000);
  assert.deepEqual(
    network.judgements.filter(({ state }) => state === 'down'),
    [],
  );
  assert.equal(network.prober.of('peer-1')?.tunnel.roundTripMs, 800);
  assert.equal(network.prober.counts.lost, 0);
});

test('the MTU that works is found by halving, and the whole one again when it passes', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(1);
  network.answer = ({ to, bytes }) => (isInside(to) && bytes > 1_350 ? undefined : 1);
  await network.clock.advance(15_000);
  const probe = network.prober.of('peer-1');
  assert.deepEqual([probe?.state, probe?.workingMtu, probe?.tunnel.fullSize], ['degraded', 1_350, 'lost']);
  assert.deepEqual(probe?.findings, [
    'packets of 1450 bytes are lost inside the tunnel, 1350 pass: set 1350',
  ]);
  network.answer = () => 1;
  await network.clock.advance(5_000);
  assert.deepEqual(
    [network.prober.of('peer-1')?.state, network.prober.of('peer-1')?.workingMtu],
    ['up', 1_450],
  );
});

test('TCP without an answer is looked into with UDP', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(1);
  network.tcp = 'silent';
  network.udp = { withChecksum: false, withoutChecksum: true };
  await network.clock.advance(10_000);
  const probe = network.prober.of('peer-1');
  assert.deepEqual([probe?.state, probe?.tcp, probe?.responder], ['degraded', 'silent', false]);
  assert.match(probe?.findings[0] ?? '', /^TCP and UDP with a checksum get no answer/);
  network.tcp = 'refused';
  await network.clock.advance(5_000);
  assert.deepEqual([network.prober.of('peer-1')?.state, network.prober.of('peer-1')?.tcp], ['up', 'refused']);
});

test('without a responder’s port no connection is made', async (t) => {
  const network = new MemoryNetwork(t, { port: 0 });
  network.put(1);
  await network.clock.advance(10_000);
  assert.equal(network.dialed, 0);
  assert.equal(network.prober.of('peer-1')?.tcp, 'not tried');
});

test('the network is in trouble when no peer at all answers', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(1, 2);
  network.answer = ({ to }) => (to === endsOf(1).inside || !isInside(to) ? 1 : undefined);
  await network.clock.advance(10_000);
  assert.equal(network.prober.trouble, undefined);
  network.answer = ({ to }) => (isInside(to) ? undefined : 1);
  await network.clock.advance(5_000);
  assert.match(
    network.prober.trouble ?? '',
    /^none of 2 peers answers inside the tunnel: peer-\d: nothing passes inside the tunnel while the underlay answers/,
  );
  network.prober.remove('peer-1');
  assert.match(network.prober.trouble ?? '', /^the only peer does not answer inside the tunnel: peer-2/);
  network.prober.remove('peer-2');
  assert.equal(network.prober.trouble, undefined);
});

test('another lease forgets what was measured, and the same record does not', async (t) => {
  const network = new MemoryNetwork(t);
  network.put(1);
  await network.clock.advance(5_000);
  network.put(1);
  assert.notEqual(network.prober.of('peer-1'), undefined);
  network.prober.put('peer-1', endsOf(2));
  assert.equal(network.prober.of('peer-1'), undefined);
  network.prober.use(undefined);
  network.sent.length = 0;
  await network.clock.advance(5_000);
  assert.deepEqual([network.open, network.sent.length], [0, 0]);
  network.prober.use({ ...OWN, inside: ipv4(0x0a050200) });
  network.put(1);
  await network.clock.advance(5_000);
  assert.equal(network.prober.of('peer-1')?.state, 'up');
  assert.equal(network.open, 2);
});
