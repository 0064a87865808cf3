import { MaintenanceService } from '#src/etcd/rpc.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { isWholeSnapshot } from '#src/store/snapshot-checksum.ts';
import type { ByteFiles } from '#src/sys/byte-files.ts';

/**
 * Writes what the store has at one moment into a file (0600), in place of one that is there. Equals `etcdctl snapshot save`.
 * Throws WeftError `store-snapshot`; then the file is as it was.
 */
export async function saveSnapshot(
  { connection, files }: { readonly connection: EtcdConnection; readonly files: ByteFiles },
  path: string,
  signal: AbortSignal,
): Promise<number> {
  const part = `${path}.part`;
  try {
    await files.remove(part);
    await files.write(part, piecesOf(connection, signal));
    const size = (await files.size(part)) ?? 0;
    if (!(await isWholeSnapshot(files, part, size)))
      throw new Error('its checksum is wrong, so it is cut off');
    await files.move(part, path);
    return size;
  } catch (error) {
    signal.throwIfAborted();
    throw new WeftError('store-snapshot', `cannot save a snapshot in ${path}: ${messageOf(error)}`, {
      remedy: 'see that the store runs and that the disk has room, then take it again',
      cause: error,
    });
  } finally {
    await files.remove(part);
  }
}

async function* piecesOf(connection: EtcdConnection, signal: AbortSignal): AsyncGenerator<Buffer> {
  const what = `take a snapshot of ${connection.ring}`;
  const { stream } = await connection.open(MaintenanceService.snapshot, what, signal);
  const abort = () => stream.cancel();
  signal.addEventListener('abort', abort, { once: true });
  try {
    stream.write({});
    stream.end();
    for await (const { blob } of stream) yield blob;
  } finally {
    signal.removeEventListener('abort', abort);
    stream.cancel();
  }
}
