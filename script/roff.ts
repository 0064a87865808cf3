/*
 * Manual pages in the macros of man(7), which groff, mandoc and the pagers of every system read.
 */

/** Characters that roff takes for something else in running text (groff_char(7)). */
const SPECIAL: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  '^': '\\(ha',
  '~': '\\(ti',
  '`': '\\(ga',
  "'": '\\(aq',
  '"': '\\(dq',
};

/** Text as roff prints it, character for character. Anything but ASCII is named by its code point. */
export const escaped = (text: string): string =>
  Array.from(text, (one) => SPECIAL[one] ?? (one <= '~' ? one : named(one)))
    .join('')
    .replace(/^\./, '\\&.');

const named = (one: string): string =>
  `\\[u${(one.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`;

export const bold = (text: string): string => `\\fB${escaped(text)}\\fR`;
export const italic = (text: string): string => `\\fI${escaped(text)}\\fR`;

/** Another page: `flanneld(8)`. */
export const pageOf = (name: string, section: number): string => `${bold(name)}(${section})`;

/** A heading with lines below it that are roff already; nothing without lines. */
export const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`.SH ${escaped(title.toUpperCase())}`, ...withoutBreak(lines)];

export const subsection = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`.SS ${escaped(title)}`, ...withoutBreak(lines)];

/** A heading begins a paragraph by itself. */
const withoutBreak = ([first = '', ...more]: readonly string[]): string[] =>
  first === '.PP' ? more : [first, ...more];

/** With a capital letter, unless it begins with a name: `etcd`, `name:password`. */
export const asSentence = (text: string): string =>
  /^(etcd|flannel|docker|\S+:\S)/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);

/** A paragraph of plain text; a new sentence begins on a line of its own, as roff wants it. */
export const paragraph = (text: string): string[] => ['.PP', ...sentences(text)];

/** A word, which is roff already, with what it means below it. */
export const tagged = (tag: string, text: string): string[] => ['.TP', tag, ...sentences(text)];

const sentences = (text: string): string[] => text.split(/(?<=[.?!]) (?=[A-Z])/).map(escaped);

export interface PageTitle {
  readonly name: string;
  readonly section: 1 | 5 | 8;
  readonly version: string;
  /** `2026-01-31` */
  readonly date: string;
  /** The line that whatis(1) shows, without a full stop. */
  readonly about: string;
}

/** A whole page. */
export const page = (
  { name, section: number, version, date, about }: PageTitle,
  lines: readonly string[],
): string =>
  [
    '.\\" Made by script/man-pages.ts.',
    `.TH "${escaped(name.toUpperCase())}" ${number} "${date}" "weft ${escaped(version)}"`,
    // Neither blanks between words nor hyphens within them: a word is to be copied.
    '.nh',
    '.ad l',
    ...section('Name', [`${escaped(name)} \\- ${escaped(about)}`]),
    ...lines,
    '',
  ].join('\n');
