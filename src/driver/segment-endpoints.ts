import type { LocalEndpoint } from '#src/driver/segment.ts';
import type { Ip } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';

/** The endpoints of a segment on this host, by ID, address and MAC: an event of one address does not ask a thousand of them. */
export class SegmentEndpoints {
  readonly #byId = new Map<string, LocalEndpoint>();
  readonly #byKey = new Map<Ip | Mac, Set<string>>();

  get(id: string): LocalEndpoint | undefined {
    return this.#byId.get(id);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  ids(): Iterable<string> {
    return this.#byId.keys();
  }

  all(): IterableIterator<LocalEndpoint> {
    return this.#byId.values();
  }

  set(endpoint: LocalEndpoint): void {
    this.delete(endpoint.id);
    this.#byId.set(endpoint.id, endpoint);
    for (const key of keysOf(endpoint)) {
      const ids = this.#byKey.get(key);
      if (ids === undefined) this.#byKey.set(key, new Set([endpoint.id]));
      else ids.add(endpoint.id);
    }
  }

  delete(id: string): void {
    const endpoint = this.#byId.get(id);
    if (endpoint === undefined) return;
    this.#byId.delete(id);
    for (const key of keysOf(endpoint)) {
      const ids = this.#byKey.get(key);
      ids?.delete(id);
      if (ids?.size === 0) this.#byKey.delete(key);
    }
  }

  clear(): void {
    this.#byId.clear();
    this.#byKey.clear();
  }

  /** Those with an address or a MAC. */
  with(key: Ip | Mac): LocalEndpoint[] {
    return Array.from(this.#byKey.get(key) ?? [], (id) => this.#byId.get(id)).filter(
      (endpoint) => endpoint !== undefined,
    );
  }
}

const keysOf = ({ mac, addresses }: LocalEndpoint): Set<Ip | Mac> => new Set<Ip | Mac>([mac, ...addresses]);
