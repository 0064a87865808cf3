import { MemoryRecords, type MemoryRevision } from '#src/registry/memory-records.ts';
import type { Registry } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

/** A registry within the process, for tests and for several agents in one process. */
export class MemoryRegistry extends MemoryRecords implements Registry {
  readonly #revision: MemoryRevision;
  readonly #changed = new Set<() => void>();
  readonly ipv6Leases: MemoryRecords;
  #config: string | undefined;

  constructor({ clock }: { readonly clock: Clock }) {
    const revision = { value: 1n };
    super({ clock, revision });
    this.#revision = revision;
    this.ipv6Leases = new MemoryRecords({ clock, revision });
  }

  /** What an operator does with etcdctl. */
  writeConfig(text: string | undefined): void {
    this.#config = text;
    this.#revision.value++;
    for (const wake of this.#changed) wake();
  }

  async readConfig(signal: AbortSignal): Promise<string | undefined> {
    signal.throwIfAborted();
    return this.#config;
  }

  async replaceConfig(previous: string, text: string, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (this.#config !== previous) return false;
    this.writeConfig(text);
    return true;
  }

  async *watchConfig(signal: AbortSignal): AsyncGenerator<string | undefined, void> {
    for (;;) {
      signal.throwIfAborted();
      const change = Promise.withResolvers<void>();
      const abort = (): void => change.reject(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      this.#changed.add(change.resolve);
      // Awaited below, where the caller comes back.
      change.promise.catch(() => {});
      try {
        const known = this.#config;
        yield known;
        if (this.#config === known) await change.promise;
      } finally {
        signal.removeEventListener('abort', abort);
        this.#changed.delete(change.resolve);
      }
    }
  }

  reconnect(): void {}
}
