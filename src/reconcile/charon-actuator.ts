import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import { Charon, VICI_SOCKETS } from '#src/kernel/vici/charon.ts';
import type { ViciComponents } from '#src/kernel/vici/vici-client.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import { connectionName, IKE_CONNECTION } from '#src/state/kinds/ike-connection.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';

export interface CharonActuatorComponents extends ViciComponents {
  readonly log: Logger;
}

/** Milliseconds between two attempts to connect, while a network needs charon. */
const CONNECT_EVERY_MS = 250;

/**
 * Connections of strongSwan's charon, over VICI. Whoever started it: nothing is asked before a network looks after
 * connections, and a charon that was started again has everything loaded again.
 */
export class CharonActuator implements Actuator {
  readonly kinds = [IKE_CONNECTION];
  readonly #components: CharonActuatorComponents;
  readonly #sockets: readonly string[];
  #charon: Charon | undefined;
  #isNeeded = Promise.withResolvers<void>();
  #listener: (event: KernelEvent) => void = () => {};
  /** Connections to be looked at: something was heard of them. */
  readonly #heard = new Set<string>();
  #isLooking = false;
  /** Those that are being changed from here, and those that were taken away: charon speaks of them as well. */
  readonly #changing = new Set<string>();
  readonly #unloaded = new Set<string>();

  constructor(components: CharonActuatorComponents, sockets: readonly string[] = VICI_SOCKETS) {
    this.#components = components;
    this.#sockets = sockets;
  }

  async scan({ kinds }: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    if (!kinds.includes('ike-connection')) return;
    this.#isNeeded.resolve();
    // One that ends meanwhile is found again, and everything is compared then.
    const found = await this.#charon?.list().catch(() => []);
    for (const connection of found ?? []) visit(connection);
  }

  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    const results: OperationResult[] = [];
    for (const operation of operations) {
      const message = await this.#change(operation).catch(messageOf);
      results.push(
        message === undefined
          ? { operation, done: true }
          : { operation, done: false, error: { errno: 'EAGAIN', message } },
      );
    }
    return results;
  }

  async #change({ verb, object }: Operation): Promise<string | undefined> {
    if (object.kind !== 'ike-connection') return `charon has no ${object.kind}`;
    if (this.#charon === undefined) return verb === 'remove' ? undefined : this.#noCharon();
    const name = connectionName(object);
    this.#changing.add(name);
    if (verb === 'remove') this.#unloaded.add(name);
    else this.#unloaded.delete(name);
    try {
      return verb === 'remove' ? await this.#charon.unload(object) : await this.#charon.load(object);
    } finally {
      this.#changing.delete(name);
    }
  }

  #noCharon(): string {
    return `strongSwan's charon takes no connection on ${this.#sockets.join(' or ')}`;
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    this.#listener = listener;
    this.#follow(signal).catch((error) => {
      if (!isAbort(error) && !signal.aborted) this.#components.log.error(messageOf(error));
    });
  }

  /** Keeps a connection to charon while there is one. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components;
    signal.addEventListener('abort', () => this.#isNeeded.resolve(), { once: true });
    await this.#isNeeded.promise;
    while (!signal.aborted) {
      const charon = await this.#open();
      if (charon !== undefined) {
        this.#charon = charon;
        log.info('Connected to charon');
        this.#listener({ type: 'flushed' });
        await ended(charon, signal);
        this.#charon = undefined;
        this.#unloaded.clear();
        charon.close();
        if (signal.aborted) return;
        log.warning(`${messageOf(charon.closed.reason)}; everything is loaded again when it is back`);
        this.#listener({ type: 'flushed' });
      }
      await clock.sleep(CONNECT_EVERY_MS, signal);
    }
  }

  async #open(): Promise<Charon | undefined> {
    const charon = await Charon.find(this.#components, this.#sockets);
    try {
      await charon?.listen((name) => this.#hear(name));
      return charon;
    } catch {
      charon?.close();
      return undefined;
    }
  }

  #hear(name: string): void {
    if (this.#changing.has(name) || this.#unloaded.has(name)) return;
    this.#heard.add(name);
    this.#lookAtHeard().catch(() => {});
  }

  async #lookAtHeard(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      for (const name of this.#heard) {
        this.#heard.delete(name);
        const [object] = (await this.#charon?.list(name)) ?? [];
        if (object !== undefined) this.#listener({ type: 'changed', object });
        // What is gone is not named by its parts.
        else this.#listener({ type: 'flushed' });
      }
    } finally {
      this.#isLooking = false;
    }
  }
}

/** Resolves when the connection has ended, or the signal aborts. */
function ended(charon: Charon, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const either = AbortSignal.any([charon.closed, signal]);
    if (either.aborted) resolve();
    else either.addEventListener('abort', () => resolve(), { once: true });
  });
}
