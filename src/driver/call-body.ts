import { WeftError } from '#src/lib/errors.ts';
import { type Ip, type Prefix, parseIp, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';

/** A call of Docker that can't be read: `plugin-call`. */
export class CallError extends WeftError {
  constructor(message: string, remedy: string) {
    super('plugin-call', message, { remedy });
    this.name = 'CallError';
  }
}

/**
 * The fields of a call's body, or of an object in it. Fields that are not asked for may be anything. Go writes an empty map
 * or list as `null`, an empty text as `""`, and leaves fields out: all of them are an absent value. Everything else has to
 * have its type. All methods throw {@link CallError}.
 */
export class CallBody {
  readonly #fields: Readonly<Record<string, unknown>>;
  /** `NetworkDriver.Join: Options.` in front of a field's name. */
  readonly #place: string;

  private constructor(fields: Readonly<Record<string, unknown>>, place: string) {
    this.#fields = fields;
    this.#place = place;
  }

  static read(call: string, bytes: Buffer): CallBody {
    // moby's pkg/plugins/client.go sends the body once; what it repeats after a lost connection is empty.
    if (bytes.length === 0) {
      throw new CallError(
        `${call} came without a body, as Docker repeats a call that a restart cut off`,
        AGAIN,
      );
    }
    let value: unknown;
    try {
      value = JSON.parse(UTF8.decode(bytes));
    } catch {
      throw new CallError(`${call} has a body that is not JSON`, REPORT);
    }
    if (!isObject(value)) throw new CallError(`${call} has a body that is no object`, REPORT);
    return new CallBody(value, `${call}: `);
  }

  /** 64 hex digits: networks and endpoints. */
  id(name: string): string {
    const text = this.text(name);
    if (!/^[0-9a-f]{64}$/.test(text)) throw this.#wrong(name, '64 hex digits');
    return text;
  }

  /** A text that is not empty. */
  text(name: string): string {
    return this.optionalText(name) ?? this.#missing(name);
  }

  optionalText(name: string): string | undefined {
    const value = this.#fields[name];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') throw this.#wrong(name, 'a text');
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields[name] ?? false;
    if (typeof value !== 'boolean') throw this.#wrong(name, 'true or false');
    return value;
  }

  /** A text of that form. */
  parsed<T>(name: string, form: Form<T>): T {
    return this.optionalParsed(name, form) ?? this.#missing(name);
  }

  optionalParsed<T>(name: string, { what, parse }: Form<T>): T | undefined {
    const text = this.optionalText(name);
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value === undefined) throw this.#wrong(name, what);
    return value;
  }

  /** An object that may be absent: its fields, none then. */
  object(name: string): CallBody {
    const value = this.#fields[name] ?? {};
    if (!isObject(value)) throw this.#wrong(name, 'an object');
    return new CallBody(value, `${this.#place}${name}.`);
  }

  objects(name: string): readonly CallBody[] {
    const value = this.#fields[name] ?? [];
    if (!Array.isArray(value)) throw this.#wrong(name, 'a list');
    return value.map((item: unknown, n) => {
      if (!isObject(item)) throw this.#wrong(`${name}[${n}]`, 'an object');
      return new CallBody(item, `${this.#place}${name}[${n}].`);
    });
  }

  /** All fields that `wanted` takes; each has to be a text, and may be empty. */
  texts(wanted: (name: string) => boolean = () => true): Readonly<Record<string, string>> {
    const entries = Object.entries(this.#fields).filter(([name]) => wanted(name));
    for (const [name, value] of entries) if (typeof value !== 'string') throw this.#wrong(name, 'a text');
    return Object.fromEntries(entries) as Record<string, string>;
  }

  /** All fields, each a text of that form. */
  allParsed<T>(form: Form<T>): Readonly<Record<string, T>> {
    const names = Object.keys(this.#fields);
    return Object.fromEntries(names.map((name) => [name, this.parsed(name, form)]));
  }

  #missing(name: string): never {
    throw new CallError(`${this.#place}${name} is missing`, REPORT);
  }

  #wrong(name: string, what: string): CallError {
    const shown = JSON.stringify(this.#fields[name])?.slice(0, EXCERPT) ?? 'nothing';
    return new CallError(`${this.#place}${name} is not ${what}: ${shown}`, REPORT);
  }
}

const AGAIN = 'repeat the command';
const REPORT = 'no Docker that weft was tried with sends that: report it with the version of Docker';
const EXCERPT = 60;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** How a text in a call is read; `what` names the form in an error. */
export interface Form<T> {
  readonly what: string;
  parse(text: string): T | undefined;
}

export const AS_IP: Form<Ip> = { what: 'an address', parse: parseIp };
export const AS_MAC: Form<Mac> = { what: 'a MAC', parse: parseMac };
export const AS_PREFIX_OF: Readonly<Record<4 | 6, Form<Prefix>>> = {
  4: { what: 'ADDRESS/LENGTH in IPv4', parse: (text) => parsePrefix4(text) },
  6: { what: 'ADDRESS/LENGTH in IPv6', parse: (text) => parsePrefix6(text) },
};
