import type { CommandEntry } from '#src/cli/command.ts';
import { describeFlag, type Flag, type FlagTable } from '#src/lib/go-flags.ts';

/** What may follow some words of a command line. */
export interface Completions {
  /** The words so far, without flags: empty, `peers`, `network ls`. */
  readonly key: string;
  readonly names: readonly Described[];
  readonly flags: readonly DescribedFlag[];
}

export interface Described {
  readonly name: string;
  /** One short line; empty where the name says all. */
  readonly about: string;
}

export interface DescribedFlag extends Described {
  /** A boolean takes no value. */
  readonly takesValue: boolean;
  /** All values that there are; empty where any text may be one. */
  readonly values: readonly string[];
}

const HELP: DescribedFlag = { name: 'help', about: 'explain the command', takesValue: false, values: [] };

/** All commands, their subcommands and flags, as completion needs them. Loads every command. */
export async function completionsOf(
  commands: Readonly<Record<string, CommandEntry>>,
): Promise<readonly Completions[]> {
  const top = Object.entries(commands).map(([name, { about }]) => ({ name, about: shortened(about) }));
  const parts = await Promise.all(
    Object.entries(commands).map(async ([name, { load }]): Promise<Completions[]> => {
      const { shape } = await load();
      const subcommands = Object.entries(shape.subcommands ?? {});
      const words = (shape.words ?? []).map((word) => ({ name: word, about: '' }));
      const own = subcommands.map(([word, { about }]) => ({ name: word, about: shortened(about) }));
      const isParent = subcommands.length > 0;
      return [
        { key: name, names: [...own, ...words], flags: isParent ? [HELP] : flagsOf(shape.flags) },
        ...subcommands.map(([word, { flags }]) => ({
          key: `${name} ${word}`,
          names: [],
          flags: flagsOf({ ...shape.flags, ...flags }),
        })),
      ];
    }),
  );
  return [{ key: '', names: top, flags: [HELP] }, ...parts.flat()];
}

const flagsOf = (table: FlagTable = {}): DescribedFlag[] => [
  ...Object.entries(table).map(([name, flag]) => ({ name, ...valuesOf(flag), about: aboutOf(flag) })),
  HELP,
];

const valuesOf = (flag: Flag): Pick<DescribedFlag, 'takesValue' | 'values'> => ({
  takesValue: flag.kind !== 'bool',
  values: flag.kind === 'choice' ? flag.choices : [],
});

const aboutOf = (flag: Flag): string => shortened(describeFlag(flag).description);

const LONGEST = 70;

/** The first clause, without a hint at the help. */
function shortened(text: string): string {
  const clause = text.split(/;|: weft /)[0] ?? '';
  return clause.length <= LONGEST ? clause : `${clause.slice(0, LONGEST - 1)}…`;
}
