import { formatGoDuration, goQuote, parseGoBool, parseGoDuration, parseGoInt } from '#src/lib/go-values.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';

/**
 * Command lines as Go's `flag` package reads them (Go 1.26, src/flag/flag.go), from a table: `-f` and `--f` are one,
 * a value follows `=` or is the next word, a boolean never takes the next word, and `--` or the first word that is
 * no flag ends the flags. The texts of its errors are Go's.
 */
export type Flag = {
  /** What it does; a word in `backquotes` names the value in the usage, as in Go. */
  readonly description: string;
  /** False: no environment variable sets it. */
  readonly environment?: false;
} & (
  | { readonly kind: 'bool'; readonly default: boolean }
  | { readonly kind: 'int'; readonly default: number }
  /** In milliseconds. */
  | { readonly kind: 'duration'; readonly default: number }
  /** `check` returns what is wrong with a value. */
  | {
      readonly kind: 'string';
      readonly default: string;
      readonly check?: (text: string) => string | undefined;
    }
  | { readonly kind: 'choice'; readonly default: string; readonly choices: readonly string[] }
  /** One text, split at commas, blanks kept. */
  | { readonly kind: 'list'; readonly default: readonly string[] }
  /** May be given many times. */
  | { readonly kind: 'repeatable'; readonly default: readonly [] }
);

/** Flags by name, without dashes. */
export type FlagTable = Readonly<Record<string, Flag>>;

type ValueOf<F extends Flag> = F extends { kind: 'bool' }
  ? boolean
  : F extends { kind: 'int' | 'duration' }
    ? number
    : F extends { kind: 'choice'; choices: readonly (infer Choice)[] }
      ? Choice
      : F extends { kind: 'list' | 'repeatable' }
        ? readonly string[]
        : string;

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name extends `${infer Head}_${infer Tail}`
    ? `${Head}${Capitalize<CamelCase<Tail>>}`
    : Name;

/** A table's values by camelCase name: `etcd-api` is `etcdApi`. */
export type OptionsOf<Table extends FlagTable> = {
  readonly [Name in keyof Table & string as CamelCase<Name>]: ValueOf<Table[Name]>;
};

export type FlagValue = boolean | number | string | readonly string[];

export type ParsedFlags =
  | {
      readonly outcome: 'parsed';
      /** What the command line says, by flag name. */
      readonly given: ReadonlyMap<string, FlagValue>;
      /** The words after the flags. */
      readonly rest: readonly string[];
    }
  | { readonly outcome: 'help' }
  | { readonly outcome: 'invalid'; readonly message: string };

/** Reads a command line, program name excluded. `-h` and `-help` ask for help unless the table has them. */
export function parseFlags(table: FlagTable, words: readonly string[]): ParsedFlags {
  const given = new Map<string, FlagValue>();
  const invalid = (message: string): ParsedFlags => ({ outcome: 'invalid', message });
  let next = 0;
  while (next < words.length) {
    const word = words[next] ?? '';
    if (word.length < 2 || !word.startsWith('-')) break;
    next++;
    if (word === '--') break;
    const body = word.slice(word.startsWith('--') ? 2 : 1);
    if (body.startsWith('-') || body.startsWith('=')) return invalid(`bad flag syntax: ${word}`);
    const equals = body.indexOf('=');
    const name = equals < 0 ? body : body.slice(0, equals);
    let text = equals < 0 ? undefined : body.slice(equals + 1);
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (flag === undefined) {
      if (name === 'h' || name === 'help') return { outcome: 'help' };
      return invalid(`flag provided but not defined: -${name}`);
    }
    if (text === undefined) text = flag.kind === 'bool' ? 'true' : words[next++];
    if (text === undefined) return invalid(`flag needs an argument: -${name}`);
    const read = readValue(flag, text);
    if ('problem' in read) return invalid(invalidValue(flag, name, text, read.problem));
    given.set(name, flag.kind === 'repeatable' ? [...asList(given.get(name)), text] : read.value);
  }
  return { outcome: 'parsed', given, rest: words.slice(next) };
}

export interface EnvironmentFlags {
  readonly given: ReadonlyMap<string, FlagValue>;
  /** One line for each variable that was ignored because its value can not be read. */
  readonly problems: readonly string[];
}

/** `etcd-api` with prefix `FLANNELD_` is `FLANNELD_ETCD_API`. */
export const variableOf = (prefix: string, name: string): string =>
  prefix + name.toUpperCase().replaceAll('-', '_');

/**
 * Adds the values of environment variables for flags that the command line left out. As in flannel's flagutil, an empty
 * variable counts as unset, a repeatable flag takes the variable as one value, and a bad value is ignored.
 */
