import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentEvents } from '#src/lib/host-events.ts';
import { type Prefix4, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Secret } from '#src/lib/secret.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { KeyRotation, type RotatedKeys, type RotatedNetwork } from '#src/node/key-rotation.ts';
import type { PeerFigures } from '#src/node/tunnel-figures.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const pub = (letter: string): string => `${letter.repeat(42)}A=`;
const key = (letter: string) => ({ publicKey: pub(letter), privateKey: Secret.copyOf(new Uint8Array(32)) });
const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const HOUR = 3_600_000;

/** A node with key `o`, whose next ones are `n`, `m`; its peer has `p`, then `q`. */
class Node {
  readonly clock = new FakeClock();
  readonly done: string[] = [];
  readonly figures = new Map<string, PeerFigures[]>();
  readonly rotation: KeyRotation;
  files = { current: 'o', next: undefined as string | undefined };
  peer: LeaseAttributes | undefined;
  published = '';
  obstacle: string | undefined;
  /** Called when a file has changed, and its writer does not know that yet. */
  onFile = (): void => {};

  constructor(options: { intervalMs?: number; next?: string } = {}) {
    this.files.next = options.next;
    const names = ['n', 'm'];
    const changed = async (): Promise<void> => {
      this.onFile();
      for (let turn = 0; turn < 20; turn++) await undefined;
    };
    const keys: RotatedKeys = {
      current: async () => key(this.files.current),
      next: async () => (this.files.next === undefined ? undefined : key(this.files.next)),
      makeNext: async () => {
        this.files.next ??= names.shift() ?? assert.fail();
        this.done.push(`make ${this.files.next}`);
        await changed();
        return key(this.files.next);
      },
      promote: async () => {
        this.done.push(`promote ${this.files.next}`);
        this.files = { current: this.files.next ?? assert.fail(), next: undefined };
        await changed();
      },
      ageMs: async () => 0,
    };
    this.rotation = new KeyRotation(
      {
        keys,
        figures: async (device) => this.figures.get(device) ?? [],
        clock: this.clock,
        random: () => 0,
        log: silentLogger,
        events: silentEvents,
      },
      { intervalMs: options.intervalMs ?? HOUR, patienceMs: 300_000 },
    );
  }

  get lease(): Lease {
    return {
      name: '10.5.2.0-24',
      subnets: { v4: net('10.5.2.0/24') },
      attributes: this.peer ?? assert.fail(),
      expiry: { kind: 'reservation' },
      revision: 1n,
    };
  }

  async start(
    t: { signal: AbortSignal },
    own: LeaseAttributes,
    found = new Map<string, string>(),
  ): Promise<void> {
    const network: RotatedNetwork = {
      obstacle: () => this.obstacle,
      devicesOf: (role) => (role === 'current' ? ['cur'] : this.files.next === undefined ? [] : ['nxt']),
      leases: () => (this.peer === undefined ? [] : [this.lease]),
      apply: async () => {
        const { keyRotation } = await this.rotation.secrets(async () => 'a');
        const { numbers, isEnding, side } = keyRotation ?? assert.fail();
        this.done.push(`apply ${JSON.stringify(numbers)}${isEnding ? ' ending' : ''} ${side}`);
        if (this.peer !== undefined) this.rotation.planFor(this.lease);
      },
      replan: async (names) => void this.done.push(`replan ${names.join()} ${this.route}`),
      isPublished: (publicKey) => this.published === publicKey,
    };
    this.rotation.use(network);
    await this.rotation.settle(own, found);
    if (this.peer !== undefined) this.rotation.planFor(this.lease);
    this.rotation.run(t.signal).catch(() => {});
  }

  get route(): string | undefined {
    return this.rotation.planFor(this.lease)?.route;
  }

  /** The kernel has heard the peer through these devices, by their names with the peer's key. */
  hear(...tunnels: readonly (readonly [device: string, publicKey: string])[]): void {
    for (const [device, publicKey] of tunnels) {
      const known = this.figures.get(device)?.find((peer) => peer.publicKey === publicKey);
      this.figures.set(device, [{ publicKey, handshakeAt: 1, received: (known?.received ?? 0) + 32 }]);
    }
  }

