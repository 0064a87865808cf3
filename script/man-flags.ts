import { describeFlag, type Flag, type FlagTable, formatDefault, variableOf } from '#src/lib/go-flags.ts';
import { asSentence, bold, italic, tagged } from './roff.ts';

/** Each flag once, sorted, with its default, and its variable where it has one. */
export const flagLines = (table: FlagTable, environmentPrefix?: string): string[] =>
  Object.entries(table)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, flag]) => tagged(flagHead(name, flag), flagText(name, flag, environmentPrefix)));

function flagHead(name: string, flag: Flag): string {
  const { valueName } = describeFlag(flag);
  return valueName === '' ? bold(`--${name}`) : `${bold(`--${name}`)}=${italic(valueName)}`;
}

function flagText(name: string, flag: Flag, environmentPrefix: string | undefined): string {
  const { description } = describeFlag(flag);
  const fallback = formatDefault(flag);
  const variable =
    environmentPrefix === undefined || flag.environment === false ? '' : variableOf(environmentPrefix, name);
  const notes = [
    ...(flag.kind === 'repeatable' ? ['It may be repeated.'] : []),
    ...(fallback === '' ? [] : [`Default: ${fallback}.`]),
    ...(variable === '' ? [] : [`Variable: ${variable}.`]),
  ];
  return [`${asSentence(description)}.`, ...notes].join(' ');
}

/** The variables of a file of settings, each once, sorted as the flags are. */
export const variableLines = (table: FlagTable, prefix: string): string[] =>
  Object.entries(table)
    .filter(([, flag]) => flag.environment !== false)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, flag]) => {
      const { valueName } = describeFlag(flag);
      const value = valueName === '' ? 'true|false' : valueName;
      return tagged(`${bold(variableOf(prefix, name))}=${italic(value)}`, flagText(name, flag, undefined));
    });
