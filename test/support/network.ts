import assert from 'node:assert/strict';
import { bridgeOptionsOf, type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { StoreKind } from '#src/lab/network.ts';
import type { Store } from '#src/lab/store.ts';
import {
  CONFIG,
  FLANNELD,
  flagsFor,
  startFlanneld,
  startStore,
  subnetOf,
  waitForRoute,
  writeConfig,
} from './flanneld.ts';
import { type Owner, testLab } from './test-lab.ts';

export interface NetworkOptions {
  readonly api: 2 | 3;
  /** Default `etcd`. */
  readonly store?: StoreKind;
  /** The flanneld of each host, in order: there are as many hosts as programs. Default two of ours. */
  readonly programs?: readonly string[];
  readonly config?: string;
  /** Added to the flags of the scenario. */
  readonly flags?: readonly string[];
  /** False where one route leads to all peers. Default true. */
  readonly hasPeerRoutes?: boolean;
}

/** A host whose flanneld runs, with a container behind it. */
export interface Node {
  readonly host: Host;
  /** `10.0.65` */
  readonly subnet: string;
  readonly flags: readonly string[];
  readonly container: Container;
}

export interface Network {
  readonly lab: Lab;
  readonly etcd: Store;
  readonly nodes: readonly Node[];
}

/**
 * A whole network with plain namespaces as containers, for tests that need no Docker:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 *
 * Resolves when every host has a route to every other, where each has one of its own.
 */
export async function testNetwork(t: Owner, options: NetworkOptions): Promise<Network> {
  const { api, store = 'etcd', programs = [FLANNELD, FLANNELD], config = CONFIG } = options;
  const lab = await testLab(t, { hosts: programs.length });
  const etcd = await startStore(lab, store);
  await writeConfig(etcd, api, config);
  const nodes: Node[] = [];
  for (const [n, host] of lab.hosts.entries()) {
    const flags = [...flagsFor(host, etcd), ...(options.flags ?? [])];
    nodes.push(await startNode(host, flags, programs[n]));
  }
  for (const node of options.hasPeerRoutes === false ? [] : nodes) {
    for (const other of nodes) if (other !== node) await waitForRoute(node.host, other.subnet);
  }
  return { lab, etcd, nodes };
}

/** Starts flanneld on a host, then a bridge and a container as subnet.env says. */
export async function startNode(host: Host, flags: readonly string[], program?: string): Promise<Node> {
  const { subnetEnv } = await startFlanneld(host, flags, program);
  await makeBridge(host, bridgeOptionsOf(subnetEnv));
  return { host, flags, subnet: subnetOf(subnetEnv), container: await makeContainer(host, 'c') };
}

/** The first two nodes of a network. */
export function pairOf({ nodes }: Network): [Node, Node] {
  const [one, two] = nodes;
  assert.ok(one && two);
  return [one, two];
}
