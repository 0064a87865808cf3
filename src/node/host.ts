import { Lifetime, untilAborted } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import { VERSION } from '#src/lib/version.ts';
import { cleanAfter } from '#src/node/clean-after.ts';
import { isDriverAskedFor, untilDocker } from '#src/node/docker-presence.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { HostApi } from '#src/node/host-api.ts';
import { hostMetrics } from '#src/node/host-metrics.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { loadDriver } from '#src/node/load-driver.ts';
import { Network } from '#src/node/network.ts';
import { NetworkFollower } from '#src/node/network-follower.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import { driverSocket, type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import { type NetworkMember, NetworkSet } from '#src/node/network-set.ts';
import { serveHealth } from '#src/node/node-servers.ts';
import { type HostComponents, networkHost, type SharedHost } from '#src/node/shared-host.ts';
import type { TenantService } from '#src/node/tenant-service.ts';
import { watchReadiness } from '#src/node/watch-readiness.ts';
import { feedWatchdog } from '#src/node/watchdog.ts';
import type { DriverStatus } from '#src/observe/driver-status.ts';
import { LoopDelay } from '#src/observe/loop-delay.ts';
import { type Family, formatFamilies } from '#src/observe/metric.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { untilBeat } from '#src/sys/beat.ts';

const STATUS_EVERY_MS = 5_000;
/** After this the driver is loaded though a network is not up: its registry may be down. */
const HEAD_START_MS = 1_000;
/** A store that is emptied loses configs and leases at one time, in either order. */
const EMPTIED_WITHIN_MS = 30_000;

/**
 * The process on its host: the kernel and one reconciler, the servers, the service manager, and the
 * networks. With one network the end of the network is the end of the process, as with flannel;
 * with several, each ends by itself.
 */
export class Host {
  readonly #options: FlanneldOptions;
  readonly #components: HostComponents;
  readonly #log: Logger;
  readonly #loopDelay = new LoopDelay();
  readonly #api: HostApi;
  #only: Network | undefined;
  #set: NetworkSet | undefined;
  #tenants: TenantService | undefined;
  /** The service manager knows that all networks are up. */
  readonly #isUp = Promise.withResolvers<void>();
  /** Whether it is known which networks there are. */
  #isListed = true;

  constructor(options: FlanneldOptions, components: HostComponents) {
    this.#options = options;
    this.#components = components;
    this.#log = components.createLogger('host');
    this.#api = new HostApi({ ...components, log: this.#log, metrics: () => this.#metrics() });
  }

