import type { BookedEndpoint } from '#src/driver/book-state.ts';
import { portName } from '#src/tenant/segment-objects.ts';

/** Which endpoints have an address, a port, a tenant: 10,000 endpoints are not gone through for each event of one. */
export class BookIndex {
  readonly #byAddress = new Map<string, readonly string[]>();
  readonly #byPort = new Map<string, readonly string[]>();
  readonly #byTenant = new Map<string, number>();

  constructor(endpoints: Readonly<Record<string, BookedEndpoint>>) {
    for (const [id, endpoint] of Object.entries(endpoints)) this.move(id, undefined, endpoint);
  }

  /** The endpoint is another one now, or gone. */
  move(id: string, before: BookedEndpoint | undefined, after: BookedEndpoint | undefined): void {
    // One that only learns its container's name keeps its place among those with the same address.
    if (before !== undefined && after !== undefined && keysOf(before).join() === keysOf(after).join()) return;
    if (before !== undefined) {
      for (const key of keysOf(before)) remove(this.#byAddress, key, id);
      remove(this.#byPort, portName(id), id);
      this.#count(before.tenant, -1);
    }
    if (after !== undefined) {
      for (const key of keysOf(after)) add(this.#byAddress, key, id);
      add(this.#byPort, portName(id), id);
      this.#count(after.tenant, 1);
    }
  }

  /** The endpoint with an address of a tenant: of several the one that came first. */
  withAddress(tenant: string, address: string): string | undefined {
    return this.#byAddress.get(keyOf(tenant, address))?.[0];
  }

  withPort(port: string): string | undefined {
    return this.#byPort.get(port)?.[0];
  }

  has(tenant: string): boolean {
    return this.#byTenant.has(tenant);
  }

  #count(tenant: string, by: 1 | -1): void {
    const count = (this.#byTenant.get(tenant) ?? 0) + by;
    if (count === 0) this.#byTenant.delete(tenant);
    else this.#byTenant.set(tenant, count);
  }
}

const keyOf = (tenant: string, address: string): string => `${address} ${tenant}`;
const keysOf = ({ tenant, addresses }: BookedEndpoint): string[] =>
  addresses.map((address) => keyOf(tenant, address));

function add(map: Map<string, readonly string[]>, key: string, id: string): void {
  map.set(key, [...(map.get(key) ?? []), id]);
}

function remove(map: Map<string, readonly string[]>, key: string, id: string): void {
  const rest = map.get(key)?.filter((other) => other !== id) ?? [];
  if (rest.length === 0) map.delete(key);
  else map.set(key, rest);
}
