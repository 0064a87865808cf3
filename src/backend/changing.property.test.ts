import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/fuzz/random.ts';
import { ChangingNetwork, type ChangingNode } from '../../test/support/changing-network.ts';

const VNI1 = '{"Type":"vxlan"}';
const VNI7 = '{"Type":"vxlan","VNI":7,"Port":4789}';
const PORT = '{"Type":"vxlan","Port":4789}';
const HOST_GW = '{"Type":"host-gw"}';
const DIRECT = '{"Type":"vxlan","DirectRouting":true}';
const CHANGES = [
  [VNI1, VNI7],
  [VNI1, HOST_GW],
  [VNI1, PORT],
  [HOST_GW, VNI7],
  [VNI1, DIRECT],
  [DIRECT, VNI1],
] as const;
const DEVICES: Readonly<Record<string, string[]>> = {
  [VNI1]: ['flannel.1'],
  [VNI7]: ['flannel.7'],
  // The other name of VNI 1.
  [PORT]: ['flannel-1'],
  [HOST_GW]: [],
  [DIRECT]: ['flannel.1'],
};
/** The device by which packets to peers leave. */
const wayBy = (backend: string): string => (backend === DIRECT ? undefined : DEVICES[backend]?.[0]) ?? 'eth0';
const SEEDS = 12;
const EVENTS = 400;

/** Every change with many seeds. */
function eachRun(run: (network: ChangingNetwork, from: string, to: string, note: string) => void): void {
  for (const [from, to] of CHANGES)
    for (let seed = 0; seed < SEEDS; seed++) {
      const network = new ChangingNetwork(4, from, randomOf(seed)).start();
      run(network, from, to, `seed ${seed}, ${from} to ${to}`);
    }
}

function assertOn(network: ChangingNetwork, backend: string, note: string): void {
  assert.ok(network.isOver, `${note}: it does not end`);
  assert.equal(network.config, `{"Network":"10.0.0.0/16","Backend":${backend}}`, note);
  assert.deepEqual(network.lost.slice(0, 3), [], `${note}: ${network.lost.length} lost`);
  for (const node of network.nodes) {
    assert.deepEqual(node.devices, DEVICES[backend], `${note}: ${node.name}`);
    for (const peer of network.nodes)
      if (peer !== node) assert.equal(node.deviceTo(peer), wayBy(backend), note);
  }
  for (const [name, value] of network.leases) assert.doesNotMatch(value, /Weft/, `${note}: ${name}`);
}

const victimOf = ({ nodes, random }: ChangingNetwork): ChangingNode => {
  const node = nodes[Math.floor(random() * nodes.length)];
  assert.ok(node !== undefined);
  return node;
};

test('a change ends on the new path, and loses nothing in any order of news', () => {
  eachRun((network, _, to, note) => {
    network.begin(to);
    for (let count = 0; count < EVENTS; count++) network.happen();
    network.settle();
    assertOn(network, to, note);
  });
});

test('daemons that die and start again at any moment lose nothing', () => {
  eachRun((network, _, to, note) => {
    network.begin(to);
    for (let count = 0; count < EVENTS; count++) {
      const node = victimOf(network);
      const dice = network.random();
      if (dice < 0.02) node.kill();
      else if (dice < 0.06 && !node.isAlive) node.start();
      network.happen();
    }
    for (const node of network.nodes) if (!node.isAlive) node.start();
    network.settle();
    assertOn(network, to, note);
  });
});

test('a change that is aborted at any moment ends on the old path, and loses nothing', () => {
  eachRun((network, from, to, note) => {
    network.begin(to);
    const at = Math.floor(network.random() * EVENTS);
    let isAborted = false;
    for (let count = 0; count < EVENTS; count++) {
      const node = victimOf(network);
      if (network.random() < 0.01) node.kill();
      else if (!node.isAlive && network.random() < 0.1) node.start();
      network.happen();
      if (count === at) isAborted = network.abort();
    }
    for (const node of network.nodes) if (!node.isAlive) node.start();
    network.settle();
    assertOn(network, isAborted ? from : to, note);
  });
});

test('a daemon that is down holds a change up, in each of its phases', () => {
  eachRun((network, _, to, note) => {
    const victim = victimOf(network);
    const at = Math.floor(network.random() * 120);
    network.begin(to);
    for (let count = 0; count < at; count++) network.happen();
    if (network.isOver) return;
    victim.kill();
    network.settle();
    // It may have said its last word before.
    if (!network.isOver) assert.match(network.config, /WeftChange/, note);
    assert.deepEqual(network.lost.slice(0, 3), [], note);
    victim.start();
    network.settle();
    assertOn(network, to, note);
  });
});

test('a peer that the new path does not reach holds the change up, and keeps its old path', () => {
  eachRun((network, from, to, note) => {
    const [one, two] = network.nodes;
    assert.ok(one && two);
    one.cutOff.add(two.name);
    network.begin(to);
    network.settle();
    assert.match(network.config, /"Phase":"moving"/, note);
    assert.equal(one.deviceTo(two), wayBy(from), note);
    one.cutOff.clear();
    network.settle();
    assertOn(network, to, note);
  });
});

test('hosts that come in the middle take part', () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const network = new ChangingNetwork(5, VNI1, randomOf(seed));
    const late = network.nodes.at(-1);
    assert.ok(late !== undefined);
    for (const node of network.nodes) if (node !== late) node.start();
    network.settle();
    network.begin(VNI7);
    for (let count = 0; count < EVENTS; count++) {
      network.happen();
      if (!late.isAlive && network.random() < 0.02) late.start();
    }
    if (!late.isAlive) late.start();
    network.settle();
    assertOn(network, VNI7, `seed ${seed}`);
  }
});
