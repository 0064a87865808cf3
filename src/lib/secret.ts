const HIDDEN = '(hidden)';

/**
 * A text that is shown nowhere: in a log line, an error, a status, JSON or the debugger it is `(hidden)`. Only `reveal` gives
 * it, to what has to have it.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  /** Two values with one text have to be asked: their fields are not compared by anything else. */
  equals(other: Secret): boolean {
    return this.#text === other.#text;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return HIDDEN;
  }
}
