/**
 * Values as Go's `strconv`, `time` and `fmt` read and write them: what a unit file says to flannel has to mean the
 * same to us.
 */

const INTEGER = /^[+-]?(0[xX](_?[0-9a-fA-F])+|0[oO](_?[0-7])+|0[bB](_?[01])+|0(_?[0-7])*|[1-9](_?[0-9])*)$/;
const DURATION_PART = /([0-9]*\.?[0-9]*)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/y;

const MILLISECONDS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** Go counts nanoseconds in 63 bits: 292 years. */
const MAX_DURATION = 2 ** 63 / 1e6;

/** Why a text is not a value, in the words of Go's `flag` package. */
export type ValueProblem = 'parse error' | 'value out of range';
export type ValueOrProblem<T> = { readonly value: T } | { readonly problem: ValueProblem };

/**
 * `strconv.ParseInt(text, 0, 64)`: decimal, 0x, 0o, 0b, a leading 0 for octal, single underscores between digits.
 * Out of range begins at 2^53, where a number is no longer exact, not at Go's 2^63.
 */
export function parseGoInt(text: string): ValueOrProblem<number> {
  if (!INTEGER.test(text)) return { problem: 'parse error' };
  const digits = text.replace(/^[+-]/, '').replaceAll('_', '');
  const magnitude = Number(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (!Number.isSafeInteger(magnitude)) return { problem: 'value out of range' };
  return { value: text.startsWith('-') && magnitude !== 0 ? -magnitude : magnitude };
}

/** `strconv.ParseBool`. */
export function parseGoBool(text: string): ValueOrProblem<boolean> {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text)) return { value: true };
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(text)) return { value: false };
  return { problem: 'parse error' };
}

/** `time.ParseDuration`, in milliseconds: `1h30m`, `1.5s`, `0`. */
export function parseGoDuration(text: string): ValueOrProblem<number> {
  const unsigned = text.replace(/^[+-]/, '');
  if (unsigned === '0') return { value: 0 };
  let total = 0;
  let end = 0;
  while (end < unsigned.length) {
    DURATION_PART.lastIndex = end;
    const [part, amount = '', unit = ''] = DURATION_PART.exec(unsigned) ?? [];
    if (part === undefined || amount === '' || amount === '.') return { problem: 'parse error' };
    total += Number(amount) * (MILLISECONDS[unit] ?? Number.NaN);
    end += part.length;
  }
  if (end === 0 || total > MAX_DURATION) return { problem: 'parse error' };
  return { value: text.startsWith('-') && total !== 0 ? -total : total };
}

/** `time.Duration.String` for whole milliseconds of at least a second: 5400000 is `1h30m0s`. Zero is `0s`. */
export function formatGoDuration(milliseconds: number): string {
  const seconds = milliseconds / 1_000;
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours}h${minutes}m${seconds % 60}s`;
  return minutes > 0 ? `${minutes}m${seconds % 60}s` : `${seconds}s`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

/**
 * The text with all that Go's `strconv.IsPrint` refuses (control characters, line separators, direction marks, odd
 * blanks) written as an escape: one event stays one line, and a hostile value can't speak to the terminal.
 */
export const escapeControls = (text: string): string =>
  text.replace(/(?! )[\p{C}\p{Z}]/gu, (character) => ESCAPES[character] ?? hexEscape(character));

/** `%q`: in double quotes, with backslashes, quotes and control characters escaped. */
export const goQuote = (text: string): string =>
  `"${escapeControls(text.replace(/["\\]/g, (character) => `\\${character}`))}"`;

function hexEscape(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code < 0x80) return `\\x${hex.padStart(2, '0')}`;
  return code > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`;
}
