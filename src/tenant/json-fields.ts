import { messageOf } from '#src/lib/errors.ts';
import { excerpt, isJsonObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';

/** What a record says, or why it can't be used, in one line. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/** The fields of a JSON object that others wrote. Fields that nobody asks for are ignored. */
export class JsonFields {
  readonly #object: { readonly [name: string]: Json };
  /** What is put before names in reasons: `subnets.v4.` */
  readonly #path: string;

  constructor(object: { readonly [name: string]: Json }, path = '') {
    this.#object = object;
    this.#path = path;
  }

  /** `wanted`: what the field has to be, for the reason. `parse` gives `undefined` for anything else. Throws. */
  read<T>(name: string, wanted: string, parse: (value: Json) => T | undefined): T {
    const value = this.optional(name, wanted, parse);
    if (value === undefined) throw new Error(`it has no ${this.#path}${name}`);
    return value;
  }

  /** The same of a field that may be absent. */
  optional<T>(name: string, wanted: string, parse: (value: Json) => T | undefined): T | undefined {
    if (!Object.hasOwn(this.#object, name)) return undefined;
    const value = this.#object[name];
    const parsed = value === undefined ? undefined : parse(value);
    if (value !== undefined && parsed === undefined)
      throw new Error(`its ${this.#path}${name} must be ${wanted}, it is ${excerpt(value)}`);
    return parsed;
  }

  /** An object in it. */
  fields(name: string): JsonFields | undefined {
    const object = this.optional(name, 'an object', (value) => (isJsonObject(value) ? value : undefined));
    return object && new JsonFields(object, `${this.#path}${name}.`);
  }

  names(): readonly string[] {
    return Object.keys(this.#object);
  }
}

/**
 * Reads a value of at most `longest` characters: a longer one is not parsed. Never throws, because values come from
 * others; what `read` throws is the reason.
 */
export function parseFields<T>(text: string, longest: number, read: (fields: JsonFields) => T): Parsed<T> {
  if (text.length > longest) return { ok: false, reason: `its value has ${text.length} characters` };
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, reason: 'its value is not JSON' };
  }
  if (!isJsonObject(value)) return { ok: false, reason: 'its value is not a JSON object' };
  try {
    return { ok: true, value: read(new JsonFields(value)) };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}

/** Reads a field that is text. */
export const ofText =
  <T>(parse: (text: string) => T | undefined) =>
  (value: Json): T | undefined =>
    typeof value === 'string' ? parse(value) : undefined;

/** Text that has to be like this. */
export const ofPattern = (pattern: RegExp): ((value: Json) => string | undefined) =>
  ofText((text) => (pattern.test(text) ? text : undefined));

export const ofInteger =
  (min: number, max: number) =>
  (value: Json): number | undefined =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined;

export const ofBoolean = (value: Json): boolean | undefined =>
  typeof value === 'boolean' ? value : undefined;

/**
 * The value with those members of the former one that are not among `known`: a later version wrote them. What is no JSON
 * object has none.
 */
export function keepingUnknown(
  value: { readonly [name: string]: Json },
  former: string | undefined,
  known: readonly string[],
): string {
  const others = former === undefined ? {} : (parseUnknown(former, known) ?? {});
  return JSON.stringify({ ...value, ...others });
}

function parseUnknown(text: string, known: readonly string[]): { readonly [name: string]: Json } | undefined {
  try {
    const value: Json = JSON.parse(text);
    if (!isJsonObject(value)) return undefined;
    return Object.fromEntries(Object.entries(value).filter(([name]) => !known.includes(name)));
  } catch {
    return undefined;
  }
}
