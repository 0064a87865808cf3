import type { Command, CommandContext, Subcommand } from '#src/cli/command.ts';
import { screenOf } from '#src/cli/screen.ts';
import type { FlagTable } from '#src/lib/go-flags.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { flagLines } from './man-flags.ts';
import { asSentence, bold, escaped, pageOf, paragraph, section, subsection, tagged } from './roff.ts';

/** The part of a page about `weft NAME` that follows its name. */
export async function commandLines(name: string, about: string, command: Command): Promise<string[]> {
  const { synopsis, prose } = splitHelp(name, await helpOf(command), command);
  const { flags = {}, subcommands = {}, words = [] } = command.shape;
  const entries = Object.entries(subcommands);
  const own = withoutFlanneld(flags);
  const synopses =
    entries.length > 0
      ? entries.map(([word, { takes = '' }]) => `${word} [flags] ${takes}`.trim())
      : [synopsis || '[flags]'];
  return [
    ...section(
      'Synopsis',
      synopses.flatMap((text, n) => [
        ...(n === 0 ? [] : ['.br']),
        `${bold(`weft ${name}`)} ${escaped(text)}`.trimEnd(),
      ]),
    ),
    ...section('Description', [
      ...(prose.length > 0 ? prose : paragraph(`${asSentence(about)}.`)),
      ...(words.length > 0 && entries.length === 0
        ? paragraph(`Words that it takes: ${words.join(', ')}.`)
        : []),
    ]),
    ...section('Commands', entries.flatMap(subcommandLines)),
    ...section('Options', [
      ...flagLines(own.flags),
      ...tagged(bold('--help'), 'Explain the command.'),
      ...(own.takesFlanneld
        ? ['.PP', `All flags of ${pageOf('flanneld', 8)} are taken, too, and its variables.`]
        : []),
    ]),
    ...section('See also', [`${pageOf('weft', 8)}, ${pageOf('flanneld', 8)}`]),
  ];
}

const subcommandLines = ([word, { takes = '', about, flags = {} }]: [string, Subcommand]): string[] =>
  subsection(`${word} ${takes}`.trim(), [...paragraph(`${asSentence(about)}.`), ...flagLines(flags)]);

/** A command that takes the whole command line of flanneld has these flags on a page of their own. */
function withoutFlanneld(flags: FlagTable): {
  readonly flags: FlagTable;
  readonly takesFlanneld: boolean;
} {
  const takesFlanneld = Object.keys(FLANNELD_FLAGS).every((name) => Object.hasOwn(flags, name));
  if (!takesFlanneld) return { flags, takesFlanneld };
  const own = Object.entries(flags).filter(([name]) => !Object.hasOwn(FLANNELD_FLAGS, name));
  return { flags: Object.fromEntries(own), takesFlanneld };
}

/** What `weft NAME --help` prints. */
async function helpOf(command: Command): Promise<string[]> {
  const lines: string[] = [];
  const take = (text: string): void => {
    lines.push(...text.split('\n'));
  };
  const context: CommandContext = {
    output: { print: take, progress: take, complain: take, progressEnds() {} },
    screen: screenOf(process.stdout, { NO_COLOR: '1' }),
    environment: {},
    signal: new AbortController().signal,
    readInput: async () => Buffer.alloc(0),
    confirm: undefined,
    folder: '/',
  };
  await command.run(['--help'], context);
  return lines;
}

/** The first line, and the text between it and the flags. Subcommands are in the table of the command. */
function splitHelp(
  name: string,
  [first = '', ...more]: readonly string[],
  { shape }: Command,
): { readonly synopsis: string; readonly prose: readonly string[] } {
  const [, words = '', about] = new RegExp(`^(?:Usage: )?weft ${name}([^:]*)(?:: (.*))?$`).exec(first) ?? [];
  const end = more.findIndex((line) => /^ {2}-/.test(line));
  const subcommands = Object.keys(shape.subcommands ?? {});
  const text = (end < 0 ? more : more.slice(0, end)).filter(
    (line) => !subcommands.some((word) => line.startsWith(`  ${word} `)),
  );
  return {
    synopsis: words.trim(),
    prose: [...(about === undefined ? [] : paragraph(`${asSentence(about)}.`)), ...proseLines(text)],
  };
}

/**
 * Lines of one paragraph are joined. `word  what it means` is a line of a table, and what is indented further goes on with
 * it.
 */
export function proseLines(text: readonly string[]): string[] {
  const parts: { tag: string | undefined; words: string[] }[] = [];
  for (const line of text) {
    const [, tag, meaning] = /^ *(\S+(?: \S+)*) {2,}(\S.*)$/.exec(line) ?? [];
    const last = parts.at(-1);
    if (line.trim() === '') parts.push({ tag: undefined, words: [] });
    else if (tag !== undefined && meaning !== undefined) parts.push({ tag, words: [meaning] });
    else if (last === undefined || (last.tag !== undefined && !line.startsWith('    ')))
      parts.push({ tag: undefined, words: [line.trim()] });
    else last.words.push(line.trim());
  }
  return parts
    .filter(({ words }) => words.length > 0)
    .flatMap(({ tag, words }) =>
      tag === undefined ? paragraph(words.join(' ')) : tagged(bold(tag), words.join(' ')),
    );
}
