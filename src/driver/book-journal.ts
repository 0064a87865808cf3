import type { BookedAddress, BookedEndpoint } from '#src/driver/book-state.ts';
import type { Files } from '#src/sys/files.ts';

/** A change of one endpoint, or of one address of a tenant; `null` when it is gone. */
export type BookEntry =
  | { readonly endpoint: readonly [id: string, endpoint: BookedEndpoint | null] }
  | { readonly address: readonly [tenant: string, address: string, booked: BookedAddress | null] };

/** The file beside a book with what has changed since the book was written. */
export const journalPath = (book: string): string => `${book}.changes`;

const SECRET = 0o600;
/** A journal that is longer than this, and than its book, goes into the book. */
const LEAST_BYTES = 256 << 10;

/**
 * What has changed in a book since it was written as a whole: a line for each change. A new endpoint would cost more for
 * writing 10,000 others again than for everything that it needs itself. The first line names the text of the book that the
 * changes belong to. Changes of another text do not count: a crash may come between the two files, and a weft that knows no
 * journal may have written the book.
 */
export class BookJournal {
  readonly #files: Pick<Files, 'read' | 'writeAtomically' | 'append'>;
  readonly #path: string;
  /** Of the book's text. */
  #of = '';
  #bookBytes = 0;
  /** 0 until there is a file for this text of the book. */
  #bytes = 0;

  constructor(files: Pick<Files, 'read' | 'writeAtomically' | 'append'>, path: string) {
    this.#files = files;
    this.#path = path;
  }

  /** Whether the book is to be written as a whole next. */
  get isLong(): boolean {
    return this.#bytes > Math.max(LEAST_BYTES, this.#bookBytes);
  }

  /** Whether it has anything that the book does not have. */
  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** The book has this text now. */
  follow(text: string): void {
    this.#of = fingerprint(text);
    this.#bookBytes = text.length;
    this.#bytes = 0;
  }

  /** What has changed since {@link follow}'s text was written. A last line that a crash cut off was never answered for. */
  async read(): Promise<BookEntry[]> {
    const text = (await this.#files.read(this.#path)) ?? '';
    const [first, ...lines] = text.split('\n');
    if (first !== this.#header) return [];
    const entries: BookEntry[] = [];
    for (const line of lines.slice(0, -1)) {
      const entry = parseEntry(line);
      if (entry === undefined) break;
      entries.push(entry);
    }
    // What comes next would be added to a line that is cut off: the book is written as a whole.
    const isWhole = text.endsWith('\n') && entries.length === lines.length - 1;
    this.#bytes = isWhole ? text.length : Number.POSITIVE_INFINITY;
    return entries;
  }

  /** Adds changes; they are on the disk when it resolves. Throws node's error: the book has to be written as a whole then. */
  async append(entries: readonly BookEntry[]): Promise<void> {
    const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
    const isNew = this.#bytes === 0;
    const text = isNew ? `${this.#header}\n${lines}` : lines;
    this.#bytes += text.length;
    if (isNew) await this.#files.writeAtomically(this.#path, text, SECRET);
    else await this.#files.append(this.#path, text);
  }

  get #header(): string {
    return JSON.stringify({ of: this.#of });
  }
}

function parseEntry(line: string): BookEntry | undefined {
  try {
    const entry = JSON.parse(line) as BookEntry;
    const parts = 'endpoint' in entry ? entry.endpoint : entry.address;
    return Array.isArray(parts) ? entry : undefined;
  } catch {
    return undefined;
  }
}

/** FNV-1a of 32 bits, and the length: two texts of one book differ in it. It keeps no secret. */
function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return `${text.length}-${(hash >>> 0).toString(16)}`;
}
