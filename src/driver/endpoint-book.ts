import { join } from 'node:path';
import { BookIndex } from '#src/driver/book-index.ts';
import { type BookEntry, BookJournal, journalPath } from '#src/driver/book-journal.ts';
import {
  type BookedAddress,
  type BookedEndpoint,
  type BookState,
  EMPTY,
  readState,
} from '#src/driver/book-state.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';

export type { BookedAddress, BookedEndpoint, BookState };

/** The book's file. What has changed since it was written is beside it: {@link journalPath}. */
export const bookPath = (stateDir: string): string => join(stateDir, 'docker.json');

export interface EndpointBookComponents {
  readonly files: Pick<Files, 'read' | 'writeAtomically' | 'append'>;
}

export interface KeepWrittenComponents {
  readonly clock: Clock;
  readonly log: Logger;
}

/** What was found in place of the book. */
interface FormerBook {
  readonly state?: BookState;
  readonly text?: string;
  readonly fault?: string;
}

/** The endpoints and addresses of a state, which change one by one. */
interface Changing {
  readonly endpoints: Record<string, BookedEndpoint>;
  readonly addresses: Record<string, Record<string, BookedAddress>>;
}

const REWRITE_MS = 5_000;

/**
 * The driver's own record of what Docker has asked of this host, in a file: Docker never repeats a CreateNetwork or a Join.
 * A change counts in memory at once, and is on the disk when its promise resolves. Changes of one turn share a write. What
 * an endpoint or an address costs does not depend on how many there are.
 */
export class EndpointBook {
  readonly #files: EndpointBookComponents['files'];
  readonly #path: string;
  readonly #journal: BookJournal;
  /** There was no book, or none that could be read: what this host has may be in Docker and in the kernel all the same. */
  readonly isNew: boolean;
  /** What was wrong with the file. */
  readonly fault: string | undefined;
  #state: BookState;
  #changing: Changing;
  #index: BookIndex;
  /** Changes that are not in the journal yet. */
  #entries: BookEntry[] = [];
  /** Whether the next write is of the whole book. */
  #isWhole: boolean;
  #trouble: string | undefined;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor({ files }: EndpointBookComponents, path: string, former: FormerBook) {
    this.#files = files;
    this.#path = path;
    this.#journal = new BookJournal(files, journalPath(path));
    if (former.text !== undefined) this.#journal.follow(former.text);
    this.#isWhole = former.text === undefined;
    this.isNew = former.state === undefined;
    this.fault = former.fault;
    [this.#state, this.#changing, this.#index] = begin(former.state ?? EMPTY);
  }

  /** No such file is an empty book. A file that is no book is put aside as `PATH.damaged`, and is an empty book too. */
  static async open(components: EndpointBookComponents, path: string): Promise<EndpointBook> {
    const { files } = components;
    const text = await files.read(path);
    if (text === undefined) return new EndpointBook(components, path, {});
    const state = readState(text);
    if (typeof state !== 'string') {
      const book = new EndpointBook(components, path, { state, text });
      for (const entry of await book.#journal.read()) book.#take(entry);
      return book;
    }
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

  /** The endpoint that has an address of a tenant, with its ID. */
  endpointAt(tenant: string, address: string): [id: string, endpoint: BookedEndpoint] | undefined {
    return this.#withId(this.#index.withAddress(tenant, address));
  }

  /** The endpoint with a port of this name. */
  endpointOfPort(port: string): [id: string, endpoint: BookedEndpoint] | undefined {
    return this.#withId(this.#index.withPort(port));
  }

  /** Whether any endpoint is in the tenant. */
  hasEndpoints(tenant: string): boolean {
    return this.#index.has(tenant);
  }

  #withId(id: string | undefined): [string, BookedEndpoint] | undefined {
    const endpoint = id === undefined ? undefined : this.#state.endpoints[id];
    return id === undefined || endpoint === undefined ? undefined : [id, endpoint];
  }

  /** Makes another endpoint of the one with the ID; `undefined` where there is none, or is to be none. Throws as {@link change} does. */
  changeEndpoint(
    id: string,
    step: (endpoint: BookedEndpoint | undefined) => BookedEndpoint | undefined,
  ): Promise<void> {
    const before = this.#state.endpoints[id];
    const after = step(before);
    if (after !== before) this.#enter({ endpoint: [id, after ?? null] });
    return this.#persist();
  }

  /** Books an address of a tenant, or `undefined` to forget it. Throws as {@link change} does. */
  setAddress(tenant: string, address: string, booked: BookedAddress | undefined): Promise<void> {
    this.#enter({ address: [tenant, address, booked ?? null] });
    return this.#persist();
  }

  #enter(entry: BookEntry): void {
    this.#take(entry);
    this.#entries.push(entry);
  }

  #take(entry: BookEntry): void {
    const { endpoints, addresses } = this.#changing;
    if ('endpoint' in entry) {
      const [id, endpoint] = entry.endpoint;
      this.#index.move(id, endpoints[id], endpoint ?? undefined);
      if (endpoint === null) delete endpoints[id];
      else endpoints[id] = endpoint;
      return;
    }
    const [tenant, address, booked] = entry.address;
    const own = addresses[tenant] ?? {};
    if (booked === null) delete own[address];
    else own[address] = booked;
    if (booked === null && Object.keys(own).length === 0) delete addresses[tenant];
    else addresses[tenant] = own;
  }

  /**
   * Changes more than single endpoints and addresses, and writes all of it. Throws WeftError `docker-state` when the file
   * can't be written; the change counts in memory all the same.
   */
  change(step: (state: BookState) => BookState): Promise<void> {
    const after = step(this.#state);
    if (after.endpoints === this.#state.endpoints && after.addresses === this.#state.addresses)
      this.#state = after;
    else [this.#state, this.#changing, this.#index] = begin(after);
    this.#isWhole = true;
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

  /** Writes all into the one file that every weft reads, as far as that is possible. */
  async close(): Promise<void> {
    if (this.#journal.isEmpty && this.#entries.length === 0) return;
    this.#isWhole = true;
    await this.#persist().catch(() => {});
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
    const entries = this.#entries;
    const isWhole = this.#isWhole || this.#journal.isLong;
    [this.#entries, this.#isWhole] = [[], false];
    try {
      if (isWhole) await this.#writeWhole();
      else if (entries.length > 0) await this.#journal.append(entries);
      this.#trouble = undefined;
    } catch (cause) {
      this.#isWhole = true;
      const error = new WeftError('docker-state', `could not write ${this.#path}: ${messageOf(cause)}`, {
        remedy: 'make room on the disk, or choose another --state-dir',
        cause,
      });
      this.#trouble = messageOf(error);
      throw error;
    }
  }

  async #writeWhole(): Promise<void> {
    const text = `${JSON.stringify(this.#state)}\n`;
    await this.#files.writeAtomically(this.#path, text, 0o600);
    this.#journal.follow(text);
  }
}

/** Records that change in place are the book's own. */
function begin(state: BookState): [BookState, Changing, BookIndex] {
  const addresses = Object.entries(state.addresses).map(([tenant, own]) => [tenant, { ...own }] as const);
  const changing = { endpoints: { ...state.endpoints }, addresses: Object.fromEntries(addresses) };
  return [{ ...state, ...changing }, changing, new BookIndex(changing.endpoints)];
}
