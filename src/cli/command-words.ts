import { type FlagTable, type FlagValue, type ParsedFlags, parseFlags } from '#src/lib/go-flags.ts';

/** The words of a command, in which flags may stand before, between and after the others: `rest` has the others. */
export function parseWords(table: FlagTable, words: readonly string[]): ParsedFlags {
  const given = new Map<string, FlagValue>();
  const positional: string[] = [];
  for (let left = words; left.length > 0; ) {
    const parsed = parseFlags(table, left);
    if (parsed.outcome !== 'parsed') return parsed;
    for (const [name, value] of parsed.given) {
      const before = table[name]?.kind === 'repeatable' ? given.get(name) : undefined;
      given.set(name, Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value);
    }
    const [word, ...more] = parsed.rest;
    if (word !== undefined) positional.push(word);
    left = more;
  }
  return { outcome: 'parsed', given, rest: positional };
}
