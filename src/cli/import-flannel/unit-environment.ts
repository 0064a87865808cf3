import { parseEnvironmentFile } from '#src/lib/environment-file.ts';
import { listOf, type UnitText } from '#src/lib/unit-file.ts';
import { readSpecifiers, unitCommands, unitWords } from '#src/lib/unit-words.ts';
import type { Files } from '#src/sys/files.ts';

/** A value, and where it was found. */
export interface Found {
  readonly value: string;
  /** `/etc/sysconfig/flanneld`, or the unit with its `Environment=`. */
  readonly source: string;
}

/** Variables by name. */
export type FoundVariables = ReadonlyMap<string, Found>;

export interface UnitEnvironment {
  readonly variables: FoundVariables;
  /** Files that were read, in the order in which they count. */
  readonly files: readonly string[];
  readonly notes: readonly string[];
}

const SERVICE = (key: string) => ({ section: 'Service', key });

/**
 * The variables that systemd gives a service (systemd.exec(5)): `Environment=`, then each `EnvironmentFile=`, of which a
 * later one wins.
 */
export async function unitEnvironment(
  files: Pick<Files, 'read'>,
  texts: readonly UnitText[],
): Promise<UnitEnvironment> {
  const variables = new Map<string, Found>();
  const notes: string[] = [];
  const read: string[] = [];
  for (const { value, source } of listOf(texts, SERVICE('Environment'))) {
    for (const word of unitWords(value)) {
      const { text, left } = readSpecifiers(word);
      const equals = text.indexOf('=');
      if (equals <= 0) continue;
      const name = text.slice(0, equals);
      if (left.length > 0) notes.push(specifierNote(name, left, source));
      variables.set(name, { value: text.slice(equals + 1), source });
    }
  }
  for (const { value, source } of listOf(texts, SERVICE('EnvironmentFile'))) {
    const { text, left } = readSpecifiers(value);
    const path = text.replace(/^-/, '');
    if (left.length > 0 || /[*?[]/.test(path)) {
      notes.push(`EnvironmentFile=${value} in ${source} is not read: its name is a pattern`);
      continue;
    }
    const found = await readOrLinked(files, path, texts);
    if (found === undefined) {
      if (!text.startsWith('-')) notes.push(`${path}, which ${source} wants, is not there`);
      continue;
    }
    read.push(found.source);
    for (const [name, value] of parseEnvironmentFile(found.text))
      variables.set(name, { value, source: found.source });
  }
  for (const { value } of listOf(texts, SERVICE('UnsetEnvironment')))
    for (const word of unitWords(value)) variables.delete(word);
  return { variables, files: read, notes };
}

const specifierNote = (name: string, left: readonly string[], source: string): string =>
  `${name} in ${source} has ${left.join(', ')}, which only systemd can replace: write the value yourself`;

/**
 * A file, or what the unit links to its name before each start, as on CoreOS:
 * `ExecStartPre=/usr/bin/ln -sf /etc/flannel/options.env /run/flannel/options.env`. /run is empty while flannel has not run.
 */
async function readOrLinked(
  files: Pick<Files, 'read'>,
  path: string,
  texts: readonly UnitText[],
): Promise<UnitText | undefined> {
  const read = (place: string): Promise<string | undefined> => files.read(place).catch(() => undefined);
  const text = await read(path);
  if (text !== undefined) return { source: path, text };
  for (const { value } of listOf(texts, SERVICE('ExecStartPre'))) {
    for (const { program, words } of unitCommands(value)) {
      const [to, from] = [words.at(-1), words.at(-2)];
      if (!/(^|\/)(ln|cp)$/.test(program) || to !== path || from === undefined) continue;
      const linked = await read(from);
      if (linked !== undefined) return { source: from, text: linked };
    }
  }
  return undefined;
}
