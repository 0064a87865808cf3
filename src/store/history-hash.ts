import { crc32 } from 'node:zlib';
import { etcdError } from '#src/store/etcd-error.ts';
import type { RevisionStore } from '#src/store/revision-store.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

/** Bytes that are hashed before others have their turn. */
const SLICE = 1 << 20;

/**
 * A number for all that readers can see of the revisions up to `revision` (0: the current one): two stores with the same
 * keys and history have the same. It is not etcd's own number, which is made of its file's records.
 */
export async function hashHistory(
  store: RevisionStore,
  revision: bigint,
): Promise<{ readonly hash: number; readonly compactRevision: bigint }> {
  if (revision > store.revision) throw etcdError('futureRevision');
  const last = revision <= 0n ? store.revision : revision;
  if (last < store.compacted) throw etcdError('compacted');
  for (;;) {
    const compactRevision = store.compacted;
    let hash = 0;
    let next: bigint | undefined = 0n;
    while (next !== undefined) {
      const slice = store.historySlice(next, last, SLICE);
      for (const bytes of slice.rows) hash = crc32(bytes, hash);
      next = slice.next;
      await nextTurn();
    }
    // A compaction meanwhile took rows away.
    if (store.compacted === compactRevision) return { hash, compactRevision };
  }
}
