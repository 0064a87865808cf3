import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import type { Kind } from '#src/state/kind.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';

/** An actuator of which nothing is loaded before somebody asks for its kinds. Its objects can be listed. */
export class LazyActuator<T extends Actuator> implements Actuator {
  readonly kinds: readonly Kind<KernelObject>[];
  readonly #load: () => Promise<T>;
  #loading: Promise<T> | undefined;
  #loaded: T | undefined;
  readonly #monitors: [listener: (event: KernelEvent) => void, signal: AbortSignal][] = [];

  /** `load`: its kinds are these. */
  constructor(kinds: readonly Kind<KernelObject>[], load: () => Promise<T>) {
    this.kinds = kinds;
    this.#load = load;
  }

  /** `undefined` before somebody has asked. */
  get loaded(): T | undefined {
    return this.#loaded;
  }

  async scan(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    if (!this.kinds.some(({ name }) => query.kinds.includes(name as KernelObject['kind']))) return;
    await (await this.open()).scan?.(query, visit);
  }

  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    return (await this.open()).apply(operations);
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    if (this.#loaded !== undefined) await this.#loaded.monitor(listener, signal);
    else this.#monitors.push([listener, signal]);
  }

  /** Loads it, once. A load that failed is tried again. */
  open(): Promise<T> {
    this.#loading ??= this.#begin().catch((error) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async #begin(): Promise<T> {
    const loaded = await this.#load();
    for (const monitor of this.#monitors.splice(0)) await loaded.monitor(...monitor);
    this.#loaded = loaded;
    return loaded;
  }
}
