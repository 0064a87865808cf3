/**
 * Files of `EnvironmentFile=`, as systemd 252 reads them (systemd.exec(5); src/basic/env-file.c). They look like a shell's
 * assignments, but no variable is replaced in them, and quotes count only where a value, or what follows a quote, begins.
 */

/** The variables of a file in its order; of one that is set twice the last. Lines that assign nothing are ignored. */
export function parseEnvironmentFile(text: string): Map<string, string> {
  const variables = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    const line = /^[^\S\n]*(?:([#;])|([^=\n]*)(=?))/.exec(text.slice(at)) ?? [''];
    at += line[0].length;
    if (line[1] !== undefined) {
      // Until systemd 253 a backslash at its end took the next line along.
      const end = text.indexOf('\n', at);
      at = end < 0 ? text.length : end + 1;
      continue;
    }
    if (line[3] === '=') {
      const { value, end } = valueAt(text, at);
      at = end;
      const name = (line[2] ?? '').trim();
      if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        variables.delete(name);
        variables.set(name, value);
      }
    }
    at++;
  }
  return variables;
}

/** A value, and where its line ends. */
function valueAt(text: string, start: number): { readonly value: string; readonly end: number } {
  let value = '';
  let at = start;
  /** Blanks at the end of what has no quotes do not count. */
  let keep = 0;
  let isFresh = true;
  for (; at < text.length && text[at] !== '\n'; at++) {
    const character = text[at] ?? '';
    if (character === '\\') {
      at++;
      if (text[at] !== '\n') value += text[at] ?? '';
      keep = value.length;
      isFresh = false;
    } else if (isFresh && (character === "'" || character === '"')) {
      const quoted = quotedAt(text, at + 1, character);
      value += quoted.value;
      at = quoted.end;
      keep = value.length;
    } else if (!isFresh || !/\s/.test(character)) {
      value += character;
      if (!/\s/.test(character)) keep = value.length;
      isFresh = false;
    }
  }
  return { value: value.slice(0, keep), end: at };
}

/** What is in quotes, over several lines too, and the place of the quote that ends it. */
function quotedAt(
  text: string,
  start: number,
  quote: string,
): { readonly value: string; readonly end: number } {
  let value = '';
  let at = start;
  for (; at < text.length && text[at] !== quote; at++) {
    const character = text[at] ?? '';
    const next = text[at + 1];
    if (quote === '"' && character === '\\' && next !== undefined) {
      at++;
      if (next !== '\n') value += /["\\`$]/.test(next) ? next : `\\${next}`;
    } else {
      value += character;
    }
  }
  return { value, end: at };
}

/** A line that gives the variable this value: in double quotes where it has to be. */
export function formatEnvironmentLine(name: string, value: string): string {
  const isPlain = /^[A-Za-z0-9_@%+=:,./[\]{}~^!?*-]*$/.test(value);
  return `${name}=${isPlain ? value : `"${value.replace(/["\\`$]/g, '\\$&')}"`}`;
}
