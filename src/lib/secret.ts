/**
 * Bytes that only the kernel and a key file may see: a private key, a preshared key. Wherever it is printed, in a log line,
 * an error, JSON or a debugger's output, it is `(hidden)`.
 */
export class Secret {
  readonly #bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Takes a copy. What it was copied from is the caller's to erase. */
  static copyOf(bytes: Uint8Array): Secret {
    return new Secret(Uint8Array.from(bytes));
  }

  /** Of a text, as UTF-8. */
  static ofText(text: string): Secret {
    return new Secret(Buffer.from(text));
  }

  /** The bytes as text, for what takes no bytes. It can't be erased. */
  text(): string {
    return Buffer.from(this.#bytes).toString();
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Writes the bytes out: into a message to the kernel, a file or a cipher. */
  copyTo(target: Uint8Array, at = 0): void {
    target.set(this.#bytes, at);
  }

  /** Takes as long for any two secrets of the same length. */
  equals(other: Secret): boolean {
    if (other.#bytes.length !== this.#bytes.length) return false;
    let different = 0;
    for (let at = 0; at < this.#bytes.length; at++)
      different |= (this.#bytes[at] ?? 0) ^ (other.#bytes[at] ?? 0);
    return different === 0;
  }

  /** Overwrites the bytes. To be called where no other part can still use them. */
  erase(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  /** For `console.log` and `util.inspect`. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return HIDDEN;
  }
}

const HIDDEN = '(hidden)';

/** Whether two optional secrets are the same, or both absent. */
export const equalSecrets = (a: Secret | undefined, b: Secret | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a === b || a.equals(b);
