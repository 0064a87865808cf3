import type { DatabaseSync } from 'node:sqlite';
import { isDiskFull } from '#src/store/database.ts';
import { EtcdError, etcdError } from '#src/store/etcd-error.ts';

/** At most this many writes share a transaction, so that reads and other connections get their turn. */
const MAX_GROUP = 1000;

export interface GroupCommitOptions {
  /** After a commit, before the writes are acknowledged. */
  readonly committed: () => void;
  /** After a rollback: nothing of the group has happened. */
  readonly rolledBack: () => void;
  /** The disk failed in a way that leaves unknown what it holds; the process has to start over from the file. */
  readonly fatal: (error: unknown) => void;
}

interface Job {
  /** Does the work and returns what acknowledges it. Throws {@link EtcdError} before it has changed anything. */
  run(): () => void;
  fail(error: Error): void;
}

/**
 * All writes that arrive in one turn of the event loop become one SQLite transaction, hence one fsync, in the order
 * of their arrival. None is acknowledged before the commit. A write that etcd would refuse is refused alone.
 */
export class GroupCommit {
  readonly #db: DatabaseSync;
  readonly #options: GroupCommitOptions;
  #jobs: Job[] = [];
  #scheduled = false;
  #stopped = false;

  constructor(db: DatabaseSync, options: GroupCommitOptions) {
    this.#db = db;
    this.#options = options;
  }

  submit<Result>(work: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) {
        reject(etcdError('stopped'));
        return;
      }
      this.#jobs.push({
        run() {
          const result = work();
          return () => resolve(result);
        },
        fail: reject,
      });
      this.#schedule();
    });
  }

  /** Commits what is waiting and refuses what comes after. */
  stop(): void {
    while (this.#jobs.length > 0) this.#commit();
    this.#stopped = true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#commit();
      if (this.#jobs.length > 0) this.#schedule();
    });
  }

  #commit(): void {
    const group = this.#jobs.splice(0, MAX_GROUP);
    if (group.length === 0) return;
    const acknowledgements: (() => void)[] = [];
    try {
      this.#db.exec('BEGIN');
      for (const job of group) {
        try {
          acknowledgements.push(job.run());
        } catch (error) {
          if (!(error instanceof EtcdError)) throw error;
          acknowledgements.push(() => job.fail(error));
        }
      }
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#rollBack(group, error);
      return;
    }
    this.#options.committed();
    for (const acknowledge of acknowledgements) acknowledge();
  }

  #rollBack(group: readonly Job[], cause: unknown): void {
    // A full disk is told to the clients, as etcd does; the store goes on serving reads.
    const full = isDiskFull(cause);
    if (!full) this.#stopped = true;
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      this.#options.rolledBack();
    } finally {
      for (const job of group) job.fail(etcdError(full ? 'noSpace' : 'stopped'));
      if (!full) this.#options.fatal(cause);
    }
  }
}
