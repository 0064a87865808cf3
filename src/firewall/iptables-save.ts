import { formatPrefix, masked, parsePrefix } from '#src/lib/ip.ts';

/** What `iptables-save` printed: tables by name, their chains by name. */
export type SavedTables = ReadonlyMap<string, SavedTable>;
export type SavedTable = ReadonlyMap<string, SavedChain>;

export interface SavedChain {
  /** `ACCEPT`, `DROP`; `-` for a chain that somebody made. */
  readonly policy: string;
  readonly rules: readonly SavedRule[];
}

export interface SavedRule {
  /** The rule as printed, without `-A CHAIN`: fit for a `-D` unless a comment in it has a line break. */
  readonly text: string;
  /** Its options, each with its values, sorted: two rules are the same when these are. */
  readonly options: readonly string[];
  readonly target: string | undefined;
}

/**
 * Reads `iptables-save` of the legacy and the nft kind, with or without counters. The two print options in another
 * order, and either may print a host without `/32`.
 */
export function parseIptablesSave(text: string): SavedTables {
  const tables = new Map<string, Map<string, { policy: string; rules: SavedRule[] }>>();
  let table = new Map<string, { policy: string; rules: SavedRule[] }>();
  for (const line of linesOf(text)) {
    const [, sort, name = '', rest = ''] = /^(?:\[\d+:\d+\] )?(\*|:|-A )(\S+) ?(.*?)\s*$/s.exec(line) ?? [];
    if (sort === '*') {
      table = new Map();
      tables.set(name, table);
    } else if (sort === ':') {
      table.set(name, { policy: rest.split(' ')[0] ?? '-', rules: [] });
    } else if (sort === '-A ') {
      table.get(name)?.rules.push(parseRule(rest));
    }
  }
  return tables;
}

/** The lines, those of a rule joined: a comment is printed as it is, line breaks and all (xtables_save_string). */
function* linesOf(text: string): Generator<string> {
  let begun: string | undefined;
  for (const line of text.split('\n')) {
    const whole: string = begun === undefined ? line : `${begun}\n${line}`;
    const isRule = begun !== undefined || /^(?:\[\d+:\d+\] )?-A /.test(line);
    begun = isRule && hasOpenQuote(whole) ? whole : undefined;
    if (begun === undefined) yield whole;
  }
}

const hasOpenQuote = (text: string): boolean => text.replace(/\\./gs, '').split('"').length % 2 === 0;

export function parseRule(text: string): SavedRule {
  const options: string[] = [];
  let negated = '';
  for (const [word] of text.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)) {
    if (word === '!') {
      negated = '! ';
    } else if (word.startsWith('-')) {
      options.push(negated + word);
      negated = '';
    } else {
      options.push(`${options.pop() ?? ''} ${negated}${normal(word)}`);
      negated = '';
    }
  }
  const target = options.find((option) => /^-[jg] /.test(option))?.split(' ')[1];
  return { text, options: options.sort(), target };
}

/** Whether every packet takes the rule. */
export const isUnconditional = ({ options }: SavedRule): boolean =>
  options.every((option) => /^(?:-j|-g|-m comment$|--comment|--reject-with|--random)/.test(option));

function normal(word: string): string {
  const prefix = parsePrefix(word) ?? parsePrefix(`${word}/${word.includes(':') ? 128 : 32}`);
  return prefix === undefined ? word : formatPrefix(masked(prefix));
}
