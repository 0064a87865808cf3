import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyRole } from '#src/backend/key-pairs.ts';
import { Rotation } from '#src/backend/rotation.ts';
import type { PeerKeys } from '#src/backend/rotation-peer.ts';

const PATIENCE_MS = 240_000;
const SECOND = 1_000;

const AT_REST: PeerKeys = { current: 'p1', numbers: { current: 1 }, takesPart: true };
const ROTATING: PeerKeys = { current: 'p1', next: 'p2', numbers: { current: 1, next: 2 }, takesPart: true };
const FLANNEL: PeerKeys = { current: 'p1', numbers: { current: 0 }, takesPart: false };

/** A node whose tunnels are seen each second. */
class Watched {
  readonly rotation: Rotation;
  now = 0;
  #received: Record<KeyRole, number> = { current: 0, next: 0 };

  constructor(next?: number, isEnding = false) {
    const numbers = { current: 1, ...(next !== undefined && { next }) };
    this.rotation = new Rotation({ patienceMs: PATIENCE_MS }, numbers, isEnding);
  }

  set(keys: PeerKeys, found?: KeyRole): this {
    this.rotation.setPeer('p', keys, this.now, found);
    return this;
  }

  /** For so many seconds something comes through these tunnels, and nothing through the others. `shaken`: with a handshake. */
  pass(seconds: number, alive: readonly KeyRole[], shaken: readonly KeyRole[] = alive): this {
    for (let count = 0; count < seconds; count++) {
      this.now += SECOND;
      for (const own of ['current', 'next'] as const) {
        if (alive.includes(own)) this.#received[own] += 32;
        const seen = { shaken: shaken.includes(own), received: this.#received[own] };
        this.rotation.see('p', own, seen, this.now);
      }
      this.rotation.decide(this.now);
    }
    return this;
  }

  get route(): KeyRole | undefined {
    return this.rotation.planOf('p')?.route;
  }

  get awake(): readonly KeyRole[] | undefined {
    return this.rotation.planOf('p')?.awake;
  }

  get reason(): string | undefined {
    return this.rotation.heldUp(this.now)[0]?.reason;
  }
}

test('at rest there is one tunnel, and no keepalive', () => {
  const node = new Watched().set(AT_REST).pass(5, ['current']);
  assert.deepEqual(node.rotation.planOf('p'), {
    tunnels: { current: 'current' },
    awake: [],
    route: 'current',
  });
  assert.equal(node.rotation.phase, 'idle');
});

test('a route moves after a handshake and a sign of life, and not before', () => {
  const node = new Watched(2).set(ROTATING);
  assert.equal(node.pass(60, ['current']).route, 'current');
  assert.deepEqual(node.awake, ['current', 'next']);
  assert.equal(node.reason, 'no handshake with its next key');
  assert.equal(node.pass(20, ['current'], ['current', 'next']).route, 'current');
  assert.equal(node.reason, 'nothing comes through its new tunnel');
  assert.equal(node.pass(1, ['current', 'next']).route, 'next');
  assert.deepEqual(node.awake, ['next'], 'the old tunnel falls silent: so the peer knows');
});

test('a peer that still uses the old tunnel holds the rotation up, and no longer when that is quiet', () => {
  const node = new Watched(2).set(ROTATING).pass(300, ['current', 'next']);
  assert.equal(node.reason, 'it still uses the old tunnel');
  assert.equal(node.pass(9, ['next']).reason, 'it still uses the old tunnel');
  assert.equal(node.pass(1, ['next']).reason, undefined);
});

test('silence on all tunnels is no sign that a peer has moved', () => {
  const node = new Watched(2).set(ROTATING).pass(5, ['current', 'next']);
  node.pass(100, [], ['current', 'next']);
  assert.equal(node.reason, 'it still uses the old tunnel');
  assert.equal(node.route, 'next', 'nothing is better');
});

test('a route goes back when the new tunnel dies and the old one does not', () => {
  const node = new Watched(2).set(ROTATING).pass(5, ['current', 'next']);
  assert.equal(node.route, 'next');
  node.pass(14, ['current'], ['current', 'next']);
  assert.equal(node.route, 'next');
  node.pass(5, ['current'], ['current', 'next']);
  assert.equal(node.route, 'current');
  assert.deepEqual(node.awake, ['current', 'next']);
});

test('a device that was removed and made again has shaken hands with nobody', () => {
  const node = new Watched(2).set(ROTATING).pass(5, ['current', 'next']);
  node.rotation.see('p', 'next', undefined, node.now);
  node.rotation.decide(node.now);
  assert.equal(node.route, 'current');
});

test('another next key of a peer is another tunnel, without a handshake', () => {
  const node = new Watched(2).set(ROTATING).pass(5, ['current', 'next']);
  node.set({ ...ROTATING, next: 'p3' }).rotation.decide(node.now);
  assert.equal(node.route, 'current');
  assert.equal(node.reason, 'no handshake with its next key');
});

test('a peer that withdraws its next key gets the old tunnel', () => {
  const node = new Watched(2).set(ROTATING).pass(5, ['current', 'next']);
  node.set(AT_REST).rotation.decide(node.now);
  assert.equal(node.route, 'current');
  assert.equal(node.reason, 'it has not announced its next key');
});

test('a silent peer is waited for as long as the patience lasts, a living one for ever', () => {
  const silent = new Watched(2).set(AT_REST).pass(PATIENCE_MS / SECOND - 1, []);
  assert.equal(silent.reason, 'it has not announced its next key');
  assert.equal(silent.pass(1, []).reason, undefined);
  const living = new Watched(2).set(AT_REST);
  // Where a daemon is dead its kernel shakes hands every three minutes at the least.
  for (let count = 0; count < 10; count++) living.pass(1, ['current']).pass(180, []);
  assert.equal(living.reason, 'it has not announced its next key');
  assert.equal(new Watched(2).set(FLANNEL).pass(3_000, ['current']).reason, 'it takes no part in rotations');
});

test('silence before the rotation began is none', () => {
  const node = new Watched().set(AT_REST).pass(3_000, []);
  node.rotation.begin(2, node.now);
  assert.equal(node.reason, 'it has not announced its next key');
  assert.deepEqual(node.pass(1, []).awake, ['current']);
});

test('a peer that is let go gets the key that it has on the only device that is left', () => {
  const node = new Watched(2).set(AT_REST).pass(PATIENCE_MS / SECOND, []);
  node.rotation.publish(node.now);
  node.rotation.decide(node.now);
  assert.deepEqual(node.rotation.published, { current: 2 });
  assert.deepEqual(node.rotation.planOf('p')?.tunnels, { current: 'current', next: 'current' });
  assert.equal(node.route, 'next');
  node.rotation.end(node.now);
  assert.deepEqual(node.rotation.planOf('p')?.tunnels, { current: 'current' });
  assert.equal(node.route, 'current');
});

test('the second device’s handshakes are kept when it becomes the only one', () => {
  const node = new Watched(2).set(ROTATING).pass(5, ['current', 'next']).pass(10, ['next']);
  node.rotation.publish(node.now);
  node.rotation.end(node.now);
  node.rotation.decide(node.now);
  assert.deepEqual(node.rotation.planOf('p'), {
    tunnels: { current: 'next' },
    // Until it is through as well.
    awake: ['current'],
    route: 'current',
  });
  assert.equal(node.rotation.phase, 'idle');
  assert.equal(node.rotation.asked, undefined, 'it is the rotation that we are through with');
});

test('a peer that is through has moved', () => {
  const node = new Watched(2).set(ROTATING).pass(2, ['current', 'next']);
  node.set({ current: 'p2', numbers: { current: 2 }, takesPart: true }).pass(1, ['next']);
  assert.equal(node.route, 'next');
  assert.equal(node.reason, undefined);
});

test('at its end a rotation has the highest number that a peer gives it', () => {
  const node = new Watched(2).set({ ...ROTATING, numbers: { current: 4, next: 5 } });
  node.pass(5, ['current', 'next']).pass(10, ['next']);
  node.rotation.publish(node.now);
  assert.deepEqual(node.rotation.published, { current: 5 });
});

test('what others’ leases ask of a node', () => {
  const { rotation } = new Watched().set(AT_REST);
  assert.equal(rotation.asked, undefined);
  assert.equal(rotation.following, 2);
  rotation.setPeer('q', { current: 'q', next: 'q2', numbers: { current: 6, next: 7 }, takesPart: true }, 0);
  assert.deepEqual([rotation.asked, rotation.following, rotation.areOthersBusy], [7, 8, true]);
  rotation.setPeer('f', FLANNEL, 0);
  assert.deepEqual(rotation.strangers, ['f']);
  rotation.removePeer('f');
  assert.deepEqual(rotation.strangers, []);
});

test('a restart goes on where the kernel is', () => {
  const moved = new Watched(2).set(ROTATING, 'next').pass(1, [], ['current', 'next']);
  assert.equal(moved.route, 'next');
  const lost = new Watched(2).set(ROTATING, 'next').pass(1, [], ['current']);
  assert.equal(lost.route, 'current', 'the device is there, and has no handshake');
  const ending = new Watched(2, true).set(ROTATING).pass(1, []);
  assert.deepEqual([ending.rotation.phase, ending.route], ['ending', 'next']);
});
