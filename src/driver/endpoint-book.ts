import { join } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
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

export interface KeepWrittenComponents {
  readonly clock: Clock;
  readonly log: Logger;
}

/** What was found in place of the book. */
interface FormerBook {
  readonly state?: BookState;
  readonly fault?: string;
}

const REWRITE_MS = 5_000;

/**
 * The driver's own record of what Docker has asked of this host, in a file: Docker never repeats a CreateNetwork or a Join.
 * A change counts in memory at once, and is on the disk when its promise resolves. Changes of one turn share a write.
 */
export class EndpointBook {
  readonly #files: Files;
  readonly #path: string;
  /** There was no book, or none that could be read: what this host has may be in Docker and in the kernel all the same. */
  readonly isNew: boolean;
  /** What was wrong with the file. */
  readonly fault: string | undefined;
  #state: BookState;
  #trouble: string | undefined;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor({ files }: EndpointBookComponents, path: string, former: FormerBook) {
    this.#files = files;
    this.#path = path;
    this.#state = former.state ?? EMPTY;
    this.isNew = former.state === undefined;
    this.fault = former.fault;
  }

  /** No such file is an empty book. A file that is no book is put aside as `PATH.damaged`, and is an empty book too. */
  static async open(components: EndpointBookComponents, path: string): Promise<EndpointBook> {
    const { files } = components;
    const text = await files.read(path);
    if (text === undefined) return new EndpointBook(components, path, {});
    const state = readState(text);
    if (typeof state !== 'string') return new EndpointBook(components, path, { state });
    const aside = `${path}.damaged`;
    await files.writeAtomically(aside, text, 0o600).catch(() => {});
    const fault = `${path} is damaged (${state}), and is now ${aside}: networks and containers are learned from Docker again`;
    return new EndpointBook(components, path, { fault });
  }

  get state(): BookState {
    return this.#state;
  }

  /** Why it is not on the disk; one clause. It is written as soon as that can be done. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Throws WeftError `docker-state` when the file can't be written; the change counts in memory all the same. */
  change(step: (state: BookState) => BookState): Promise<void> {
    this.#state = step(this.#state);
    return this.#persist();
  }

  /** The same for what has happened already, and can't be refused: never rejects. */
  async record(step: (state: BookState) => BookState): Promise<void> {
    await this.change(step).catch(() => {});
  }

  /** Writes what could not be written, again and again until it is on the disk; until the signal aborts. */
  async keepWritten({ clock, log }: KeepWrittenComponents, signal: AbortSignal): Promise<never> {
    for (;;) {
      await clock.sleep(REWRITE_MS, signal);
      const { trouble } = this;
      if (trouble === undefined) continue;
      log.error(trouble);
      while (this.trouble !== undefined) {
        await this.#persist().catch(() => {});
        if (this.trouble !== undefined) await clock.sleep(REWRITE_MS, signal);
      }
      log.info(`Wrote ${this.#path}`);
    }
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
      this.#trouble = undefined;
    } catch (cause) {
      const error = new WeftError('docker-state', `could not write ${this.#path}: ${messageOf(cause)}`, {
        remedy: 'make room on the disk, or choose another --state-dir',
        cause,
      });
      this.#trouble = messageOf(error);
      throw error;
    }
  }
}

/** The state, or why it can't be read. */
function readState(text: string): BookState | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return messageOf(error);
  }
  if (!isRecord(value)) return 'it is no JSON object';
  for (const [name, empty] of Object.entries(EMPTY)) {
    const field = value[name];
    const isRight = Array.isArray(empty) ? Array.isArray(field) : isRecord(field);
    if (field !== undefined && !isRight) return `its "${name}" is of another kind`;
  }
  return { ...EMPTY, ...value };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The record without a key. */
export function without<T>(record: Readonly<Record<string, T>>, key: string): Record<string, T> {
  const { [key]: _, ...rest } = record;
  return rest;
}
