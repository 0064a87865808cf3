/** One member of a JSON object. */
export interface JsonMember {
  readonly name: string;
  /** The value, as it stands in the text. */
  readonly text: string;
}

/**
 * The members of a JSON object in the order of the text, repeated names included, which `JSON.parse` drops; `undefined`
 * when the text is another value than an object. The text must be JSON: `JSON.parse` has accepted it before.
 */
export function membersOf(text: string): JsonMember[] | undefined {
  let at = afterBlanks(text, 0);
  if (text.charCodeAt(at) !== OPENING_BRACE) return undefined;
  const members: JsonMember[] = [];
  at = afterBlanks(text, at + 1);
  while (at < text.length && text.charCodeAt(at) !== CLOSING_BRACE) {
    const nameEnd = afterString(text, at);
    const start = afterBlanks(text, afterBlanks(text, nameEnd) + 1);
    const end = afterValue(text, start);
    members.push({ name: stringIn(text.slice(at, nameEnd)), text: text.slice(start, end) });
    at = afterBlanks(text, end);
    if (text.charCodeAt(at) === COMMA) at = afterBlanks(text, at + 1);
  }
  return members;
}

/** The string that a JSON string stands for. Half a surrogate pair becomes U+FFFD, as in Go. */
export const stringIn = (literal: string): string =>
  literal.includes('\\') ? (JSON.parse(literal) as string).toWellFormed() : literal.slice(1, -1);

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPENING_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSING_BRACKET = 0x5d;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

function afterBlanks(text: string, start: number): number {
  let at = start;
  while (text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** `start`: that of the opening quote. */
function afterString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at++;
  }
  return text.length;
}

function afterValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return afterString(text, start);
  if (first !== OPENING_BRACE && first !== OPENING_BRACKET) return afterScalar(text, start);
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = afterString(text, at) - 1;
    else if (code === OPENING_BRACE || code === OPENING_BRACKET) depth++;
    else if ((code === CLOSING_BRACE || code === CLOSING_BRACKET) && --depth === 0) return at + 1;
  }
  return text.length;
}

/** A number, true, false or null. */
function afterScalar(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 0x20 || code === COMMA || code === CLOSING_BRACE || code === CLOSING_BRACKET) return at;
  }
  return text.length;
}
