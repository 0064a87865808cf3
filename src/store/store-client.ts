import { CompactionRequest, KVService, PutRequest, RangeRequest } from '#src/etcd/rpc.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';

/** Writes one key, without a lease. Equals `etcdctl put`. */
export async function putKey(
  connection: EtcdConnection,
  key: Buffer,
  value: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const options = { what: `write ${key} to ${connection.ring}`, repeatable: true };
  await connection.call(KVService.put, PutRequest.create({ key, value }), options, signal);
}

/** Reads one key; `undefined` where there is none. Equals `etcdctl get --print-value-only`. */
export async function getKey(
  connection: EtcdConnection,
  key: Buffer,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const options = { what: `read ${key} from ${connection.ring}`, repeatable: true };
  const { kvs } = await connection.call(KVService.range, RangeRequest.create({ key }), options, signal);
  return kvs[0]?.value;
}

/** etcd's answer to the compaction of a revision whose history is gone already, in v3.4 to v3.6. */
export const COMPACTED = 'required revision has been compacted';

/**
 * Compacts all revisions but the present one, which it returns. Equals `etcdctl compaction`, but that it does not mind where
 * nothing is left to compact.
 */
export async function compactHistory(connection: EtcdConnection, signal: AbortSignal): Promise<bigint> {
  const ask = RangeRequest.create({ key: Buffer.of(0), countOnly: true });
  const asking = { what: `ask ${connection.ring} for its revision`, repeatable: true };
  const revision = (await connection.call(KVService.range, ask, asking, signal)).header?.revision ?? 0n;
  const options = { what: `compact ${connection.ring}`, repeatable: false };
  try {
    await connection.call(KVService.compact, CompactionRequest.create({ revision }), options, signal);
  } catch (error) {
    if (!messageOf(error).includes(COMPACTED)) throw error;
  }
  return revision;
}
