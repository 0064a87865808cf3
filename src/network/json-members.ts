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
  if (text[at] !== '{') return undefined;
  const members: JsonMember[] = [];
  at = afterBlanks(text, at + 1);
  while (at < text.length && text[at] !== '}') {
    const nameEnd = afterString(text, at);
    const start = afterBlanks(text, afterBlanks(text, nameEnd) + 1);
    const end = afterValue(text, start);
    members.push({ name: stringIn(text.slice(at, nameEnd)), text: text.slice(start, end) });
    at = afterBlanks(text, end);
    if (text[at] === ',') at = afterBlanks(text, at + 1);
  }
  return members;
}

/** The string that a JSON string stands for. Half a surrogate pair becomes U+FFFD, as in Go. */
export const stringIn = (literal: string): string =>
  literal.includes('\\') ? (JSON.parse(literal) as string).toWellFormed() : literal.slice(1, -1);

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function afterBlanks(text: string, start: number): number {
  let at = start;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
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
  const first = text[start];
  if (first === '"') return afterString(text, start);
  if (first !== '{' && first !== '[') {
    let at = start;
    while (at < text.length && /[^,\]}\s]/.test(text[at] ?? '')) at++;
    return at;
  }
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (character === '"') at = afterString(text, at) - 1;
    else if (character === '{' || character === '[') depth++;
    else if ((character === '}' || character === ']') && --depth === 0) return at + 1;
  }
  return text.length;
}
