/** A connection, as far as it is counted. */
export interface CountedConnection {
  readonly remoteAddress?: string | undefined;
  destroy(): unknown;
}

export interface ConnectionLimitsOptions {
  /** Connections from one address; IPv6 by /64, which is what one host may have. */
  readonly perAddress: number;
  /** Connections that were not admitted to anything yet. */
  readonly newcomers: number;
}

/**
 * How many connections there may be. One too many from an address is refused. Of those that have not been admitted
 * (no login, or no call that asks for one) the oldest makes room, so that nobody keeps others out by saying nothing.
 */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #addresses = new Map<string, number>();
  /** In the order of their arrival. */
  readonly #newcomers = new Set<CountedConnection>();

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
  }

  /** Counts a connection for its address; the function returned is to be called when it ends. `undefined`: no room. */
  enter(connection: CountedConnection): (() => void) | undefined {
    const address = addressGroup(connection.remoteAddress);
    const count = this.#addresses.get(address) ?? 0;
    if (count >= this.#options.perAddress) return undefined;
    this.#addresses.set(address, count + 1);
    return () => {
      const left = (this.#addresses.get(address) ?? 0) - 1;
      if (left > 0) this.#addresses.set(address, left);
      else this.#addresses.delete(address);
    };
  }

  newcomer(connection: CountedConnection): void {
    this.#newcomers.add(connection);
    if (this.#newcomers.size <= this.#options.newcomers) return;
    const [oldest] = this.#newcomers;
    if (oldest === undefined) return;
    this.#newcomers.delete(oldest);
    oldest.destroy();
  }

  /** It was admitted, or it has ended. */
  settled(connection: CountedConnection): void {
    this.#newcomers.delete(connection);
  }
}

/** Whose connections are counted together. IPv4 inside IPv6 is the IPv4 address. */
export function addressGroup(address: string | undefined): string {
  if (address === undefined) return '';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const words = head.split(':').filter((word) => word !== '');
  if (tail !== undefined) {
    const rest = tail.split(':').filter((word) => word !== '');
    while (words.length + rest.length < 8) words.push('0');
    words.push(...rest);
  }
  return words.slice(0, 4).join(':');
}
