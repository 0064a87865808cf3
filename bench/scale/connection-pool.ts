import { GrpcConnection } from './grpc-connection.ts';

/** Where one member of etcd, or a proxy, answers. */
export interface Member {
  readonly host: string;
  readonly port: number;
}

/** Connections to the members: a few that many hosts share, or one for each host. */
export class ConnectionPool {
  readonly #members: readonly Member[];
  /** 0: one for each host. */
  readonly #shared: number;
  readonly #open = new Map<string, Promise<GrpcConnection>>();

  constructor(members: readonly Member[], shared: number) {
    this.#members = members;
    this.#shared = shared;
  }

  get size(): number {
    return this.#members.length;
  }

  /** The connection of host `n` to a member. Rejects when the member does not take it. */
  get(n: number, member: number): Promise<GrpcConnection> {
    const key = `${member}/${this.#shared === 0 ? n : n % this.#shared}`;
    const found = this.#open.get(key);
    if (found !== undefined) return found;
    const place = this.#members[member % this.#members.length];
    if (place === undefined) return Promise.reject(new Error('no members'));
    const opening = GrpcConnection.open(place.host, place.port);
    this.#open.set(key, opening);
    const forget = (): void => {
      if (this.#open.get(key) === opening) this.#open.delete(key);
    };
    opening.then((connection) => {
      connection.onClose = forget;
      if (connection.isClosed) forget();
    }, forget);
    return opening;
  }

  /** A ping on each connection, as gRPC's library sends every 6 s. */
  async ping(): Promise<void> {
    for (const connection of await this.#all()) connection.ping();
  }

  /** Ends what host `n` has of its own. */
  async drop(n: number, member: number): Promise<void> {
    if (this.#shared !== 0) return;
    (await this.#open.get(`${member}/${n}`)?.catch(() => undefined))?.close();
  }

  get connections(): number {
    return this.#open.size;
  }

  async close(): Promise<void> {
    for (const connection of await this.#all()) connection.close();
  }

  async #all(): Promise<GrpcConnection[]> {
    const settled = await Promise.allSettled(this.#open.values());
    return settled.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []));
  }
}
