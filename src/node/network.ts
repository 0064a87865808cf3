import { readSubnetFile } from '#src/docker/subnet-file.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import { Lifetime, untilAborted } from '#src/lib/lifetime.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { networkFigures } from '#src/node/network-figures.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import type { NetworkArtefacts, NetworkId } from '#src/node/network-id.ts';
import { makeDataPath, type NetworkParts, networkParts } from '#src/node/network-parts.ts';
import { describeNetwork } from '#src/node/network-status.ts';
import type { ProbeService } from '#src/node/probe-service.ts';
import { readableConfig } from '#src/node/readable-config.ts';
import { leaseTimes, registryTroubles } from '#src/node/registry-troubles.ts';
import { RunningNetwork } from '#src/node/running-network.ts';
import {
  devicesOfChange,
  joinNetwork,
  type OpenedNetwork,
  type Past,
  recordsOf,
  settleKeys,
  startFromMemory,
} from '#src/node/start-network.ts';
import { watchWays } from '#src/node/watch-ways.ts';
import type { WayWatch } from '#src/node/way-watch.ts';
import { readWireguardFigures } from '#src/node/wireguard-figures.ts';
import type { PeerProbe, WireguardFigures } from '#src/observe/api.ts';
import type { NetworkFigures } from '#src/observe/network-figures.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { OpenedRegistry } from '#src/registry/open-registry.ts';

/** How long a start waits for the registry before it forwards with what it remembers. */
const PATIENCE_MS = 3_000;
const BEFORE = 'the start to begin';

export interface NetworkRequest {
  readonly id: NetworkId;
  readonly options: FlanneldOptions;
  /** Called when the network is up, and once more when the registry answers after a start without it. */
  readonly onReady: () => void;
}

/**
 * One network on this host, from its start to its end. It owns its parts: none of them runs before {@link run} is called,
 * and none after its promise has settled. What it made in the kernel stays: packets go on while the daemon restarts.
 *
 * A start goes flannel's way: network config, interface, lease, device and rules, subnet.env, then the peers. A start
 * without the registry makes the same intent from what is remembered, and the registry's answer is applied to it later.
 */
export class Network {
  readonly #parts: NetworkParts;
  readonly #onReady: () => void;
  #startedAt = 0;
  #dataPath: DataPath | undefined;
  #running: RunningNetwork | undefined;
  #probes: ProbeService | undefined;
  #ways: WayWatch | undefined;
  /** What a start waits for; `undefined` once the network is up. */
  #waitingFor: string | undefined = BEFORE;

  constructor(host: NetworkHost, { id, options, onReady }: NetworkRequest) {
    this.#parts = networkParts(host, id, options);
    this.#onReady = onReady;
  }

  get id(): NetworkId {
    return this.#parts.id;
  }

  get artefacts(): NetworkArtefacts {
    return this.#parts.artefacts;
  }

  /** What it has in the kernel; `undefined` until its device is being made. */
  get dataPath(): DataPath | undefined {
    return this.#dataPath;
  }

  /** Its place in the registry; `undefined` until it has a lease there. */
  get joined(): Pick<RunningNetwork, 'membership' | 'registry'> | undefined {
    return this.#running;
  }

  get isUp(): boolean {
    return this.#waitingFor === undefined;
  }

  /** When the registry last showed that it has lost our lease, by the monotonic clock; `undefined` when it never did. */
  get leaseLostAt(): number | undefined {
    return this.#running?.leaseLostAt;
  }

