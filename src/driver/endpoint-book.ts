import { join } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Files } from '#src/sys/files.ts';

/** An endpoint of Docker's on this host. */
export interface BookedEndpoint {
  readonly networkId: string;
  readonly tenant: string;
  readonly mac: string;
  /** Without a length. */
  readonly addresses: readonly string[];
  /** The container's network namespace, from Join to Leave. */
  readonly sandbox?: string;
  /** The name that Docker has given its device there: `eth0`. Known when the container runs. */
  readonly device?: string;
  /** Whether other hosts may send to it: its container runs. */
  readonly isActive: boolean;
  readonly container?: string;
  /** The container's name first, then its aliases. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** An address of a tenant that this host has claimed. */
export interface BookedAddress {
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** It was another container's until it was claimed: traffic for that one may still be under way. */
  readonly isMoved: boolean;
  /** It is given back as soon as the registry answers. */
  readonly isReleasing: boolean;
}

/** What must survive the process. All of it is this host's own. */
export interface BookState {
  /** Docker's network IDs, each with its tenant's name. */
  readonly networks: Readonly<Record<string, string>>;
  /** Tenants that a network here belongs to, as their records were last read. */
  readonly tenants: Readonly<Record<string, string>>;
  /** Tenants whose network a user removed here: it is not made again. */
  readonly removed: readonly string[];
  /** By endpoint ID. */
  readonly endpoints: Readonly<Record<string, BookedEndpoint>>;
  /** The underlay addresses of all hosts as they were last known: their frames are taken before the registry answers. */
  readonly vteps: readonly string[];
  /** By tenant and address. */
  readonly addresses: Readonly<Record<string, Readonly<Record<string, BookedAddress>>>>;
}

const EMPTY: BookState = { networks: {}, tenants: {}, removed: [], vteps: [], endpoints: {}, addresses: {} };

/** The book's file. */
export const bookPath = (stateDir: string): string => join(stateDir, 'docker.json');

export interface EndpointBookComponents {
  readonly files: Files;
}

/**
 * The driver's own record of what Docker has asked of this host, in a file: Docker never repeats a CreateNetwork or a Join.
 * A change counts in memory at once, and is on the disk when its promise resolves. Changes of one turn share a write.
 */
export class EndpointBook {
  readonly #files: Files;
  readonly #path: string;
  #state: BookState;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor({ files }: EndpointBookComponents, path: string, state: BookState) {
    this.#files = files;
    this.#path = path;
    this.#state = state;
  }

  /** No such file is an empty book. Throws WeftError `docker-state` for a file that is no book. */
  static async open(components: EndpointBookComponents, path: string): Promise<EndpointBook> {
    const text = await components.files.read(path);
    return new EndpointBook(components, path, text === undefined ? EMPTY : readState(text, path));
  }

  get state(): BookState {
    return this.#state;
  }

  /** Throws WeftError `docker-state` when the file can't be written; the change counts in memory all the same. */
  change(step: (state: BookState) => BookState): Promise<void> {
    this.#state = step(this.#state);
    return this.#persist();
  }

  #persist(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const next = (this.#writing ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#writing = next;
        return this.#write();
      });
    this.#next = next;
    return next;
  }

  async #write(): Promise<void> {
    try {
      await this.#files.writeAtomically(this.#path, `${JSON.stringify(this.#state)}\n`, 0o600);
    } catch (cause) {
      throw new WeftError('docker-state', `could not write ${this.#path}: ${messageOf(cause)}`, {
        remedy: 'make room on the disk, or choose another --state-dir',
        cause,
      });
    }
  }
}

function readState(text: string, path: string): BookState {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return { ...EMPTY, ...value };
    throw new Error('it is no JSON object');
  } catch (cause) {
    throw new WeftError('docker-state', `could not read ${path}: ${messageOf(cause)}`, {
      remedy: 'remove it: networks and endpoints are then learned from Docker and the registry',
      cause,
    });
  }
}

/** The record without a key. */
export function without<T>(record: Readonly<Record<string, T>>, key: string): Record<string, T> {
  const { [key]: _, ...rest } = record;
  return rest;
}
