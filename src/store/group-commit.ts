import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { isDiskFailure, isDiskFull, prepare } from '#src/store/database.ts';
import { EtcdError, etcdError } from '#src/store/etcd-error.ts';
import { inNextTurn } from '#src/sys/next-turn.ts';

/** At most this many writes share a transaction, so that reads and other connections get their turn. */
const MAX_GROUP = 1000;

export interface GroupCommitOptions {
  /** After a commit, before the writes are acknowledged. */
  readonly committed: () => void;
  /** Before each write: returns what makes memory again as it is now, for a write that fails. */
  readonly mark: () => () => void;
  /** After a rollback: nothing of the group has happened. */
  readonly rolledBack: () => void;
  /** The disk is full. True: there is room again for some writes, so they are tried once more. */
  readonly full: () => boolean;
  /** A write failed for a reason of ours. It changed nothing, and the other writes go on. */
  readonly failed: (error: unknown) => void;
  /** The disk failed in a way that leaves unknown what it holds; the process has to start over from the file. */
  readonly fatal: (error: unknown) => void;
}

interface Job {
  /** Does the work and returns what acknowledges it. */
  run(): () => void;
  fail(error: Error): void;
}

/**
 * All writes that arrive in one turn of the event loop become one SQLite transaction, hence one fsync, in the order
 * of their arrival. None is acknowledged before the commit. A write that throws is undone and fails alone.
 */
export class GroupCommit {
  readonly #db: DatabaseSync;
  readonly #options: GroupCommitOptions;
  readonly #savepoint: StatementSync;
  readonly #release: StatementSync;
  readonly #undo: StatementSync;
  #jobs: Job[] = [];
  #scheduled = false;
  #stopped = false;

  constructor(db: DatabaseSync, options: GroupCommitOptions) {
    this.#db = db;
    this.#options = options;
    this.#savepoint = prepare(db, 'SAVEPOINT write');
    this.#release = prepare(db, 'RELEASE write');
    this.#undo = prepare(db, 'ROLLBACK TO write');
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
    inNextTurn(() => {
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
      for (const job of group) acknowledgements.push(this.#run(job));
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#rollBack(group, error);
      return;
    }
    this.#options.committed();
    for (const acknowledge of acknowledgements) acknowledge();
  }

  /** One write, in a savepoint of its own. Throws only what concerns the whole transaction. */
  #run(job: Job): () => void {
    const restore = this.#options.mark();
    this.#savepoint.run();
    try {
      const acknowledge = job.run();
      this.#release.run();
      return acknowledge;
    } catch (error) {
      // SQLite may have ended the transaction by itself: then nothing of the group has happened.
      if (isDiskFailure(error) || !this.#db.isTransaction) throw error;
      this.#undo.run();
      this.#release.run();
      restore();
      if (error instanceof EtcdError) return () => job.fail(error);
      this.#options.failed(error);
      return () => job.fail(etcdError('internal'));
    }
  }

  #rollBack(group: readonly Job[], cause: unknown): void {
    const full = isDiskFull(cause);
    if (!full) this.#stopped = true;
    let again = false;
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      this.#options.rolledBack();
      again = full && this.#options.full();
    } finally {
      if (again) this.#jobs.unshift(...group);
      // A full disk is an error for the clients, as with etcd; the store goes on serving reads.
      else for (const job of group) job.fail(etcdError(full ? 'noSpace' : 'stopped'));
      if (!full) this.#options.fatal(cause);
    }
  }
}