  async pass(seconds: number, each: () => void = () => {}): Promise<void> {
    for (let count = 0; count < seconds; count++) {
      each();
      await this.clock.advance(1_000);
    }
  }
}

const OWN: LeaseAttributes = { backendType: 'wireguard', backendData: { PublicKey: pub('o'), Port: 51_820 } };
const AT_REST: LeaseAttributes = {
  backendType: 'wireguard',
  backendData: { PublicKey: pub('p'), Port: 51_820 },
  weft: { Wireguard: { Generation: 1 } },
};
const ROTATING: LeaseAttributes = {
  ...AT_REST,
  weft: { Wireguard: { Generation: 1, Next: { Generation: 2, PublicKey: pub('q'), Port: 51_830 } } },
};

test('a rotation from its beginning to its end', async (t) => {
  const node = new Node();
  node.peer = AT_REST;
  await node.start(t, OWN);
  await node.clock.advance((7 * HOUR) / 8 + 10_000);
  assert.deepEqual(node.done, ['make n', 'apply {"current":1,"next":2} a']);
  node.peer = ROTATING;
  node.rotation.planFor(node.lease);
  await node.pass(5, () => node.hear(['cur', pub('p')], ['nxt', pub('q')]));
  assert.equal(node.route, 'next');
  await node.pass(12, () => node.hear(['nxt', pub('q')]));
  assert.equal(node.done.at(-1), 'apply {"current":1,"next":2} ending a');
  await node.pass(20);
  assert.equal(
    node.rotation.status?.phase,
    'ending',
    'the registry has not said yet that it has the new key',
  );
  node.published = pub('n');
  await node.pass(8);
  assert.deepEqual(node.done.slice(-2), ['promote n', 'apply {"current":2} b']);
  assert.equal(node.rotation.status?.phase, 'idle');
});

test('while a key file changes nobody reads half of it, and a plan says on which side its keys are', async (t) => {
  const node = new Node();
  node.peer = AT_REST;
  await node.start(t, OWN);
  const sides = async () => {
    const { keyRotation: known, wireguardKey } = await node.rotation.secrets(async () => 'a');
    const hasNext = known?.nextKey !== undefined;
    return [wireguardKey?.publicKey.slice(0, 1), known?.side, hasNext, known?.numbers?.next !== undefined];
  };
  const seen = new Set<string>();
  const look = () => void sides().then((found) => seen.add(found.join()));
  node.onFile = look;
  await node.clock.advance((7 * HOUR) / 8 + 10_000);
  node.peer = ROTATING;
  node.rotation.planFor(node.lease);
  assert.equal(node.rotation.planFor(node.lease)?.side, 'a');
  node.published = pub('n');
  await node.pass(5, () => node.hear(['cur', pub('p')], ['nxt', pub('q')]));
  await node.pass(30, () => node.hear(['nxt', pub('q')]));
  assert.equal(node.done.at(-1), 'apply {"current":2} b');
  assert.equal(node.rotation.planFor(node.lease)?.side, 'b');
  assert.deepEqual([...seen], ['o,a,true,true', 'n,b,false,false']);
});

test('a rotation that another node began is joined', async (t) => {
  const node = new Node();
  node.peer = ROTATING;
  await node.start(t, OWN);
  await node.clock.advance(10_000);
  assert.deepEqual(node.done.slice(0, 2), ['make n', 'apply {"current":1,"next":2} a']);
});

test('with flannel in the network nothing is rotated, and the reason has its name', async (t) => {
  const node = new Node();
  const { weft: _, ...flannel } = AT_REST;
  node.peer = flannel;
  await node.start(t, OWN);
  await node.clock.advance(HOUR);
  assert.deepEqual(node.done, []);
  assert.match(node.rotation.status?.reason ?? '', /^10\.5\.2\.0-24 takes no part in it: it is flannel/);
  assert.match(node.rotation.request() ?? '', /^10\.5\.2\.0-24 takes no part/);
});