  /** Runs until the signal aborts, and rejects with its reason; or with what made a start impossible. */
  async run(signal: AbortSignal): Promise<never> {
    const life = new Lifetime(signal);
    this.#loopDelay.start();
    // The kernel and the rules are looked at first; an error of theirs is waited for below.
    const host = this.#prepare(life);
    host.catch(() => {});
    let stopHealth = async (): Promise<void> => {};
    try {
      stopHealth = await serveHealth(this.#options, {
        readiness: () => ({ ready: this.#troubles.length === 0, reasons: this.#troubles }),
        metrics: async () => formatFamilies(await this.#metrics()),
      });
      life.run((ended) => this.#reportStatus(ended));
      life.run((ended) => this.#noteReadiness(ended));
      const { reconciler } = await host;
      // systemd waits for signs of life from READY on.
      const stepMs = (): number => Math.max(reconciler.stepMs, this.#tenants?.stepMs ?? 0);
      life.run((ended) => feedWatchdog({ ...this.#components, log: this.#log, stepMs }, ended));
      await this.#startNetworks(await host, life);
      if (this.#options.dockerDriver !== 'off')
        life.run(async (ended) => this.#serveTenants(await host, ended));
      return await life.ended();
    } finally {
      await life.stop();
      await stopHealth();
      this.#loopDelay.stop();
    }
  }

  /** What the networks share, as soon as kernel and rules are watched. */
  async #prepare(life: Lifetime): Promise<SharedHost> {
    const { files } = this.#components;
    const { signal } = life;
    const identity = readNodeIdentity({ files, log: this.#log }, this.#options.stateDir);
    const { eventsOf } = this.#api;
    const host = networkHost({ ...this.#components, eventsOf }, this.#options, await identity, signal);
    await host.start(signal);
    return host;
  }

  async #startNetworks(host: SharedHost, life: Lifetime): Promise<void> {
    const { etcdPrefix, watchNetworks } = this.#options;
    const networks = this.#networkNames;
    const named = networks.map((name) => namedNetwork(etcdPrefix, name).prefix);
    if (!watchNetworks) await host.removeOrphans(named.length === 0 ? [etcdPrefix] : named);
    if (named.length === 0 && !watchNetworks) {
      const network = this.#makeNetwork(host, { prefix: etcdPrefix });
      this.#only = network;
      life.run((signal) => this.#serve(host, { network, failure: undefined }, () => network.run(signal)));
      return;
    }
    const set = new NetworkSet(
      {
        ...this.#components,
        log: this.#log,
        make: (name) => this.#makeNetwork(host, namedNetwork(etcdPrefix, name)),
        serve: (member, running) => this.#serve(host, member, running),
      },
      life,
    );
    if (watchNetworks) life.run((signal) => this.#followNetworks(host, set, signal));
    else for (const name of networks) set.add(name);
    this.#set = set;
  }

  async #serveTenants(host: SharedHost, signal: AbortSignal): Promise<void> {
    const { reconciler, identity } = host;
    const status = () => {
      const docker = this.#driverStatus;
      const ready = docker.troubles.length === 0;
      return { version: VERSION, node: identity, ready, troubles: [], docker };
    };
    // A host without Docker does without all of it.
    await untilDocker(this.#components, this.#options, signal);
    await this.#networksFirst(signal);
    const view = () => this.#tenants?.view() ?? [];
    const stop = await this.#api.serveDriver(driverSocket(this.#options), status, view);
    try {
      const TenantService = await loadDriver(this.#log);
      if (TenantService === undefined) return await untilAborted(signal);
      const events = this.#api.eventsOf(undefined);
      const components = { ...this.#components, reconciler, identity, events };
      this.#tenants = new TenantService(components, this.#options);
      await this.#tenants.run(signal);
    } finally {
      await stop();
    }
  }

  /** Loading the driver takes a processor that the networks' start needs: a driver that nobody asked for lets them go first. */
  async #networksFirst(signal: AbortSignal): Promise<void> {
    if (isDriverAskedFor(this.#components, this.#options)) return;
    const { clock } = this.#components;
    await orAborted(Promise.race([this.#isUp.promise, clock.sleep(HEAD_START_MS, signal)]), signal);
  }

  /** `--networks=` names none. */
  get #networkNames(): readonly string[] {
    return this.#options.networks.filter((name) => name !== '');
  }

  /** Networks come and go with their configs. */
  async #followNetworks(host: SharedHost, set: NetworkSet, signal: AbortSignal): Promise<void> {
    this.#isListed = false;
    const networks = await host.openNetworks(this.#components.createLogger('registry'), signal);
    const life = new Lifetime(signal);
    const follower = new NetworkFollower(
      { ...this.#components, networks, log: this.#log },
      {
        only: this.#networkNames,
        onThere: (name) => set.add(name),
        onGone: (name, since) => this.#letGo(set, name, since),
        onListed: () => {
          this.#isListed = true;
          life.run(() => host.removeOrphans(Array.from(set.members(), ({ network }) => network.id.prefix)));
          void this.#sayReady();
        },
      },
    );
    try {
      life.run((ended) => follower.follow(ended));
      life.run((ended) => follower.reap(ended));
      await life.ended();
    } finally {
      await life.stop();
      await networks.close();
    }
  }

  /**
   * A network without a config goes, with all it made. If its lease is gone as well, its store was
   * emptied.
   */
  async #letGo(set: NetworkSet, name: string, since: number): Promise<void> {
    const network = set.get(name);
    if (network === undefined) return;
    if ((network.leaseLostAt ?? Number.NEGATIVE_INFINITY) >= since - EMPTIED_WITHIN_MS) {
      this.#log.error(
        `The registry has lost the config of network ${name} and its leases: the network goes on as it was; write the config again`,
      );
      return;
    }
    await set.remove(name);
    await cleanAfter(this.#components, { options: this.#options, id: network.id, log: this.#log });
  }

  #makeNetwork(host: NetworkHost, id: NetworkId): Network {
    return new Network(host, { id, options: this.#options, onReady: () => void this.#sayReady() });
  }

  /** Answers `weft status` for a network while it runs, and while it waits to be started again. */
  async #serve(host: SharedHost, member: NetworkMember, running: () => Promise<void>): Promise<void> {
    const { network } = member;
    const status = (): NodeStatus => this.#statusOf(member, this.#loopDelay.take());
    const stop = await this.#api.serveNetwork(network, status, () => host.reconciler.view());
    try {
      await running();
    } finally {
      await stop();
    }
  }

  #statusOf({ network, failure }: NetworkMember, eventLoopDelayMs: number): NodeStatus {
    const status = { ...network.status(), eventLoopDelayMs, docker: this.#driverStatus };
    if (failure === undefined || network.isUp) return status;
    return { ...status, ready: false, troubles: [failure] };
  }

  get #driverStatus(): DriverStatus {
    return this.#tenants?.status() ?? { state: this.#driverState, troubles: [], networks: [] };
  }

  /** Of a driver that is not loaded. */
  get #driverState(): DriverStatus['state'] {
    if (this.#options.dockerDriver === 'off') return 'off';
    return isDriverAskedFor(this.#components, this.#options) ? 'starting' : 'waiting';
  }

  *#networks(): Generator<NetworkMember> {
    if (this.#only !== undefined) yield { network: this.#only, failure: undefined };
    yield* this.#set?.members() ?? [];
  }

  get #troubles(): string[] {
    const troubles = Array.from(this.#networks(), ({ network, failure }) => {
      const { title } = network.artefacts;
      const all = failure === undefined || network.isUp ? network.troubles : [failure];
      return title === '' ? all : all.map((trouble) => `${title}: ${trouble}`);
    }).flat();
    troubles.push(...(this.#tenants?.troubles ?? []).map((trouble) => `tenants: ${trouble}`));
    const isStarted = this.#only !== undefined || this.#set !== undefined;
    if (!isStarted) return ['waiting for the start to begin'];
    return this.#isListed ? troubles : ['waiting for the list of networks', ...troubles];
  }

  #metrics(): Promise<Family[]> {
    const eventLoopDelayMs = this.#loopDelay.take();
    return hostMetrics(this.#components, {
      networks: () =>
        Array.from(this.#networks(), (member) => ({
          status: this.#statusOf(member, eventLoopDelayMs),
          figures: member.network.figures(),
        })),
      driverStatus: () => this.#driverStatus,
      driverFigures: () => this.#tenants?.figures(),
    });
  }

  /** Started: Docker may go on. With several networks that is when all of them are up. */
  async #sayReady(): Promise<void> {
    const all = [...this.#networks()];
    if (!this.#isListed || !all.every(({ network }) => network.isUp)) return;
    await this.#components.serviceManager.ready(this.#summary);
    this.#isUp.resolve();
  }

  /** One line for a service manager. */
  get #summary(): string {
    const lines = Array.from(this.#networks(), ({ network, failure }) =>
      [network.id.name, network.isUp ? network.summary : (failure ?? network.summary)]
        .filter(Boolean)
        .join(': '),
    );
    return lines.join(' | ');
  }

  #noteReadiness(signal: AbortSignal): Promise<never> {
    const [networks, tenantTroubles] = [() => this.#networks(), () => this.#tenants?.troubles];
    const sources = { ...this.#components, eventsOf: this.#api.eventsOf, networks, tenantTroubles };
    return watchReadiness(sources, signal);
  }

  async #reportStatus(signal: AbortSignal): Promise<void> {
    for (let reported = this.#summary; ; ) {
      await untilBeat(this.#components.clock, STATUS_EVERY_MS, signal);
      const now = this.#summary;
      if (now !== reported) await this.#components.serviceManager.status(now);
      reported = now;
    }
  }
}