  /** Why packets don't flow as they should, one clause each; nothing when they do. */
  get troubles(): string[] {
    return [
      ...(this.#waitingFor === undefined ? [] : [`waiting for ${this.#waitingFor}`]),
      ...(this.#dataPath?.troubles() ?? []),
      ...(this.#ways?.troubles ?? []),
      ...(this.#probes?.troubles ?? []),
      ...(this.#running?.troubles ?? this.#troublesFromMemory),
      ...this.#parts.trust.troubles,
    ];
  }

  /** What WireGuard says of the tunnels to a peer, as of now. */
  async wireguardFigures(): Promise<((lease: Lease) => WireguardFigures | undefined) | undefined> {
    const backend = this.#dataPath?.intent.backend;
    const { wireguard: tunnels } = this.#parts.host;
    return backend && tunnels && readWireguardFigures(tunnels, backend);
  }

  /** What was measured of the peer with this lease; `undefined` before the first look, and where nothing is measured. */
  probeOf(lease: string): PeerProbe | undefined {
    return this.#probes?.probeOf(lease);
  }

  /** Of a start without the registry, for as long as that does not answer. */
  get #troublesFromMemory(): readonly string[] {
    const { host, options } = this.#parts;
    if (this.#dataPath === undefined) return [];
    const silentMs = host.clock.monotonic() - this.#startedAt;
    return registryTroubles({ state: 'connecting', silentMs, lease: undefined, ...leaseTimes(options) });
  }

  /** Begins a rotation of WireGuard keys soon. Returns why that can't be. */
  rotate(): string | undefined {
    return this.#parts.rotation.request();
  }

  status(): Omit<NodeStatus, 'eventLoopDelayMs'> {
    const { id, options, host, trust } = this.#parts;
    return describeNetwork({
      name: id.name,
      identity: host.identity,
      troubles: this.troubles,
      dataPath: this.#dataPath,
      trust: trust.status,
      membership: this.#running?.membership,
      rotation: this.#parts.rotation.status,
      change: this.#running?.changeStatus,
      endpoints: options.etcdEndpoints.join(','),
      now: host.clock.monotonic(),
    });
  }

  /** What is counted of it, for the metrics. */
  figures(): NetworkFigures {
    return networkFigures({
      dataPath: this.#dataPath,
      membership: this.#running?.membership,
      putToRoute: this.#running?.putToRoute,
      probes: this.#probes?.counts,
    });
  }

  /** One line for a service manager. */
  get summary(): string {
    const dataPath = this.#dataPath;
    const { troubles } = this;
    if (dataPath === undefined) return troubles.join('; ');
    const subnets = valuesOf(dataPath.intent.subnets).map(formatPrefix).join(' and ');
    const text = `subnet ${subnets}, ${dataPath.table.accepted} peers`;
    const change = this.#running?.change;
    return [text, ...(change === undefined ? [] : [change]), ...troubles.slice(0, 1)].join('; ');
  }

  /** Runs until the signal aborts, and rejects with its reason, or with what made it impossible, once every part has ended. */
  async run(signal: AbortSignal): Promise<never> {
    const { host, id, artefacts, names } = this.#parts;
    this.#startedAt = host.clock.monotonic();
    const unlock = await host.locks.claim(artefacts.lock);
    if (unlock === undefined) throw alreadyServed(id);
    const life = new Lifetime(signal);
    try {
      await this.#start(life);
      return await life.ended();
    } finally {
      await life.stop();
      await this.#running?.remember();
      this.#running = undefined;
      this.#ways = undefined;
      this.#dataPath = undefined;
      this.#probes = undefined;
      this.#waitingFor = BEFORE;
      host.claims.release(id.prefix);
      await names.release();
      await unlock();
    }
  }

  async #start(life: Lifetime): Promise<void> {
    const { host, id, artefacts, memory, log, trust } = this.#parts;
    const { clock, files, onLoaded } = host;
    this.#waitFor(`the network config ${id.prefix}/config`);
    const remembered = await memory.recall();
    await trust.open();
    if (remembered !== undefined) trust.recall(remembered.own, recordsOf(remembered));
    const opening = this.#openRegistry(remembered?.config, life);
    const previous = await readSubnetFile(files, artefacts.subnetFile);
    if (remembered !== undefined && (await this.#isSlow(opening))) {
      this.#dataPath = await startFromMemory(this.#parts, { remembered, previous }, life);
      if (this.#dataPath !== undefined) this.#ready(this.#dataPath, life);
    }
    const { registry, config, missing } = await opening;
    onLoaded();
    const read = await readableConfig({ registry, clock, log }, config, life.signal, () =>
      this.#waitFor('a network config that can be used'),
    );
    await this.#startFromRegistry({ registry, missing, ...read }, { remembered, previous }, life);
  }

  /** Begun first, because it takes the longest and needs nothing else. Closed with the network. */
  #openRegistry(lastConfig: string | undefined, life: Lifetime): Promise<OpenedRegistry> {
    const { host, id, createLogger } = this.#parts;
    const opening = host.openRegistry(
      { prefix: id.prefix, lastConfig, logger: createLogger('registry') },
      life.signal,
    );
    opening.catch(() => {});
    life.run(async (signal) => {
      const { registry } = await opening;
      await untilAborted(signal);
      await registry.close();
    });
    return opening;
  }

  /** Says what a start waits for. A host that forwards already waits for nothing. */
  #waitFor(what: string): void {
    if (this.#dataPath === undefined) this.#waitingFor = what;
  }

  /** Whether the registry needs longer than a start should. */
  async #isSlow(opening: Promise<unknown>): Promise<boolean> {
    const timer = new AbortController();
    const answered = opening.then(
      () => false,
      () => false,
    );
    const late = this.#parts.host.clock.sleep(PATIENCE_MS, timer.signal).then(
      () => true,
      () => false,
    );
    const slow = await Promise.race([answered, late]);
    timer.abort();
    return slow;
  }

  /** Takes the lease, applies the intent, and follows the registry, the underlay and the config from there. */
  async #startFromRegistry(opened: OpenedNetwork, past: Past, life: Lifetime): Promise<void> {
    const parts = this.#parts;
    const fromMemory = this.#dataPath;
    const joined = await joinNetwork(
      parts,
      opened,
      past,
      fromMemory,
      (what) => this.#waitFor(what),
      life.signal,
    );
    const { intent, draft } = joined;
    this.#waitFor('the host to be set up');
    await parts.names.choose(draft.prepared.instance, past.remembered?.instance);
    const dataPath = fromMemory ?? makeDataPath(parts, { intent, previous: past.previous }, life);
    if (fromMemory === undefined) await settleKeys(parts, dataPath, joined.membership.attributes);
    const applied = dataPath.apply(intent, parts.names.use(intent));
    await applied.device;
    this.#waitFor('the peers to be programmed');
    this.#dataPath = dataPath;
    // The peers of a start from memory are in the table already.
    const remembered = fromMemory === undefined ? past.remembered : undefined;
    const running = new RunningNetwork(parts, { ...opened, ...joined, dataPath, remembered });
    this.#running = running;
    // Programs and the disk are waited for while the peers are taken.
    await Promise.all([applied.done, running.start(life)]);
    this.#ready(dataPath, life);
    running.goOn(life);
    await dataPath.removeDevices(devicesOfChange(parts, past.remembered, intent));
    await dataPath.removeLeftovers(life.signal);
  }

  #ready(dataPath: DataPath, life: Lifetime): void {
    const again = this.#waitingFor === undefined;
    this.#waitingFor = undefined;
    const ms = Math.round(this.#parts.host.clock.monotonic() - this.#startedAt);
    const { subnets, backend } = dataPath.intent;
    this.#parts.log.info(
      `Running backend ${backend.type}: subnet ${valuesOf(subnets).map(formatPrefix).join(' and ')}, ${dataPath.table.accepted} peers, ${again ? 'the registry is back' : `ready after ${ms} ms`}`,
    );
    this.#onReady();
    dataPath.watchDrops(life.signal);
    this.#ways ??= watchWays(this.#parts, dataPath, life.signal);
    if (!again) life.run((signal) => this.#measure(dataPath, signal));
  }

  /**
   * Measures the peers and answers theirs, from the first moment at which packets flow. Packets flow without it as well: a
   * program that was replaced meanwhile can't load it, and goes on.
   */
  async #measure(dataPath: DataPath, signal: AbortSignal): Promise<void> {
    try {
      const sockets = await this.#parts.host.measuring?.();
      if (sockets === undefined) return;
      const { ProbeService } = await import('#src/node/probe-service.ts');
      signal.throwIfAborted();
      const probes = new ProbeService(this.#parts, dataPath, sockets);
      this.#probes = probes;
      await probes.run(signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#probes = undefined;
      const text = `Peers are not measured any more: ${messageOf(error)}`;
      this.#parts.log.error(`${text}; restart flanneld`);
      this.#parts.events.note({ type: 'failure', severity: 'error', subject: 'probes', text });
    }
  }
}

const alreadyServed = ({ prefix }: NetworkId): WeftError =>
  new WeftError('running', `another flanneld serves the network ${prefix} on this host already`, {
    remedy: 'stop it first; a second network needs an --etcd-prefix, a --subnet-file and a device of its own',
  });
