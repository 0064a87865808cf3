import type { HeldLease, Membership, PeerMessage, RegistryStatus } from '#src/membership/membership.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import type { LeaseRecord, WatchEvent } from '#src/registry/registry.ts';

/** The members of one network in this process. There is no registry behind it: each member hears the others at once. */
export class MemoryNetwork {
  readonly #records = new Map<string, LeaseRecord>();
  readonly #listeners = new Set<(message: PeerMessage) => void>();
  #revision = 0n;

  /** Another member, with the subnet that the test chooses. */
  join(subnets: Subnets, attributes: LeaseAttributes): Membership {
    return new MemoryMembership(this, subnets, attributes);
  }

  /** Writes a lease, as a member or anybody else does. */
  put(name: string, value: string): LeaseRecord {
    const record = { name, value, revision: ++this.#revision, expiry: { kind: 'reservation' } as const };
    this.#records.set(name, record);
    this.#announce({ kind: 'batch', events: [{ type: 'put', record }] });
    return record;
  }

  remove(name: string): void {
    if (!this.#records.delete(name)) return;
    const event: WatchEvent = { type: 'removed', name };
    this.#announce({ kind: 'batch', events: [event] });
  }

  /** Events were lost: every member gets the whole list again. */
  list(): void {
    this.#announce(this.#snapshot());
  }

  listen(listener: (message: PeerMessage) => void): () => void {
    listener(this.#snapshot());
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #snapshot(): PeerMessage {
    return { kind: 'snapshot', records: [...this.#records.values()] };
  }

  #announce(message: PeerMessage): void {
    for (const listener of this.#listeners) listener(message);
  }
}

class MemoryMembership implements Membership {
  readonly #network: MemoryNetwork;
  readonly #subnets: Subnets;
  readonly trouble = undefined;
  readonly counts = { renewals: 0, failures: 0, reconnects: 0, events: 0 };
  readonly remainingMs = undefined;
  readonly registry: RegistryStatus = { description: 'memory', state: 'connected' };
  #attributes: LeaseAttributes;
  #record: LeaseRecord;

  constructor(network: MemoryNetwork, subnets: Subnets, attributes: LeaseAttributes) {
    this.#network = network;
    this.#subnets = subnets;
    this.#attributes = attributes;
    this.#record = network.put(formatSubnetName(subnets), encodeAttributes(attributes));
  }

  get own(): HeldLease {
    return { subnets: this.#subnets, record: this.#record };
  }

  get attributes(): LeaseAttributes {
    return this.#attributes;
  }

  publish(attributes: LeaseAttributes): void {
    this.#attributes = attributes;
    this.#record = this.#network.put(this.#record.name, encodeAttributes(attributes));
  }

  reconnect(): void {}

  async follow(deliver: (message: PeerMessage) => void, signal: AbortSignal): Promise<never> {
    const ended = Promise.withResolvers<never>();
    const guarded = (message: PeerMessage): void => {
      try {
        deliver(message);
      } catch (error) {
        ended.reject(error);
      }
    };
    const stop = this.#network.listen(guarded);
    const abort = (): void => ended.reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await ended.promise;
    } finally {
      signal.removeEventListener('abort', abort);
      stop();
    }
  }
}
