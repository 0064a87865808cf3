import {
  describeFlag,
  type Flag,
  type FlagValue,
  formatDefault,
  formatUsage,
  variableOf,
} from '#src/lib/go-flags.ts';
import {
  ENVIRONMENT_PREFIX,
  FLAG_GROUPS,
  FLANNELD_FLAGS,
  type FlanneldFlagNotes,
} from '#src/node/flanneld-flags.ts';

const KNOWN_BY: Readonly<Record<FlanneldFlagNotes['since'], string>> = {
  all: 'v0.9.1 and later',
  new: 'later than v0.9.1',
  weft: 'no',
};

const INTRODUCTION = `# Flags of flanneld

Made by \`script/generate-docs\` from \`src/node/flanneld-flags.ts\`, as is \`flanneld --help\`. Change it there.

Flags are read as Go reads them. One dash or two are the same. A value follows \`=\` or is the next word, but a boolean takes
its value after \`=\` only: \`--ip-masq=false\`. The first word that is no flag ends the flags. Numbers may be written as
\`0x10\` or \`1_000\`, durations as \`1h30m\`.

Each flag but \`--version\` is also an environment variable. A flag on the command line wins; an empty variable counts
as unset; a variable with a bad value or an unknown name is ignored, with a warning. A repeatable flag takes its variable as
one value.

The last column says whether flannel knows the flag.
`;

/** The text of `flanneld --help`. */
export const usageText = (): string => `Usage: flanneld [OPTION]...\n${formatUsage(FLANNELD_FLAGS)}`;

/** The given flags, for the log. Passwords are left out, also those in URLs. */
export function flagsLine(given: ReadonlyMap<string, FlagValue>): string {
  const flags: [string, Flag & FlanneldFlagNotes][] = Object.entries(FLANNELD_FLAGS);
  return flags
    .flatMap(([name, flag]) => {
      const value = given.get(name);
      if (value === undefined) return [];
      if (flag.secret) return [`--${name}=***`];
      const texts = (typeof value === 'object' ? value : [String(value)]).map(hideUserInfo);
      return (flag.kind === 'list' ? [texts.join(',')] : texts).map((text) => `--${name}=${text}`);
    })
    .join(' ');
}

const hideUserInfo = (url: string): string => url.replace(/\/\/.*@/, '//***@');

/** The text of docs/reference/flags.md. */
export function flagsPage(): string {
  const flags: [string, Flag & FlanneldFlagNotes][] = Object.entries(FLANNELD_FLAGS);
  const sections = FLAG_GROUPS.map((group) => {
    const rows = flags.filter(([, flag]) => flag.group === group).map(([name, flag]) => row(name, flag));
    return [
      `## ${group}\n`,
      '| flag | default | what it does | in flannel |',
      '|---|---|---|---|',
      ...rows,
      '',
    ].join('\n');
  });
  return [INTRODUCTION, ...sections].join('\n');
}

function row(name: string, flag: Flag & FlanneldFlagNotes): string {
  const { valueName, description } = describeFlag(flag);
  const synopsis = valueName === '' ? `--${name}` : `--${name} ${valueName}`;
  const isPlain = flag.kind === 'bool' || flag.kind === 'int';
  const fallback = isPlain ? String(flag.default) : formatDefault(flag).replaceAll('"', '');
  const variable = flag.environment === false ? '' : `<br>\`${variableOf(ENVIRONMENT_PREFIX, name)}\``;
  const cells = [
    `\`${synopsis}\`${variable}`,
    fallback === '' ? '' : `\`${fallback}\``,
    description,
    KNOWN_BY[flag.since],
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
