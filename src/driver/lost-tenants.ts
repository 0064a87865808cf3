import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import { bookedTenant } from '#src/driver/present-tenants.ts';
import type { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';

export interface LostTenantsComponents {
  readonly book: EndpointBook;
  readonly directory: Pick<TenantDirectory, 'get' | 'isRemoved' | 'restore'>;
  readonly log: Logger;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/**
 * Writes the records of tenants again that were lost with their store: those of which a network is in Docker here, and whose
 * record is gone without a tombstone. One write for each, however often there is a reason to look.
 */
export class LostTenants {
  readonly #components: LostTenantsComponents;
  /** Until the directory has them. */
  readonly #restoring = new Set<string>();
  /** By tenant: why its record can't be written. */
  readonly #refused = new Map<string, string>();

  constructor(components: LostTenantsComponents) {
    this.#components = components;
  }

  /** To be called when the directory is another one. */
  look(): void {
    const { book, directory } = this.#components;
    for (const name of new Set(Object.values(book.state.networks))) {
      if (directory.get(name) !== undefined) this.#isThere(name);
      else if (!directory.isRemoved(name) && !this.#restoring.has(name)) void this.#restore(name);
    }
  }

  async #restore(name: string): Promise<void> {
    const { book, directory, log, signal } = this.#components;
    const tenant = bookedTenant(book, name);
    if (tenant === undefined) return;
    this.#restoring.add(name);
    try {
      await directory.restore(tenant, signal);
      this.#refused.delete(name);
      log.warning(`The registry had lost network ${name}: its record was written again`);
    } catch (error) {
      this.#restoring.delete(name);
      if (signal.aborted || isAbort(error)) return;
      const why = `could not write the record of network ${name} again: ${messageOf(error)}`;
      if (this.#refused.get(name) !== why) log.error(why);
      this.#refused.set(name, why);
    }
  }

  #isThere(name: string): void {
    this.#restoring.delete(name);
    this.#refused.delete(name);
  }
}
