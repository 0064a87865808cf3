import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import { Charon, type ConnectionNews, VICI_SOCKETS } from '#src/kernel/vici/charon.ts';
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
/** Milliseconds between two looks for connections that others took away: a millisecond for each, which the answer grows by. */
const lookEveryMs = (connections: number): number => Math.min(1_000, Math.max(50, connections));
/** After an attempt to agree that failed: this long, then twice as long each time. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * Connections of strongSwan's charon, over VICI. Whoever started it: nothing is asked before a network looks after
 * connections, and a charon that was started again has everything loaded again.
 */
export class CharonActuator implements Actuator {
  readonly kinds = [IKE_CONNECTION];
  readonly #components: CharonActuatorComponents;
  readonly #sockets: readonly string[];
  #charon: Charon | undefined;
  #connecting: Promise<Charon | undefined> | undefined;
  #wasConnected = false;
  #hasEnded = false;
  #signal: AbortSignal = AbortSignal.abort();
  readonly #isNeeded = Promise.withResolvers<void>();
  #listener: (event: KernelEvent) => void = () => {};
  /** Connections to be looked at: something was heard of them. */
  readonly #heard = new Set<string>();
  #isLooking = false;
  /** Those that were loaded from here, and are to stay. */
  readonly #loaded = new Set<string>();
  /** Attempts to agree that failed in a row, by connection. */
  readonly #attempts = new Map<string, number>();

  constructor(components: CharonActuatorComponents, sockets: readonly string[] = VICI_SOCKETS) {
    this.#components = components;
    this.#sockets = sockets;
  }

  async scan({ kinds }: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    if (!kinds.includes('ike-connection')) return;
    this.#isNeeded.resolve();
    // One that ends meanwhile is found again, and everything is compared then.
    const found = await (await this.#connect())?.list().catch(() => []);
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
    const charon = await this.#connect();
    if (charon === undefined) return verb === 'remove' ? undefined : this.#noCharon();
    const name = connectionName(object);
    if (verb === 'remove') {
      this.#loaded.delete(name);
      return charon.unload(object);
    }
    const refused = await charon.load(object);
    if (refused === undefined) this.#loaded.add(name);
    return refused;
  }

  #noCharon(): string {
    return `strongSwan's charon takes no connection on ${this.#sockets.join(' or ')}`;
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    this.#listener = listener;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#end(), { once: true });
    this.#keepConnected(signal).catch((error) => {
      if (!isAbort(error) && !signal.aborted) this.#components.log.error(messageOf(error));
    });
  }

  #end(): void {
    this.#hasEnded = true;
    this.#isNeeded.resolve();
    this.#charon?.close();
  }

  async #keepConnected(signal: AbortSignal): Promise<void> {
    await this.#isNeeded.promise;
    while (!signal.aborted) {
      const charon = await this.#connect();
      const connections = charon && (await this.#lookForMissing(charon).catch(() => 0));
      const pauseMs = connections === undefined ? CONNECT_EVERY_MS : lookEveryMs(connections);
      await this.#components.clock.sleep(pauseMs, signal);
    }
  }

  /** The charon that there is; a new connection where there was none, or none any more. */
  #connect(): Promise<Charon | undefined> {
    if (this.#charon !== undefined || this.#hasEnded) return Promise.resolve(this.#charon);
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #open(): Promise<Charon | undefined> {
    const charon = await Charon.find(this.#components, this.#sockets);
    if (charon === undefined) return undefined;
    try {
      await charon.listen((name, news) => this.#hear(name, news));
    } catch {
      charon.close();
      return undefined;
    }
    this.#charon = charon;
    charon.closed.addEventListener('abort', () => this.#lose(charon), { once: true });
    if (this.#hasEnded) charon.close();
    // It may have been started again, and then it knows nothing.
    else if (this.#wasConnected) this.#listener({ type: 'flushed' });
    this.#wasConnected = true;
    return charon;
  }

  #lose({ closed }: Charon): void {
    this.#charon = undefined;
    this.#loaded.clear();
    this.#attempts.clear();
    if (this.#hasEnded) return;
    this.#components.log.warning(`${messageOf(closed.reason)}; everything is loaded again when it is back`);
    this.#listener({ type: 'flushed' });
  }

  /** A connection that was taken away by others has no event: their names are asked for. */
  async #lookForMissing(charon: Charon): Promise<number> {
    const names = await charon.names();
    for (const name of this.#loaded) if (!names.has(name)) this.#hear(name, 'down');
    return names.size;
  }

  #hear(name: string, news: ConnectionNews): void {
    if (!this.#loaded.has(name)) return;
    // No look: hosts that have agreed make the tunnel's keys in the next step.
    if (news === 'up') this.#attempts.delete(name);
    else if (news === 'failed') void this.#hearLater(name);
    else {
      this.#heard.add(name);
      this.#lookAtHeard().catch(() => {});
    }
  }

  /** The peer may not know of this host yet. It is tried again after longer and longer pauses. */
  async #hearLater(name: string): Promise<void> {
    const attempts = this.#attempts.get(name) ?? 0;
    this.#attempts.set(name, attempts + 1);
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempts);
    try {
      await this.#components.clock.sleep(pauseMs, this.#signal);
    } catch {
      return;
    }
    this.#hear(name, 'down');
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
        else if (this.#loaded.delete(name)) this.#listener({ type: 'flushed' });
      }
    } finally {
      this.#isLooking = false;
    }
  }
}
