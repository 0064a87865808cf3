import { join } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Files } from '#src/sys/files.ts';

/** A container of this host that goes to another one. */
export interface OutgoingMove {
  /** Docker's ID. */
  readonly container: string;
  readonly name: string;
  /** The identity of the other host. */
  readonly to: string;
  readonly keep: boolean;
  /** The folder with its frozen processes. */
  readonly checkpoint?: string;
  /** It may have been stopped for the move. */
  readonly isStopping: boolean;
  readonly addresses: readonly { readonly tenant: string; readonly ip: string }[];
}

/** A container that comes from another host. */
export interface IncomingMove {
  /** Docker's ID, once it is made. */
  readonly container?: string;
  /** It may have been started. */
  readonly isStarting: boolean;
}

export interface MoveBookState {
  readonly outgoing: Readonly<Record<string, OutgoingMove>>;
  readonly incoming: Readonly<Record<string, IncomingMove>>;
}

/** Of a host, by its `--state-dir`. */
export const moveBookPath = (stateDir: string): string => join(stateDir, 'moves.json');

const EMPTY: MoveBookState = { outgoing: {}, incoming: {} };

/**
 * This host's part of the moves that are under way, in a file: a daemon that starts again goes on with them. Only what is
 * in it is stopped or removed here, whatever the registry says.
 */
export class MoveBook {
  readonly #files: Files;
  readonly #path: string;
  readonly #queue = new InOrder();
  #state: MoveBookState;

  private constructor(files: Files, path: string, state: MoveBookState) {
    this.#files = files;
    this.#path = path;
    this.#state = state;
  }

  /** No such file is an empty book. Throws WeftError `docker-state` for a file that is no book. */
  static async open({ files }: { readonly files: Files }, path: string): Promise<MoveBook> {
    const text = await files.read(path);
    return new MoveBook(files, path, text === undefined ? EMPTY : readState(text, path));
  }

  get state(): MoveBookState {
    return this.#state;
  }

  /** `undefined`: the move has ended. Throws WeftError `docker-state` when the file can't be written. */
  setOutgoing(id: string, move: OutgoingMove | undefined): Promise<void> {
    return this.#change({ ...this.#state, outgoing: withEntry(this.#state.outgoing, id, move) });
  }

  setIncoming(id: string, move: IncomingMove | undefined): Promise<void> {
    return this.#change({ ...this.#state, incoming: withEntry(this.#state.incoming, id, move) });
  }

  #change(state: MoveBookState): Promise<void> {
    this.#state = state;
    return this.#queue.run(async () => {
      try {
        await this.#files.writeAtomically(this.#path, `${JSON.stringify(this.#state)}\n`, 0o600);
      } catch (cause) {
        throw new WeftError('docker-state', `could not write ${this.#path}: ${messageOf(cause)}`, {
          remedy: 'make room on the disk, or choose another --state-dir',
          cause,
        });
      }
    });
  }
}

function withEntry<T>(
  entries: Readonly<Record<string, T>>,
  id: string,
  entry: T | undefined,
): Record<string, T> {
  const { [id]: _, ...rest } = entries;
  return entry === undefined ? rest : { ...rest, [id]: entry };
}

function readState(text: string, path: string): MoveBookState {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return { ...EMPTY, ...value };
    throw new Error('it is no JSON object');
  } catch (cause) {
    throw new WeftError('docker-state', `could not read ${path}: ${messageOf(cause)}`, {
      remedy: 'remove it, and look at "docker ps -a" for containers that were being moved',
      cause,
    });
  }
}
