import { createHash } from 'node:crypto';
import { backup, type DatabaseSync } from 'node:sqlite';
import { SnapshotResponse } from '#src/etcd/rpc.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import type { GrpcCall } from '#src/store/grpc-call.ts';
import { CHECKSUM_BYTES } from '#src/store/snapshot-checksum.ts';
import type { ByteFiles } from '#src/sys/byte-files.ts';
import { secretBytes } from '#src/sys/random.ts';

/** Pages that are copied before others have their turn: a few milliseconds. */
const PAGES_AT_ONCE = 500;

export interface SnapshotComponents {
  readonly db: DatabaseSync;
  readonly files: ByteFiles;
}

/**
 * Serves `etcdctl snapshot save`: the store's file as it is at one moment, made beside it while writes go on, and its
 * checksum. One at a time, as each takes as much of the disk as the data.
 */
export class Snapshots {
  readonly #db: DatabaseSync;
  readonly #files: ByteFiles;
  readonly #data: string;
  #running = false;

  constructor({ db, files }: SnapshotComponents, data: string) {
    this.#db = db;
    this.#files = files;
    this.#data = data;
  }

  /** Sends everything and ends the call. */
  async send(call: GrpcCall): Promise<void> {
    if (this.#running) throw etcdError('tooManyRequests');
    this.#running = true;
    const copy = `${this.#data}-snapshot-${secretBytes(4).toString('hex')}`;
    try {
      await backup(this.#db, copy, { rate: PAGES_AT_ONCE });
      await this.#sendFile(call, copy);
    } finally {
      this.#running = false;
      await this.#files.remove(copy);
    }
  }

  async #sendFile(call: GrpcCall, path: string): Promise<void> {
    const size = (await this.#files.size(path)) ?? 0;
    const hash = createHash('sha256');
    let remaining = size + CHECKSUM_BYTES;
    const send = async (blob: Buffer): Promise<void> => {
      await new Promise<void>((resolve) => call.whenClear(resolve));
      remaining -= blob.length;
      const response = { header: undefined, remainingBytes: BigInt(remaining), blob };
      call.send(Buffer.from(SnapshotResponse.encode(response).finish()));
    };
    for await (const piece of this.#files.read(path, size)) {
      if (call.closed) return;
      hash.update(piece);
      await send(piece);
    }
    await send(hash.digest());
    call.end();
  }
}
