import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/fuzz/random.ts';
import { RotatingNetwork } from '../../test/support/rotating-nodes.ts';

const ROUNDS = 150;

/** Nodes that know each other and have packets flow. */
function networkOf(seed: number, count = 4): { network: RotatingNetwork; random: () => number } {
  const random = randomOf(seed);
  const network = new RotatingNetwork(['a', 'b', 'c', 'd', 'e'].slice(0, count), random);
  network.run(30);
  network.lost.length = 0;
  network.unsafe.length = 0;
  return { network, random };
}

const pick = <T>(items: readonly T[], random: () => number): T => {
  const item = items[Math.floor(random() * items.length)];
  assert.ok(item !== undefined);
  return item;
};

function assertNothingLost(network: RotatingNetwork, seed: number): void {
  assert.deepEqual(network.lost.slice(0, 5), [], `seed ${seed}: ${network.lost.length} lost`);
  assert.deepEqual(network.unsafe.slice(0, 5), [], `seed ${seed}`);
}

test('three rotations lose nothing, in any order of news', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const { network, random } = networkOf(seed);
    for (let round = 1; round <= 3; round++) {
      const before = network.nodes.map(({ keys }) => keys.current.key);
      assert.ok(network.begin(pick(network.nodes, random)), `seed ${seed}`);
      network.run(120);
      assert.ok(network.isIdle, `seed ${seed}: round ${round} does not end`);
      const after = network.nodes.map(({ keys }) => keys.current.key);
      for (const [at, key] of after.entries()) assert.notEqual(key, before[at], `seed ${seed}`);
      assert.deepEqual(new Set(network.nodes.map(({ keys }) => keys.current.number)), new Set([round + 1]));
    }
    assertNothingLost(network, seed);
  }
});

test('two nodes that rotate at once rotate together', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const { network } = networkOf(seed);
    for (const node of network.nodes.slice(0, 2)) assert.ok(network.begin(node));
    network.run(120);
    assert.ok(network.isIdle, `seed ${seed}`);
    assertNothingLost(network, seed);
  }
});

test('daemons that die and start again at any moment lose nothing', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const { network, random } = networkOf(seed);
    for (let round = 0; round < 3; round++) {
      network.begin(pick(network.nodes, random));
      network.run(150, () => {
        const node = pick(network.nodes, random);
        if (random() < 0.1) network.killDaemon(node);
        if (random() < 0.3)
          for (const dead of network.nodes) if (dead.rotation === undefined) network.startDaemon(dead);
      });
      for (const dead of network.nodes) if (dead.rotation === undefined) network.startDaemon(dead);
      network.run(150);
      assert.ok(network.isIdle, `seed ${seed}: round ${round} does not end`);
    }
    assertNothingLost(network, seed);
  }
});

test('a node whose daemon is dead, or is cut off from the registry, holds the rotation up and loses nothing', () => {
  for (let seed = 0; seed < ROUNDS / 3; seed++) {
    const { network, random } = networkOf(seed);
    const [held, ...others] = network.nodes;
    assert.ok(held !== undefined);
    if (seed % 2 === 0) network.killDaemon(held);
    else held.isCutOff = true;
    network.begin(pick(others, random));
    network.run(600);
    assert.ok(
      others.every(({ keys }) => keys.next !== undefined),
      `seed ${seed}: it did not hold it up`,
    );
    held.isCutOff = false;
    if (held.rotation === undefined) network.startDaemon(held);
    network.run(150);
    assert.ok(network.isIdle, `seed ${seed}`);
    assertNothingLost(network, seed);
  }
});

test('a host that dies at any moment is let go after a while, and the others lose nothing', () => {
  for (let seed = 0; seed < ROUNDS; seed++) {
    const { network, random } = networkOf(seed, 5);
    const dying = pick(network.nodes, random);
    const at = Math.floor(random() * 40);
    network.begin(pick(network.nodes, random));
    network.run(at);
    network.kill(dying);
    network.run(500);
    const living = network.nodes.filter((node) => node !== dying);
    assert.ok(
      living.every(({ keys }) => keys.next === undefined),
      `seed ${seed}: it is waited for`,
    );
    network.boot(dying, random() < 0.5);
    network.run(200);
    assert.ok(network.isIdle, `seed ${seed}: does not end after the host is back`);
    assert.ok(network.begin(pick(network.nodes, random)), `seed ${seed}`);
    network.run(200);
    assert.ok(network.isIdle, `seed ${seed}`);
    assert.ok(
      network.nodes.every(({ excused }) => !excused),
      `seed ${seed}: the host does not come back`,
    );
    assertNothingLost(network, seed);
  }
});
