/**
 * Values of systemd's settings as words (systemd.syntax(7) "Quoting", systemd.service(5) "Command lines"; systemd 252,
 * src/basic/extract-word.c, src/basic/env-util.c).
 */
const ESCAPES: Readonly<Record<string, string>> = {
  a: '\u0007',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  s: ' ',
  '\\': '\\',
  '"': '"',
  "'": "'",
  ';': ';',
};

/** The words of a value: quotes are taken away, C escapes replaced. A quote that is not closed ends with the value. */
export const unitWords = (value: string): string[] => pieces(value).map(({ text }) => text);

interface Piece {
  readonly text: string;
  /** Written without quotes and escapes. */
  readonly isBare: boolean;
}

function pieces(value: string): Piece[] {
  const all: Piece[] = [];
  let text: string | undefined;
  let isBare = true;
  let quote = '';
  for (let at = 0; at < value.length; at++) {
    const character = value[at] ?? '';
    if (character === '\\') {
      const escaped = escapeAt(value, at);
      text = (text ?? '') + escaped.text;
      isBare = false;
      at += escaped.length - 1;
    } else if (quote !== '') {
      if (character === quote) quote = '';
      else text = (text ?? '') + character;
    } else if (character === '"' || character === "'") {
      quote = character;
      isBare = false;
      text ??= '';
    } else if (!/\s/.test(character)) {
      text = (text ?? '') + character;
    } else if (text !== undefined) {
      all.push({ text, isBare });
      text = undefined;
      isBare = true;
    }
  }
  return text === undefined ? all : [...all, { text, isBare }];
}

/** `\n`, `\x41`, `\101`, `\u00e4`. An escape that systemd does not know stays as it is. */
function escapeAt(value: string, at: number): { readonly text: string; readonly length: number } {
  const next = value[at + 1];
  if (next === undefined) return { text: '', length: 1 };
  const known = ESCAPES[next];
  if (known !== undefined) return { text: known, length: 2 };
  const number = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3}))/.exec(
    value.slice(at + 1, at + 10),
  );
  if (number === null) return { text: `\\${next}`, length: 2 };
  const [whole, x, u, U, octal] = number;
  const code = octal === undefined ? Number.parseInt(x ?? u ?? U ?? '', 16) : Number.parseInt(octal, 8);
  return { text: code > 0x10ffff ? '' : String.fromCodePoint(code), length: whole.length + 1 };
}

/** One command of `ExecStart=` and the like. */
export interface UnitCommand {
  /** `-` its failure is none, `@` argv[0] is given, `:` variables stay as they are, `+`, `!`, `!!` other rights. */
  readonly marks: string;
  /** A path, or a name that systemd looks up in its folders. */
  readonly program: string;
  /** The words behind it (behind argv[0] with `@`), variables not replaced. */
  readonly words: readonly string[];
}

/** The commands of one `ExecStart=`: several are separated by a lone `;`. */
export function unitCommands(value: string): UnitCommand[] {
  const groups: string[][] = [[]];
  for (const { text, isBare } of pieces(value)) {
    if (text === ';' && isBare) groups.push([]);
    else groups.at(-1)?.push(text);
  }
  return groups.flatMap(([first, ...rest]) => {
    if (first === undefined) return [];
    const marks = /^[-@:+!|]*/.exec(first)?.[0] ?? '';
    return [{ marks, program: first.slice(marks.length), words: marks.includes('@') ? rest.slice(1) : rest }];
  });
}

/**
 * The words with variables replaced as systemd does: `${NAME}` anywhere in a word, `$NAME` as a whole word becomes its words
 * (none for an unset one), `$$` is a dollar sign.
 */
export function replaceVariables(
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const variable = (name: string): string =>
    Object.hasOwn(environment, name) ? (environment[name] ?? '') : '';
  return words.flatMap((word) => {
    const whole = /^\$([A-Za-z_][A-Za-z0-9_]*)$/.exec(word)?.[1];
    if (whole !== undefined) return unitWords(variable(whole));
    return [
      word.replace(/\$(\$|\{([A-Za-z_][A-Za-z0-9_]*)\})/g, (_, kind: string, name: string | undefined) =>
        kind === '$' || name === undefined ? '$' : variable(name),
      ),
    ];
  });
}

/**
 * A text with `%%` replaced by `%`. Other specifiers (`%H`, `%i`: systemd.unit(5)) stay, and are listed: what they stand for
 * only systemd knows.
 */
export function readSpecifiers(text: string): { readonly text: string; readonly left: readonly string[] } {
  const left: string[] = [];
  const read = text.replace(/%([a-zA-Z%])/g, (whole, letter: string) => {
    if (letter === '%') return '%';
    left.push(whole);
    return whole;
  });
  return { text: read, left };
}
