import type { ResponseHeader } from '#src/etcd/rpc.ts';
import { isDiskFull } from '#src/store/database.ts';
import type { Space } from '#src/store/space.ts';
import type { StoreMeta } from '#src/store/store-meta.ts';

export interface StoreIdentityComponents {
  readonly meta: StoreMeta;
  readonly space: Space;
}

/** Who answers: cluster and member, the same as long as the file lives, and a raft term for this run. */
export class StoreIdentity {
  readonly #meta: StoreMeta;
  readonly #space: Space;
  readonly #fields: Omit<ResponseHeader, 'revision'>;

  /** Begins a term, and notes it in the file: it grows with every start, as with every leader of etcd. */
  constructor({ meta, space }: StoreIdentityComponents) {
    this.#meta = meta;
    this.#space = space;
    this.#fields = {
      clusterId: meta.get('cluster'),
      memberId: meta.get('member'),
      raftTerm: meta.get('term') + 1n,
    };
    this.#saveTerm();
  }

  header(revision: bigint): ResponseHeader {
    return { ...this.#fields, revision };
  }

  /** On a full disk the start goes on without: reads are served all the same. */
  #saveTerm(): void {
    try {
      this.#meta.set('term', this.#fields.raftTerm);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      if (this.#space.diskFull()) this.#saveTerm();
    }
  }
}
