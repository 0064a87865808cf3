/**
 * The texts of systemd's units and their drop-ins, as systemd 252 reads them (src/shared/conf-parser.c, systemd.syntax(7)).
 * What a value means (words, quotes, specifiers) is in unit-words.ts.
 */
export interface UnitAssignment {
  /** `Service` */
  readonly section: string;
  /** `ExecStart` */
  readonly key: string;
  /** The text after the first `=`, continued lines joined by a blank, blanks at both ends removed. Empty for a reset. */
  readonly value: string;
  /** Number of its first line, from 1. */
  readonly line: number;
  /** The file that it is in. */
  readonly source: string;
}

/** A file of a unit: the unit's own, or a drop-in. */
export interface UnitText {
  /** Where it was read, for messages. */
  readonly source: string;
  readonly text: string;
}

/**
 * All assignments of a file, in its order. A line that ends in a backslash goes on in the next one. Lines that begin with `#`
 * or `;` are comments, also between continued lines. Lines that are neither sections nor assignments are ignored, as systemd
 * does with a warning.
 */
export function parseUnitFile({ source, text }: UnitText): UnitAssignment[] {
  const assignments: UnitAssignment[] = [];
  let section = '';
  let pending = '';
  let first = 0;
  const take = (whole: string, line: number): void => {
    const trimmed = whole.trim();
    const header = /^\[(.*)\]$/.exec(trimmed);
    if (header !== null) {
      section = header[1] ?? '';
      return;
    }
    const equals = trimmed.indexOf('=');
    if (equals <= 0) return;
    const key = trimmed.slice(0, equals).trimEnd();
    assignments.push({ section, key, value: trimmed.slice(equals + 1).trimStart(), line, source });
  };
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  for (const [at, line] of lines.entries()) {
    if (/^\s*[#;]/.test(line)) continue;
    if (pending === '') first = at + 1;
    if (endsEscaped(line)) {
      pending += `${line.slice(0, -1)} `;
      continue;
    }
    take(pending + line, first);
    pending = '';
  }
  if (pending !== '') take(pending, first);
  return assignments;
}

/** A backslash at the end that is not itself escaped. */
const endsEscaped = (line: string): boolean => (/\\*$/.exec(line)?.[0].length ?? 0) % 2 === 1;

/**
 * The assignments of a list setting (`ExecStart`, `Environment`, `EnvironmentFile`) that are in force, over a unit and its
 * drop-ins in systemd's order: an empty one takes back all before it.
 */
export function listOf(
  files: readonly UnitText[],
  { section, key }: { readonly section: string; readonly key: string },
): UnitAssignment[] {
  let list: UnitAssignment[] = [];
  for (const assignment of files.flatMap(parseUnitFile)) {
    if (assignment.section !== section || assignment.key !== key) continue;
    if (assignment.value === '') list = [];
    else list.push(assignment);
  }
  return list;
}

/** The assignment of a setting that has one value (`User`, `Type`): the last one. `undefined` for none, or an empty one. */
export function lastOf(
  files: readonly UnitText[],
  place: { readonly section: string; readonly key: string },
): UnitAssignment | undefined {
  const all = files.flatMap(parseUnitFile);
  const last = all.findLast(({ section, key }) => section === place.section && key === place.key);
  return last?.value === '' ? undefined : last;
}
