import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import type { AddressRecord } from '#src/tenant/tenant.ts';

/** The names of one tenant. */
export interface Names {
  /**
   * The addresses of a name, which is in lower case; `undefined` when nobody has it, empty when its holders have none of that
   * family. Each call begins with another address, so that callers spread over the holders.
   */
  addresses(name: string, family: 4 | 6): readonly Ip[] | undefined;
  /** The first name of the container that has the address. */
  nameOf(ip: Ip): string | undefined;
}

/** Kept by address: what was set for an address is replaced by the next that is. */
export class NameTable implements Names {
  readonly #byAddress = new Map<Ip, readonly string[]>();
  readonly #byName = new Map<string, Holders>();

  /** The record as it is now. Only a published address has names: no container runs behind another. */
  set({ ip, state, names }: AddressRecord): void {
    const wanted = state === 'published' ? names : [];
    const found = this.#byAddress.get(ip) ?? [];
    if (found.length === wanted.length && found.every((name, index) => name === wanted[index])) return;
    this.remove(ip);
    if (wanted.length === 0) return;
    this.#byAddress.set(ip, wanted);
    for (const name of distinct(wanted)) {
      const holders = this.#byName.get(name) ?? new Holders();
      this.#byName.set(name, holders);
      holders.add(ip);
    }
  }

  /** The record is gone. */
  remove(ip: Ip): void {
    for (const name of distinct(this.#byAddress.get(ip) ?? [])) {
      const holders = this.#byName.get(name);
      holders?.remove(ip);
      if (holders?.isEmpty) this.#byName.delete(name);
    }
    this.#byAddress.delete(ip);
  }

  addresses(name: string, family: 4 | 6): readonly Ip[] | undefined {
    return this.#byName.get(name)?.next(family);
  }

  nameOf(ip: Ip): string | undefined {
    return this.#byAddress.get(ip)?.[0];
  }
}

/** DNS knows no case (RFC 4343), Docker does. */
const distinct = (names: readonly string[]): Set<string> => new Set(names.map((name) => name.toLowerCase()));

/** The addresses of one name. A turn for each family: most callers ask for both, one after the other. */
class Holders {
  readonly #turns = { 4: new Turns(), 6: new Turns() };

  get isEmpty(): boolean {
    return this.#turns[4].addresses.length + this.#turns[6].addresses.length === 0;
  }

  add(ip: Ip): void {
    this.#turns[isIpv4(ip) ? 4 : 6].addresses.push(ip);
  }

  remove(ip: Ip): void {
    const { addresses } = this.#turns[isIpv4(ip) ? 4 : 6];
    const at = addresses.indexOf(ip);
    if (at >= 0) addresses.splice(at, 1);
  }

  next(family: 4 | 6): readonly Ip[] {
    return this.#turns[family].next();
  }
}

class Turns {
  readonly addresses: Ip[] = [];
  #first = 0;

  next(): readonly Ip[] {
    if (this.addresses.length < 2) return this.addresses;
    this.#first = (this.#first + 1) % this.addresses.length;
    return [...this.addresses.slice(this.#first), ...this.addresses.slice(0, this.#first)];
  }
}
