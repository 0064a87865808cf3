import { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { Network } from '#src/node/network.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import { type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import { NetworkSet } from '#src/node/network-set.ts';
import { serveHealth, serveLocally } from '#src/node/node-servers.ts';
import { type HostComponents, networkHost } from '#src/node/shared-host.ts';
import { LoopDelay } from '#src/observe/loop-delay.ts';
import { formatMetrics } from '#src/observe/metrics.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';

const STATUS_EVERY_MS = 5_000;

/**
 * The process on its host: the kernel and one reconciler, the servers, the service manager, and the networks. With one
 * network the end of the network is the end of the process, as with flannel; of several each has an end of its own.
 */
export class Host {
  readonly #options: FlanneldOptions;
  readonly #components: HostComponents;
  readonly #log: Logger;
  readonly #loopDelay = new LoopDelay();
  #only: Network | undefined;
  #set: NetworkSet | undefined;

  constructor(options: FlanneldOptions, components: HostComponents) {
    this.#options = options;
    this.#components = components;
    this.#log = components.createLogger('host');
  }

  /** Runs until the signal aborts, and rejects with its reason; or with what made a start impossible. */
  async run(signal: AbortSignal): Promise<never> {
    const life = new Lifetime(signal);
    this.#loopDelay.start();
    // The kernel and the rules are looked at first; an error of theirs is waited for below.
    const host = this.#prepare(life);
    host.catch(() => {});
    const stopHealth = await serveHealth(this.#options, {
      readiness: () => ({ ready: this.#troubles.length === 0, reasons: this.#troubles }),
      metrics: () => formatMetrics(this.#statuses()),
    });
    try {
      life.run((ended) => this.#reportStatus(ended));
      this.#startNetworks(await host, life);
      return await life.ended();
    } finally {
      await life.stop();
      await stopHealth();
      this.#loopDelay.stop();
    }
  }

  /** What the networks share, as soon as kernel and rules are watched. */
  async #prepare(life: Lifetime): Promise<NetworkHost> {
    const { files } = this.#components;
    const { signal } = life;
    const identity = readNodeIdentity({ files, log: this.#log }, this.#options.stateDir);
    const host = networkHost(this.#components, this.#options, await identity, signal);
    await host.start(signal);
    return host;
  }

  #startNetworks(host: NetworkHost, life: Lifetime): void {
    const { etcdPrefix, networks } = this.#options;
    if (networks.length === 0) {
      const network = this.#makeNetwork(host, { prefix: etcdPrefix });
      this.#only = network;
      life.run((signal) => this.#serve(network, signal));
      return;
    }
    const set = new NetworkSet(
      {
        ...this.#components,
        log: this.#log,
        make: (name) => this.#makeNetwork(host, namedNetwork(etcdPrefix, name)),
        run: (network, signal) => this.#serve(network, signal),
      },
      life,
    );
    this.#set = set;
    for (const name of networks) set.add(name);
  }

  #makeNetwork(host: NetworkHost, id: NetworkId): Network {
    return new Network(host, { id, options: this.#options, onReady: () => void this.#sayReady() });
  }

  /** Runs a network, with its local API. */
  async #serve(network: Network, signal: AbortSignal): Promise<never> {
    const { files, folders } = this.#components;
    const stop = await serveLocally(
      {
        files,
        folders,
        log: this.#log,
        status: () => ({ ...network.status(), eventLoopDelayMs: this.#loopDelay.take() }),
      },
      network.artefacts.socket,
    );
    try {
      return await network.run(signal);
    } finally {
      await stop();
    }
  }

  *#networks(): Generator<{ readonly network: Network; readonly failure: string | undefined }> {
    if (this.#only !== undefined) yield { network: this.#only, failure: undefined };
    yield* this.#set?.members() ?? [];
  }

  get #troubles(): string[] {
    const troubles = Array.from(this.#networks(), ({ network, failure }) => {
      const { title } = network.artefacts;
      const all = failure === undefined ? network.troubles : [failure];
      return title === '' ? all : all.map((trouble) => `${title}: ${trouble}`);
    }).flat();
    return this.#only === undefined && this.#set === undefined
      ? ['waiting for the start to begin', ...troubles]
      : troubles;
  }

  #statuses(): NodeStatus[] {
    const eventLoopDelayMs = this.#loopDelay.take();
    return Array.from(this.#networks(), ({ network }) => ({ ...network.status(), eventLoopDelayMs }));
  }

  /** Started: Docker may go on. With several networks that is when all of them are up. */
  async #sayReady(): Promise<void> {
    const all = [...this.#networks()];
    if (!all.every(({ network }) => network.isUp)) return;
    await this.#components.serviceManager.ready(this.#summary);
  }

  /** One line for a service manager. */
  get #summary(): string {
    const lines = Array.from(this.#networks(), ({ network, failure }) =>
      [network.id.name, failure ?? network.summary].filter(Boolean).join(': '),
    );
    return lines.join(' | ');
  }

  async #reportStatus(signal: AbortSignal): Promise<void> {
    for (let reported = this.#summary; ; ) {
      await this.#components.clock.sleep(STATUS_EVERY_MS, signal);
      const now = this.#summary;
      if (now !== reported) await this.#components.serviceManager.status(now);
      reported = now;
    }
  }
}
