/**
 * The words of one simple command of a shell, as wrappers around flanneld have it: quotes, `$NAME`, `${NAME}`,
 * `${NAME:-OTHER}`, `"$@"`. Nothing is run: a command with pipes, substitutions or the like has no words here.
 */
export interface ShellVariables {
  /** Empty for one that is not set. */
  value(name: string): string;
  /** What `"$@"` and `$*` stand for. */
  readonly parameters: readonly string[];
}

/** `undefined` when the command needs a shell to be understood. */
export function shellWords(command: string, variables: ShellVariables): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  const add = (text: string): void => {
    word = (word ?? '') + text;
  };
  const end = (): void => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  let isQuoted = false;
  for (let at = 0; at < command.length; at++) {
    const rest = command.slice(at);
    const [character = ''] = rest;
    if (character === '\\') {
      add(command[++at] ?? '');
    } else if (character === "'" && !isQuoted) {
      const close = command.indexOf("'", at + 1);
      if (close < 0) return undefined;
      add(command.slice(at + 1, close));
      at = close;
    } else if (character === '"') {
      isQuoted = !isQuoted;
      if (!/^"(\$@|\$\{@\})"/.test(rest)) add('');
    } else if (character === '$') {
      const variable = variableAt(rest, variables, isQuoted);
      if (variable === undefined) return undefined;
      at += variable.length - 1;
      if ('all' in variable) {
        const [first, ...more] = variable.all;
        if (first !== undefined) add(first);
        for (const one of more) {
          end();
          add(one);
        }
      } else if (isQuoted) {
        add(variable.value);
      } else {
        const parts = variable.value.split(/\s+/);
        for (const [index, part] of parts.entries()) {
          if (index > 0) end();
          if (part !== '') add(part);
        }
      }
    } else if (isQuoted) {
      if (character === '`') return undefined;
      add(character);
    } else if (/\s/.test(character)) {
      end();
    } else if (character === '#' && word === undefined) {
      break;
    } else if (/[`|&;<>()]/.test(character)) {
      // What comes after the command does not matter to it, nor where its output goes.
      if (!/^(\s*$|&\s*$|;|>|&>|[0-9]>|&&|\|)/.test(rest)) return undefined;
      if (/^[0-9]$/.test(word ?? '')) word = undefined;
      break;
    } else {
      add(character);
    }
  }
  end();
  return isQuoted ? undefined : words;
}

type Variable = { readonly length: number } & (
  | { readonly value: string }
  | { readonly all: readonly string[] }
);

function variableAt(rest: string, variables: ShellVariables, isQuoted: boolean): Variable | undefined {
  const all = /^\$(?:[@*]|\{[@*]\})/.exec(rest)?.[0];
  if (all !== undefined) return { all: variables.parameters, length: all.length };
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*)/.exec(rest);
  if (plain !== null) return { value: variables.value(plain[1] ?? ''), length: plain[0].length };
  const braced = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::?-((?:[^{}]|\$\{[^{}]*\})*))?\}/.exec(rest);
  if (braced === null) return undefined;
  const [whole, name = '', otherwise] = braced;
  const value = variables.value(name);
  if (value !== '' || otherwise === undefined) return { value, length: whole.length };
  const other = shellWords(otherwise, variables);
  return other === undefined
    ? undefined
    : isQuoted
      ? { value: other.join(' '), length: whole.length }
      : { all: other, length: whole.length };
}

/** The commands of a script that name a program, continued lines joined. */
export function commandsWith(script: string, program: RegExp): string[] {
  const lines = script.replace(/\\\r?\n/g, ' ').split(/\r?\n/);
  return lines.map((line) => line.trim()).filter((line) => !line.startsWith('#') && program.test(line));
}
