import {
  LeaseGrantRequest,
  LeaseKeepAliveRequest,
  LeaseService,
  LeaseTimeToLiveRequest,
} from '#src/etcd/rpc.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';

/** etcd raises a TTL that is shorter than its elections take (server/lease/lessor.go, minLeaseTTL). */
const MOST_RAISED_SECONDS = 60;

/** etcd v3's leases: what a key's time to live hangs on. Id 0 stands for none. */
export class EtcdLeases {
  readonly #connection: EtcdConnection;

  constructor(components: { readonly connection: EtcdConnection }) {
    this.#connection = components.connection;
  }

  async grant(ttlSeconds: number, what: string, signal: AbortSignal): Promise<bigint> {
    const request = LeaseGrantRequest.create({ TTL: BigInt(Math.ceil(ttlSeconds)) });
    // A second lease for one that may have been granted costs nothing: without a key it ages out.
    const call = { what, repeatable: true };
    return (await this.#connection.call(LeaseService.leaseGrant, request, call, signal)).ID;
  }

  /** Begins the lease's time again. False when it is gone, or was granted another time than this. */
  async keepAlive(leaseId: bigint, ttlSeconds: number, what: string, signal: AbortSignal): Promise<boolean> {
    const request = LeaseKeepAliveRequest.create({ ID: leaseId });
    const { TTL } = await this.#connection.exchange(LeaseService.leaseKeepAlive, request, what, signal);
    const excess = Number(TTL) - Math.ceil(ttlSeconds);
    return excess >= 0 && excess <= MOST_RAISED_SECONDS;
  }

  /** `undefined` when the lease is gone. */
  async secondsLeft(leaseId: bigint, what: string, signal: AbortSignal): Promise<number | undefined> {
    const request = LeaseTimeToLiveRequest.create({ ID: leaseId });
    const call = { what, repeatable: true };
    const { TTL } = await this.#connection.call(LeaseService.leaseTimeToLive, request, call, signal);
    return TTL < 0n ? undefined : Number(TTL);
  }

  /** Revokes the lease and all keys on it. A failure does not matter: it ages out by itself. */
  async revoke(leaseId: bigint, signal: AbortSignal): Promise<void> {
    if (leaseId === 0n) return;
    const call = { what: 'revoke an unused lease', repeatable: true };
    await this.#connection.call(LeaseService.leaseRevoke, { ID: leaseId }, call, signal).catch(() => {});
  }

  /** Revokes the lease that a key was taken off, unless somebody hung other keys on it: those would go with it. */
  async dropUnused(leaseId: bigint, signal: AbortSignal): Promise<void> {
    const call = { what: 'read an old lease', repeatable: true };
    const request = { ID: leaseId, keys: true };
    const lease = await this.#connection
      .call(LeaseService.leaseTimeToLive, request, call, signal)
      .catch(() => undefined);
    if (lease?.keys.length === 0) await this.revoke(leaseId, signal);
  }
}
