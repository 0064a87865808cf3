import type { DockerEvent } from '#src/docker/docker-api.ts';
import { DockerComparison, type DockerComparisonComponents } from '#src/driver/docker-comparison.ts';
import {
  DockerNetworks,
  type DockerNetworksComponents,
  type DockerNetworksOptions,
} from '#src/driver/docker-networks.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { Random } from '#src/sys/random.ts';

export interface DockerFollowerComponents extends DockerComparisonComponents, DockerNetworksComponents {
  readonly random: Random;
}

const PAUSES = { baseMs: 500, capMs: 5_000 };
/** Docker is compared with the book so often, and what it refused is tried again. */
const COMPARE_MS = 30_000;
/** Events come in groups, and a network that a user makes here is in Docker a moment after it is in the registry. */
const SETTLE_MS = 300;
/** Between two looks at a container for which Docker did not answer. */
const LOOK_AGAIN_MS = 1_000;

/**
 * Follows Docker through its API, outside of any call of the driver: Docker waits for the driver in those. It makes and
 * removes Docker's networks as tenants come and go, compares endpoints, and reports containers that run.
 */
export class DockerFollower {
  readonly #components: DockerFollowerComponents;
  readonly #comparison: DockerComparison;
  readonly #networks: DockerNetworks;
  /** Containers that are being looked at, and those that have to be looked at once more. */
  readonly #looking = new Set<string>();
  readonly #again = new Set<string>();
  #isConnected = false;
  #trouble: string | undefined = 'Docker has not answered yet';
  #asked = Promise.withResolvers<void>();

  constructor(components: DockerFollowerComponents, options: DockerNetworksOptions) {
    this.#components = components;
    this.#comparison = new DockerComparison(components);
    this.#networks = new DockerNetworks(components, options);
  }

  /** Docker's events come. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Why Docker is not followed, or what it refuses; `undefined` when all is well. */
  get trouble(): string | undefined {
    return this.#trouble ?? this.#networks.trouble;
  }

  /** Follows until the signal aborts, through restarts of Docker. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, directory, log } = this.#components;
    const backoff = new Backoff(this.#components, PAUSES);
    const stop = directory.observe(() => this.#ask());
    try {
      for (;;) {
        const life = new Lifetime(signal);
        try {
          await this.#follow(life, () => backoff.reset());
        } catch (error) {
          signal.throwIfAborted();
          const trouble = messageOf(error);
          if (this.#trouble === undefined || this.#isConnected)
            log.warning(`Docker can't be followed: ${trouble}`);
          this.#trouble = trouble;
        } finally {
          this.#isConnected = false;
          await life.stop();
        }
        await clock.sleep(backoff.next(), signal);
      }
    } finally {
      stop();
    }
  }

  #ask(): void {
    this.#asked.resolve();
  }

  async #follow(life: Lifetime, onConnected: () => void): Promise<never> {
    const { docker, log } = this.#components;
    const events = docker.events(life.signal)[Symbol.asyncIterator]();
    // Asked for first: what happens during the comparison is not missed.
    const first = events.next();
    first.catch(() => {});
    await this.#comparison.run(life.signal);
    this.#isConnected = true;
    if (this.#trouble !== undefined) log.info('Docker answers: its networks and containers are followed');
    this.#trouble = undefined;
    onConnected();
    life.run((signal) => this.#compareAtInterval(signal));
    life.run((signal) => this.#followTenants(signal));
    life.run(async () => {
      for (let next = await first; !next.done; next = await events.next())
        this.#hear(next.value, life.signal);
    });
    return life.ended();
  }

  async #compareAtInterval(signal: AbortSignal): Promise<never> {
    for (;;) {
      await this.#components.clock.sleep(COMPARE_MS, signal);
      await this.#comparison.run(signal);
    }
  }

  async #followTenants(signal: AbortSignal): Promise<never> {
    const { clock } = this.#components;
    for (;;) {
      // What changes from here on asks for another round.
      this.#asked = Promise.withResolvers<void>();
      await this.#networks.follow(signal);
      await orAborted(Promise.race([this.#asked.promise, clock.sleep(COMPARE_MS, signal)]), signal);
      await clock.sleep(SETTLE_MS, signal);
    }
  }

  #hear(event: DockerEvent, signal: AbortSignal): void {
    switch (event.type) {
      case 'start':
      case 'rename':
      case 'connect':
        this.#look(event.container, signal);
        return;
      case 'network-created':
      case 'network-removed':
      case 'die':
      case 'disconnect':
        return;
    }
  }

  /** Docker answers for a container that it is starting when that is done: the events of others do not wait for it. */
  #look(id: string, signal: AbortSignal): void {
    if (this.#looking.has(id)) {
      this.#again.add(id);
      return;
    }
    this.#looking.add(id);
    this.#learn(id, signal)
      .catch(() => {})
      .finally(() => {
        this.#looking.delete(id);
        if (this.#again.delete(id) && !signal.aborted) this.#look(id, signal);
      });
  }

  async #learn(id: string, signal: AbortSignal): Promise<void> {
    const { docker, clock, log } = this.#components;
    for (;;) {
      try {
        const container = await docker.container(id, signal);
        if (container?.running) await this.#comparison.learn(container);
        return;
      } catch (error) {
        signal.throwIfAborted();
        log.verbose(1, `could not look at container ${id.slice(0, 12)}: ${messageOf(error)}; trying again`);
        await clock.sleep(LOOK_AGAIN_MS, signal);
      }
    }
  }
}
