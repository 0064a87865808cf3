import { MemoryRegistry } from '#src/registry/memory.ts';
import { assertNetworkName, type Networks } from '#src/registry/networks.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Networks within the process, for tests: a {@link MemoryRegistry} each. */
export class MemoryNetworks implements Networks {
  readonly api = 'memory';
  readonly description = 'memory';
  readonly #clock: Clock;
  readonly #registries = new Map<string, MemoryRegistry>();
  readonly #configs = new Map<string, string>();
  readonly #changed = new Set<() => void>();

  constructor(components: { readonly clock: Clock }) {
    this.#clock = components.clock;
  }

  /** The registry of one network, which is there before its config is. */
  registry(name: string): MemoryRegistry {
    const registry = this.#registries.get(name) ?? new MemoryRegistry({ clock: this.#clock });
    this.#registries.set(name, registry);
    return registry;
  }

  async list(signal: AbortSignal): Promise<readonly string[]> {
    signal.throwIfAborted();
    return [...this.#configs.keys()].sort();
  }

  async *watch(signal: AbortSignal): AsyncGenerator<readonly string[], void> {
    for (;;) {
      const change = Promise.withResolvers<void>();
      const abort = (): void => change.reject(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      this.#changed.add(change.resolve);
      // Awaited below, where the caller comes back.
      change.promise.catch(() => {});
      try {
        yield await this.list(signal);
        await change.promise;
      } finally {
        signal.removeEventListener('abort', abort);
        this.#changed.delete(change.resolve);
      }
    }
  }

  async readConfig(name: string, signal: AbortSignal): Promise<string | undefined> {
    signal.throwIfAborted();
    return this.#configs.get(name);
  }

  async writeConfig(
    name: string,
    text: string,
    previous: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    signal.throwIfAborted();
    assertNetworkName(name);
    return this.#change(name, text, previous);
  }

  async removeConfig(name: string, previous: string, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    return this.#change(name, undefined, previous);
  }

  async close(): Promise<void> {}

  #change(name: string, text: string | undefined, previous: string | undefined): boolean {
    if (this.#configs.get(name) !== previous) return false;
    if (text === undefined) this.#configs.delete(name);
    else this.#configs.set(name, text);
    this.registry(name).writeConfig(text);
    for (const wake of this.#changed) wake();
    return true;
  }
}
