import { WeftError } from '#src/lib/errors.ts';
import type { Entry, TransferEnd } from '#src/store/transfer.ts';
import type { Files } from '#src/sys/files.ts';

const FORMAT = 'weft-store-export';
const VERSION = 1;

/** One line of the file after the first. Bytes that are no UTF-8 text are in base64, under the names with 64. */
interface Line {
  readonly key?: string;
  readonly key64?: string;
  readonly value?: string;
  readonly value64?: string;
  /** Seconds that were left when the file was written. */
  readonly ttl?: number;
  /** Hexadecimal, as etcdctl writes it. */
  readonly lease?: string;
}

/** A file of JSON lines: a backup that can be read, searched and written by hand. */
export class FileEnd implements TransferEnd {
  readonly description: string;
  readonly #path: string;
  readonly #files: Files;
  readonly #mustExist: boolean;

  constructor(components: { readonly files: Files }, path: string, options: { readonly mustExist: boolean }) {
    this.#files = components.files;
    this.#path = path;
    this.#mustExist = options.mustExist;
    this.description = path;
  }

  async read(prefix: string): Promise<Entry[]> {
    const text = await this.#files.read(this.#path);
    if (text === undefined && this.#mustExist) {
      throw new WeftError('store-file', `cannot read ${this.#path}: there is no such file`);
    }
    if (text === undefined) return [];
    const [head = '', ...lines] = text.split('\n');
    const { format, version } = this.#parse<{ format?: string; version?: number }>(head, 1);
    if (format !== FORMAT || version !== VERSION)
      throw this.#bad(1, `it is no ${FORMAT} of version ${VERSION}`);
    return lines
      .map((line, index) => ({ line, number: index + 2 }))
      .filter(({ line }) => line.trim() !== '')
      .map(({ line, number }) => this.#entry(this.#parse<Line>(line, number), number))
      .filter(({ key }) => key.subarray(0, Buffer.byteLength(prefix)).equals(Buffer.from(prefix)));
  }

  check(): void {}

  /** Without `overwrite` the caller has seen that there is nothing; with it, the file is replaced. */
  async write(entries: readonly Entry[]): Promise<void> {
    const lines = [{ format: FORMAT, version: VERSION }, ...entries.map(lineOf)];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    // Values may be secrets of the network, such as keys of tunnels.
    await this.#files.writeAtomically(this.#path, text, 0o600);
  }

  async close(): Promise<void> {}

  #entry({ key, key64, value, value64, ttl, lease }: Line, number: number): Entry {
    const bytes = (name: string, text: unknown, base64: unknown): Buffer => {
      if (typeof text === 'string') return Buffer.from(text);
      if (typeof base64 === 'string') return Buffer.from(base64, 'base64');
      throw this.#bad(number, `it has no ${name}`);
    };
    const entry = { key: bytes('key', key, key64), value: bytes('value', value, value64) };
    if (entry.key.length === 0) throw this.#bad(number, 'its key is empty');
    if (ttl === undefined) return entry;
    if (!Number.isSafeInteger(ttl) || ttl < 1) throw this.#bad(number, `its ttl is ${JSON.stringify(ttl)}`);
    if (lease !== undefined && !/^[0-9a-f]{1,16}$/i.test(lease)) {
      throw this.#bad(number, `its lease is ${JSON.stringify(lease)}`);
    }
    const id = lease === undefined ? undefined : BigInt.asIntN(64, BigInt(`0x${lease}`));
    return { ...entry, lease: { id, remaining: BigInt(ttl) } };
  }

  #parse<T>(line: string, number: number): T {
    try {
      const parsed: unknown = JSON.parse(line);
      if (typeof parsed === 'object' && parsed !== null) return parsed as T;
    } catch {
      // The error below names it.
    }
    throw this.#bad(number, 'it is no JSON object');
  }

  #bad(line: number, why: string): WeftError {
    return new WeftError('store-file', `cannot read ${this.#path}, line ${line}: ${why}`, {
      remedy: 'give a file that weft store export wrote',
    });
  }
}

function lineOf({ key, value, lease }: Entry): Line {
  const text = (name: 'key' | 'value', bytes: Buffer): Line => {
    const decoded = bytes.toString();
    return Buffer.from(decoded).equals(bytes)
      ? { [name]: decoded }
      : { [`${name}64`]: bytes.toString('base64') };
  };
  return {
    ...text('key', key),
    ...text('value', value),
    ...(lease !== undefined && { ttl: Number(lease.remaining) }),
    ...(lease?.id !== undefined && { lease: BigInt.asUintN(64, lease.id).toString(16) }),
  };
}
