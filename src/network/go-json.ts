import { WeftError } from '#src/lib/errors.ts';
import { Secret } from '#src/lib/secret.ts';
import { type JsonMember, membersOf, stringIn } from '#src/network/json-members.ts';
import type { Json } from '#src/network/lease.ts';

type JsonObject = { readonly [key: string]: Json };

/**
 * A JSON object as Go's encoding/json reads one into a struct (Go 1.26; the rules are as old as flannel v0.9.1): names
 * match in any case, unknown ones are ignored, and of several spellings of one name the last in the text counts. Every
 * one of them must be of the field's type. What `null` means depends on that type.
 */
export class GoObject {
  readonly #members: readonly JsonMember[];
  readonly #path: string;

  /** What `JSON.parse` made of the members, where that is at hand. */
  readonly #parsed: JsonObject | undefined;

  /** `path` is put before field names in errors: `Backend.` */
  constructor(object: JsonObject | readonly JsonMember[], path = '', parsed?: JsonObject) {
    this.#parsed = parsed;
    this.#members = isMembers(object)
      ? object
      : Object.entries(object).map(([name, value]) => ({ name, text: JSON.stringify(value) }));
    this.#path = path;
  }

  /** Reads a text; `undefined` when it is JSON, but no object. Throws SyntaxError when it is not JSON. */
  static parse(text: string, path = ''): GoObject | undefined {
    const value: Json = JSON.parse(text);
    return isJsonObject(value) ? GoObject.of(text, value, path) : undefined;
  }

  /** The same of a text that `JSON.parse` has read already. */
  static of(text: string, value: JsonObject, path = ''): GoObject {
    return new GoObject(membersOf(text) ?? [], path, value);
  }

  /** A json.RawMessage: the value as it is, null included; `undefined` when the field is absent. */
  raw(name: string): Json | undefined {
    const member = this.#lastMember(name);
    if (member === undefined) return undefined;
    const parsed = this.#parsed?.[member.name];
    // Of a name that is there twice JSON.parse, too, keeps the last value.
    return inTextOrder(member.text, parsed === undefined ? JSON.parse(member.text) : parsed);
  }

  /** A string, or `undefined`. null changes nothing. Throws WeftError `config` when the field is there and no string. */
  string(name: string): string | undefined {
    return this.#last(name, 'a string', (text) => (text[0] === '"' ? stringIn(text) : undefined));
  }

  /** A string that no error repeats. null changes nothing. Throws WeftError `config` when the field is there and no string. */
  secret(name: string): Secret | undefined {
    try {
      const text = this.string(name);
      return text === undefined ? undefined : Secret.ofText(text);
    } catch {
      throw new WeftError('config', `${this.#path}${name} must be a string`);
    }
  }

