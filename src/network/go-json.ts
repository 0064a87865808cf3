import { WeftError } from '#src/lib/errors.ts';
import type { Json } from '#src/network/lease.ts';

/** A JSON object as Go's encoding/json reads one: names match in any case, unknown ones are ignored, the last of two wins. */
export class GoObject {
  readonly #object: { readonly [key: string]: Json };
  readonly #path: string;

  /** `path` is put before field names in errors: `Backend.` */
  constructor(object: { readonly [key: string]: Json }, path = '') {
    this.#object = object;
    this.#path = path;
  }

  /** The value as it is; `undefined` when the field is absent or null, which Go leaves at its default. */
  raw(name: string): Json | undefined {
    return fieldOf(this.#object, name);
  }

  /** Throws WeftError `config` when the field is there and no string. */
  string(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === 'string') return value;
    throw this.#wrongType(name, value, 'a string');
  }

  /** Throws WeftError `config` when the field is there and no whole number within the bounds. A quoted number is none. */
  integer(name: string, min: number, max: number): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value))
      throw this.#wrongType(name, value, 'a whole number');
    if (value < min || value > max) throw this.#wrongType(name, value, `between ${min} and ${max}`);
    return value;
  }

  /** Throws WeftError `config` when the field is there and neither true nor false. */
  boolean(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.#wrongType(name, value, 'true or false');
  }

  /** Throws WeftError `config` when the field is there and no object. */
  object(name: string): GoObject | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (isJsonObject(value)) return new GoObject(value, `${this.#path}${name}.`);
    throw this.#wrongType(name, value, 'an object');
  }

  /** An error that names the field and its value. */
  error(name: string, message: string): WeftError {
    return new WeftError('config', `${message} (${this.#path}${name}: ${excerpt(this.raw(name) ?? null)})`);
  }

  #wrongType(name: string, value: Json, wanted: string): WeftError {
    return new WeftError('config', `${this.#path}${name} must be ${wanted}, it is ${excerpt(value)}`);
  }
}

/** One field of a JSON object by Go's rules; see {@link GoObject}, which is for reading several. */
export function fieldOf(object: { readonly [key: string]: Json }, name: string): Json | undefined {
  let found: Json | undefined;
  for (const key in object) {
    // Go leaves a field as it is when the value is null.
    if ((key === name || isSameWord(key, name)) && object[key] !== null) found = object[key];
  }
  return found;
}

const isSameWord = (a: string, b: string): boolean =>
  a.length === b.length && a.toLowerCase() === b.toLowerCase();

const EXCERPT = 80;

/** A value as a message shows it: it may be somebody else's, and of any length. */
export function excerpt(value: Json): string {
  const text = JSON.stringify(value);
  return text.length <= EXCERPT ? text : `${text.slice(0, EXCERPT)}…`;
}

export const isJsonObject = (value: unknown): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
