/**
 * Values as Go's `strconv`, `time` and `fmt` read and write them: a unit file has to mean the same to us as to
 * flannel.
 */

const INTEGER = /^[+-]?(0[xX](_?[0-9a-fA-F])+|0[oO](_?[0-7])+|0[bB](_?[01])+|0(_?[0-7])*|[1-9](_?[0-9])*)$/;

const NANOSECONDS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** The longest that Go's `time.Duration` holds, 2^63 - 1 nanoseconds: 292 years. One more fits when negative. */
const MAX_NANOSECONDS = 2n ** 63n - 1n;

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

/**
 * `time.ParseDuration`, in milliseconds: `1h30m`, `1.5s`, `0`. Like Go, it counts whole nanoseconds: 1.1h is
 * exactly 3,960,000 ms.
 */
export function parseGoDuration(text: string): ValueOrProblem<number> {
  const negative = text.startsWith('-');
  const unsigned = text.replace(/^[+-]/, '');
  if (unsigned === '0') return { value: 0 };
  const longest = negative ? MAX_NANOSECONDS + 1n : MAX_NANOSECONDS;
  let total = 0n;
  let at = 0;
  do {
    const dot = afterDigits(unsigned, at);
    const hasFraction = unsigned[dot] === '.';
    const unitStart = hasFraction ? afterDigits(unsigned, dot + 1) : dot;
    const unitEnd = afterUnit(unsigned, unitStart);
    const nanoseconds = NANOSECONDS[unsigned.slice(unitStart, unitEnd)];
    const isNumber = unitStart - at > (hasFraction ? 1 : 0);
    if (!isNumber || nanoseconds === undefined) return { problem: 'parse error' };
    const whole = wholeIn(unsigned.slice(at, dot));
    if (whole === undefined) return { problem: 'parse error' };
    total += whole * BigInt(nanoseconds);
    if (hasFraction) total += fractionOf(unsigned.slice(dot + 1, unitStart), nanoseconds);
    if (total > longest) return { problem: 'parse error' };
    at = unitEnd;
  } while (at < unsigned.length);
  const milliseconds = Number(total) / 1e6;
  return { value: negative && milliseconds !== 0 ? -milliseconds : milliseconds };
}

function afterDigits(text: string, start: number): number {
  let at = start;
  while (isDigit(text.charCodeAt(at))) at++;
  return at;
}

/** A unit ends where the next number begins. */
function afterUnit(text: string, start: number): number {
  let at = start;
  while (at < text.length && text[at] !== '.' && !isDigit(text.charCodeAt(at))) at++;
  return at;
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;

/** Numbers of more digits than 2^63 are out of range. They are not parsed, because that takes quadratic time. */
function wholeIn(digits: string): bigint | undefined {
  const significant = digits.replace(/^0+/, '');
  return significant.length > 19 ? undefined : BigInt(significant);
}

/** A fraction of a unit in nanoseconds, cut off as Go does: in floating point, from as many digits as 63 bits hold. */
function fractionOf(digits: string, nanoseconds: number): bigint {
  const most = 2n ** 63n;
  let value = 0n;
  let scale = 1;
  for (const digit of digits) {
    const next = value * 10n + BigInt(digit);
    if (value > (most - 1n) / 10n || next > most) break;
    value = next;
    scale *= 10;
  }
  return BigInt(Math.trunc(Number(value) * (nanoseconds / scale)));
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
 * The text with each character that Go's `strconv.IsPrint` refuses (control characters, line separators, direction marks,
 * odd blanks) written as an escape. So one event stays one line, and a hostile value can't control the terminal.
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
