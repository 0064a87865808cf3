import assert from 'node:assert/strict';
import { parseEnv } from 'node:util';
import type { Container } from '#src/lab/container.ts';
import { Docker, firstInPath } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { pingOnce } from '#src/lab/reach.ts';
import type { Store } from '#src/lab/store.ts';
import { callerSeenBy, untilListening } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import type { Engine } from './docker-engines.ts';
import {
  CONFIG,
  flagsFor,
  MK_DOCKER_OPTS,
  startFlanneld,
  startStore,
  subnetOf,
  WEFT,
  waitForRoute,
  writeConfig,
} from './flanneld.ts';
import { type Owner, testLab } from './test-lab.ts';

/** A Docker host on the overlay, with a container that answers its callers. */
export interface DockerNode {
  readonly host: Host;
  readonly flags: readonly string[];
  /** `10.0.65` */
  readonly subnet: string;
  readonly docker: Docker;
  readonly web: Container;
}

export interface DockerNetwork {
  readonly lab: Lab;
  readonly etcd: Store;
  readonly nodes: readonly [DockerNode, DockerNode];
}

export interface DockerNetworkOptions {
  readonly engine: Engine;
  readonly config?: string;
  /** Added to the flags of the scenario. */
  readonly flags?: readonly string[];
  /** Further words for mk-docker-opts: `--docker-version=20.10` for a dockerd without doors. */
  readonly dockerOptions?: readonly string[];
  /** Done on each host, by its number from 1, before flanneld starts. */
  readonly beforeStart?: (host: Host, number: number) => Promise<void>;
  /** Starts dockerd and its container first, with what an earlier flanneld wrote. */
  readonly dockerFirst?: boolean;
}

/** A server that answers with the caller's address. */
export const WEB = ['httpd', '-f', '-p', '0.0.0.0:8080', '-h', '/www'] as const;

/** Runs a container that answers its callers; resolves when it does. */
export async function runWeb(
  docker: Docker,
  name: string,
  options: readonly string[] = [],
): Promise<Container> {
  const web = await docker.run(name, WEB, options);
  await untilListening(web);
  return web;
}

/**
 * Two Docker hosts with what mk-docker-opts writes for them and nothing else; `live-restore` is on:
 *
 *     store .190     h1 .191 flanneld, dockerd ── docker0 ── web     h2 .192 flanneld, dockerd ── docker0 ── web
 */
export async function dockerNetwork(t: Owner, options: DockerNetworkOptions): Promise<DockerNetwork> {
  const { engine, config = CONFIG, dockerFirst = false } = options;
  const lab = await testLab(t, { hosts: 2 });
  const etcd = await startStore(lab, 'embedded');
  await writeConfig(etcd, 3, config);
  const nodeOf = async (host: Host, number: number): Promise<DockerNode> => {
    await options.beforeStart?.(host, number);
    const flags = [...flagsFor(host, etcd), ...(options.flags ?? [])];
    const { daemon, subnetEnv } = await startFlanneld(host, flags);
    const dockerOptions = await writtenOptions(host, engine, options.dockerOptions);
    if (dockerFirst) {
      await daemon.stop();
      await host.must([WEFT, 'cleanup', ...flags]);
    }
    const docker = await Docker.start(host, {
      options: dockerOptions,
      cgroup: lab.cgroup,
      programs: engine.programs,
      config: { ...engine.config, 'live-restore': true },
    });
    await docker.buildImage();
    const web = await runWeb(docker, 'web');
    if (dockerFirst) await startFlanneld(host, flags);
    return { host, flags, subnet: subnetOf(subnetEnv), docker, web };
  };
  const [h1, h2] = lab.hosts;
  if (h1 === undefined || h2 === undefined) throw new Error('a lab of two hosts has two');
  const nodes = await Promise.all([nodeOf(h1, 1), nodeOf(h2, 2)]);
  await waitForRoute(h1, nodes[1].subnet);
  await waitForRoute(h2, nodes[0].subnet);
  return { lab, etcd, nodes };
}

/** What mk-docker-opts writes on a host for this engine's dockerd. */
export async function writtenOptions(
  host: Host,
  { programs }: Engine,
  words: readonly string[] = [],
): Promise<string[]> {
  await host.must([...firstInPath(programs), MK_DOCKER_OPTS, '-d', '/run/docker_opts.env', ...words]);
  const { DOCKER_OPTS = '' } = parseEnv((await host.read('/run/docker_opts.env')) ?? '');
  return DOCKER_OPTS.split(' ').filter(Boolean);
}

/** Containers of both hosts reach each other by ICMP and TCP, with their own addresses. */
export async function assertReach({ nodes: [one, two] }: DockerNetwork): Promise<void> {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    // Docker puts rules before ours when it starts a container, and flanneld follows a moment later.
    await until(async () => (await pingOnce(from.web, to.web)).ms !== undefined, {
      what: `answer of ${to.host.name} to ${from.host.name}`,
      timeoutMs: 20_000,
      signal: from.host.signal,
    });
    assert.equal(await callerSeenBy(from.web, to.web.address), from.web.address);
  }
}