  /**
   * Throws WeftError `config` when the field is there and no whole number within the bounds. null changes nothing. Quoted
   * numbers and those with a point or an exponent are none, even 24.0.
   */
  integer(name: string, min: number, max: number): number | undefined {
    const read = (text: string): number | undefined => (/^-?\d+$/.test(text) ? Number(text) + 0 : undefined);
    return this.#last(name, 'a whole number', (text) => {
      const value = read(text);
      if (value !== undefined && (value < min || value > max))
        throw this.#wrongType(name, text, `between ${min} and ${max}`);
      return value;
    });
  }

  /** null changes nothing. Throws WeftError `config` when the field is there and neither true nor false. */
  boolean(name: string): boolean | undefined {
    return this.#last(name, 'true or false', (text) =>
      text === 'true' ? true : text === 'false' ? false : undefined,
    );
  }

  /**
   * A field that flannel reads with a function of its own, an address or a prefix: it gets the text between the quotes as it
   * stands, without regard to escapes. null is an error as any other value that is no string. `problem` says what is wrong
   * with a text that can't be parsed. Throws WeftError `config`.
   */
  parsed<T>(name: string, parse: (text: string) => T | undefined, problem: string): T | undefined {
    let found: T | undefined;
    for (const { name: key, text } of this.#members) {
      if (!isSameName(key, name)) continue;
      if (text[0] !== '"') throw this.#wrongType(name, text, 'a string');
      found = parse(text.slice(1, -1));
      if (found === undefined) throw this.#problem(name, text, problem);
    }
    return found;
  }

  /** Such a field behind a pointer: null takes back what came before it. */
  parsedOrNull<T>(name: string, parse: (text: string) => T | undefined, problem: string): T | undefined {
    let found: T | undefined;
    for (const member of this.#members) {
      if (!isSameName(member.name, name)) continue;
      found =
        member.text === 'null' ? undefined : new GoObject([member], this.#path).parsed(name, parse, problem);
    }
    return found;
  }

  /** An object that is read later, as flannel does with Backend: null is an empty one. Throws WeftError `config`. */
  object(name: string): GoObject | undefined {
    const text = this.#lastMember(name)?.text;
    if (text === undefined) return undefined;
    const members = text === 'null' ? [] : membersOf(text);
    if (members === undefined) throw this.#wrongType(name, text, 'an object');
    return new GoObject(members, `${this.#path}${name}.`);
  }

  /** An error that names the field and its value. */
  error(name: string, message: string): WeftError {
    return this.#problem(name, this.#lastMember(name)?.text ?? 'null', message);
  }

  /** The last of the values that is not null; all have to be of the type. */
  #last<T>(name: string, wanted: string, read: (text: string) => T | undefined): T | undefined {
    let found: T | undefined;
    for (const { name: key, text } of this.#members) {
      if (!isSameName(key, name) || text === 'null') continue;
      found = read(text);
      if (found === undefined) throw this.#wrongType(name, text, wanted);
    }
    return found;
  }

  #lastMember(name: string): JsonMember | undefined {
    return this.#members.findLast((member) => isSameName(member.name, name));
  }

  #problem(name: string, text: string, message: string): WeftError {
    return new WeftError('config', `${message} (${this.#path}${name}: ${excerptOf(text)})`);
  }

  #wrongType(name: string, text: string, wanted: string): WeftError {
    return new WeftError('config', `${this.#path}${name} must be ${wanted}, it is ${excerptOf(text)}`);
  }
}

const isMembers = (object: JsonObject | readonly JsonMember[]): object is readonly JsonMember[] =>
  Array.isArray(object);

/** The value, its members in the order in which each name occurs last: {@link fieldOf} counts on it. */
function inTextOrder(text: string, value: Json): Json {
  if (!isJsonObject(value)) return value;
  const members = membersOf(text) ?? [];
  if (members.length === Object.keys(value).length) return value;
  const inOrder = new Map<string, Json>();
  for (const member of members) {
    inOrder.delete(member.name);
    inOrder.set(member.name, JSON.parse(member.text));
  }
  return Object.fromEntries(inOrder);
}

/**
 * One field of an object that {@link GoObject.raw} gave, as flannel reads one with a function of its own: of several
 * spellings the last counts, and none of them may be null.
 */
export function fieldOf(object: JsonObject, name: string): Json | undefined {
  let found: Json | undefined;
  for (const key in object) if (found !== null && isSameName(key, name)) found = object[key];
  return found;
}

/** Whether Go takes the key for the field's name. */
function isSameName(key: string, name: string): boolean {
  if (key === name) return true;
  if (key.length !== name.length) return false;
  for (let at = 0; at < key.length; at++) {
    if (fold(key.charCodeAt(at)) !== fold(name.charCodeAt(at))) return false;
  }
  return true;
}

/** Names of fields are ASCII; two letters beyond it fold to s and k. */
function fold(code: number): number {
  if (code >= 0x41 && code <= 0x5a) return code + 0x20;
  return code === 0x17f ? 0x73 : code === 0x212a ? 0x6b : code;
}

const EXCERPT = 80;

/** A value as a message shows it: it may be somebody else's, and of any length. */
export function excerpt(value: Json): string {
  return shortened(JSON.stringify(value));
}

/** The same of a value's text. A number is shown as it was written, and the rest on one line. */
const excerptOf = (text: string): string =>
  /^[-\d]/.test(text) ? shortened(text) : excerpt(JSON.parse(text));

const shortened = (text: string): string => (text.length <= EXCERPT ? text : `${text.slice(0, EXCERPT)}…`);

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