export function addEnvironment(
  table: FlagTable,
  given: ReadonlyMap<string, FlagValue>,
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
): EnvironmentFlags {
  const all = new Map(given);
  const problems: string[] = [];
  for (const [name, flag] of Object.entries(table)) {
    const variable = variableOf(prefix, name);
    const text = environment[variable];
    if (all.has(name) || flag.environment === false || text === undefined || text === '') continue;
    const read = readValue(flag, text);
    if ('problem' in read) problems.push(`${variable}: ${invalidValue(flag, name, text, read.problem)}`);
    else all.set(name, read.value);
  }
  return { given: all, problems };
}

/**
 * One line for each variable with the prefix that is no flag's: a slip of the pen, or one of a later version.
 * `PREFIX_OPTIONS` holds flags: systemd's units have such a variable.
 */
export function unknownVariables(
  table: FlagTable,
  prefix: string,
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const known = Object.keys(table).map((name) => variableOf(prefix, name));
  return Object.keys(environment)
    .filter((name) => name.startsWith(prefix) && name !== `${prefix}OPTIONS` && !known.includes(name))
    .map((name) => `${name}: ${didYouMean(name, known, 'no flag has this name')}`);
}

/** The values by camelCase name, with the defaults of what was not given. */
export function optionsOf<Table extends FlagTable>(
  table: Table,
  given: ReadonlyMap<string, FlagValue>,
): OptionsOf<Table> {
  const entries = Object.entries(table).map(([name, flag]) => [
    camelCase(name),
    given.get(name) ?? flag.default,
  ]);
  // readValue gives each flag a value of its kind, which the compiler can't follow through a Map.
  return Object.fromEntries(entries) as OptionsOf<Table>;
}

/** `log_backtrace_at` is `logBacktraceAt`. */
export const camelCase = (name: string): string =>
  name.replace(/[-_](.)/g, (_, first: string) => first.toUpperCase());

/** A default in the words of Go's usage; empty for a zero value, which Go leaves out. */
export function formatDefault(flag: Flag): string {
  switch (flag.kind) {
    case 'bool':
      return flag.default ? 'true' : '';
    case 'int':
      return flag.default === 0 ? '' : String(flag.default);
    case 'duration':
      return flag.default === 0 ? '' : formatGoDuration(flag.default);
    case 'string':
    case 'choice':
      return flag.default === '' ? '' : goQuote(flag.default);
    case 'list':
      return flag.default.length === 0 ? '' : goQuote(flag.default.join(','));
    case 'repeatable':
      return '';
  }
}

/** The value's name in the usage, and the description without its backquotes. */
export function describeFlag(flag: Flag): { readonly valueName: string; readonly description: string } {
  const description = flag.description.replace(/`([^`]*)`/, '$1');
  const named = /`([^`]*)`/.exec(flag.description)?.[1];
  if (named !== undefined) return { valueName: named, description };
  switch (flag.kind) {
    case 'bool':
      return { valueName: '', description };
    case 'choice':
      return { valueName: flag.choices.join('|'), description };
    case 'int':
    case 'duration':
      return { valueName: flag.kind, description };
    default:
      return { valueName: 'string', description };
  }
}

/** Go's `PrintDefaults`: sorted by name, the description on a line of its own. */
export function formatUsage(table: FlagTable): string {
  return Object.entries(table)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, flag]) => {
      const { valueName, description } = describeFlag(flag);
      const head = valueName === '' ? `  -${name}` : `  -${name} ${valueName}`;
      const fallback = formatDefault(flag);
      // Go puts a one-letter boolean and its description on one line.
      const gap = head.length <= 4 ? '\t' : '\n    \t';
      return `${head}${gap}${description}${fallback === '' ? '' : ` (default ${fallback})`}\n`;
    })
    .join('');
}

function readValue(flag: Flag, text: string): { value: FlagValue } | { problem: string } {
  switch (flag.kind) {
    case 'bool':
      return parseGoBool(text);
    case 'int':
      return parseGoInt(text);
    case 'duration':
      return parseGoDuration(text);
    case 'string': {
      const problem = flag.check?.(text);
      return problem === undefined ? { value: text } : { problem };
    }
    case 'choice':
      return flag.choices.includes(text)
        ? { value: text }
        : { problem: `must be one of ${flag.choices.join(', ')}` };
    case 'list':
      return { value: text.split(',') };
    case 'repeatable':
      return { value: [text] };
  }
}

const invalidValue = (flag: Flag, name: string, text: string, problem: string): string =>
  flag.kind === 'bool'
    ? `invalid boolean value ${goQuote(text)} for -${name}: ${problem}`
    : `invalid value ${goQuote(text)} for flag -${name}: ${problem}`;

const asList = (value: FlagValue | undefined): readonly string[] => (Array.isArray(value) ? value : []);