test('without the flag nothing is begun or joined, and what is under way is ended', async (t) => {
  const idle = new Node({ intervalMs: 0 });
  idle.peer = ROTATING;
  await idle.start(t, OWN);
  await idle.clock.advance(HOUR);
  assert.deepEqual([idle.done, idle.rotation.status], [[], undefined]);
  assert.deepEqual(await idle.rotation.secrets(async () => 'a'), { wireguardKey: await key('o') });
  const ending = new Node({ intervalMs: 0, next: 'n' });
  ending.peer = ROTATING;
  await ending.start(t, {
    ...OWN,
    backendData: { PublicKey: pub('n'), Port: 51_830 },
    weft: { Wireguard: { Generation: 2 } },
  });
  ending.published = pub('n');
  await ending.pass(20);
  assert.equal(ending.done.at(-2), 'promote n');
});

test('a restart in the middle keeps a route where packets go', async (t) => {
  const node = new Node({ next: 'n' });
  node.peer = ROTATING;
  node.hear(['cur', pub('p')], ['nxt', pub('q')]);
  const own = {
    ...OWN,
    weft: { Wireguard: { Generation: 1, Next: { Generation: 2, PublicKey: pub('n'), Port: 51_830 } } },
  };
  await node.start(t, own, new Map([['10.5.2.0/24', 'nxt']]));
  assert.equal(node.route, 'next');
  const lost = new Node({ next: 'n' });
  lost.peer = ROTATING;
  lost.hear(['cur', pub('p')]);
  await lost.start(t, own, new Map([['10.5.2.0/24', 'nxt']]));
  assert.equal(lost.route, 'current', 'the device was made again, and has no handshake');
});

test('keys that a change of the backend brings are rotated, and no more once another change takes them away', async (t) => {
  const node = new Node();
  node.rotation.run(t.signal).catch(() => {});
  await node.clock.advance(HOUR);
  assert.deepEqual([node.done, node.rotation.status], [[], undefined]);
  node.peer = AT_REST;
  await node.start(t, OWN);
  assert.equal(node.rotation.status?.phase, 'idle');
  node.rotation.leave();
  assert.match(node.rotation.request() ?? '', /another backend than wireguard/);
  await node.clock.advance(HOUR);
  assert.deepEqual([node.done, node.rotation.status], [[], undefined]);
  await node.start(t, OWN);
  assert.equal(node.rotation.request(), undefined);
  await node.clock.advance(10_000);
  assert.deepEqual(node.done, ['make n', 'apply {"current":1,"next":2} a']);
});

test('none begins while the network changes its backend, neither by time nor with another node', async (t) => {
  for (const peer of [AT_REST, ROTATING]) {
    const node = new Node();
    node.peer = peer;
    node.obstacle = 'the network changes its backend';
    await node.start(t, OWN);
    await node.clock.advance(HOUR);
    assert.deepEqual(node.done, []);
    assert.equal(node.rotation.request(), peer === AT_REST ? node.obstacle : 'one is under way');
    node.obstacle = undefined;
    await node.clock.advance(HOUR);
    assert.equal(node.done[0], 'make n');
  }
});

test('a rotation that is asked for begins at once', async (t) => {
  const node = new Node();
  node.peer = AT_REST;
  await node.start(t, OWN);
  assert.equal(node.rotation.request(), undefined);
  await node.clock.advance(6_000);
  assert.equal(node.done[0], 'make n');
  assert.equal(node.rotation.request(), 'one is under way');
});

test('two nodes of which a rotation is asked at once have one', async (t) => {
  const node = new Node();
  node.peer = AT_REST;
  await node.start(t, OWN);
  assert.equal(node.rotation.request(), undefined);
  // The other one was first.
  node.peer = ROTATING;
  node.rotation.planFor(node.lease);
  await node.pass(10, () => node.hear(['cur', pub('p')], ['nxt', pub('q')]));
  await node.pass(12, () => node.hear(['nxt', pub('q')]));
  node.published = pub('n');
  node.peer = {
    ...AT_REST,
    backendData: { PublicKey: pub('q'), Port: 51_830 },
    weft: { Wireguard: { Generation: 2 } },
  };
  node.rotation.planFor(node.lease);
  await node.pass(30);
  assert.deepEqual(
    node.done.filter((what) => what.startsWith('make') || what.startsWith('promote')),
    ['make n', 'promote n'],
  );
  assert.equal(node.rotation.status?.phase, 'idle');
});
