import { join } from 'node:path';
import type { UnitText } from '#src/lib/unit-file.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';

/** Where systemd looks for units, the first of a name wins (systemd.unit(5), "Unit File Load Path"). */
export const UNIT_FOLDERS = [
  '/run/systemd/generator.early',
  '/etc/systemd/system',
  '/run/systemd/system',
  '/run/systemd/generator',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
  '/run/systemd/generator.late',
] as const;

export interface UnitReader {
  readonly files: Pick<Files, 'read'>;
  readonly folders: Pick<Folders, 'list'>;
}

/** A unit as systemd puts it together. */
export interface FoundUnit {
  readonly name: string;
  /** The unit's own file, then its drop-ins in the order of their names. */
  readonly texts: readonly [UnitText, ...UnitText[]];
}

/**
 * Reads a unit and its drop-ins. A drop-in hides those of its name in later folders, and an empty file, or a link to
 * /dev/null, hides without having anything. What can't be read counts as not there, as for systemd: a folder in a file's
 * place, a link to itself. `undefined` when there is no such unit, or it is masked in that way.
 */
export async function readUnit(
  reader: UnitReader,
  name: string,
  places: readonly string[] = UNIT_FOLDERS,
): Promise<FoundUnit | undefined> {
  const { files, folders } = patient(reader);
  const unit = await firstText(
    files,
    places.map((place) => join(place, name)),
  );
  if (unit === undefined || unit.text === '') return undefined;
  const dropIns = new Map<string, string>();
  for (const folder of dropInFolders(name)) {
    for (const place of places) {
      for (const file of await folders.list(join(place, folder))) {
        if (file.endsWith('.conf') && !dropIns.has(file)) dropIns.set(file, join(place, folder, file));
      }
    }
  }
  const texts: [UnitText, ...UnitText[]] = [unit];
  for (const [, source] of [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1))) {
    texts.push({ source, text: (await files.read(source)) ?? '' });
  }
  return { name, texts };
}

/** Units that another one wants or requires by a link, as "systemctl enable" makes it (systemd.unit(5), `.wants/`). */
export async function enabledUnits(reader: Pick<UnitReader, 'folders'>): Promise<ReadonlySet<string>> {
  const list = (folder: string): Promise<string[]> => reader.folders.list(folder).catch(() => []);
  const lists = UNIT_FOLDERS.map(async (place) => {
    const links = (await list(place)).filter((name) => /\.(wants|requires)$/.test(name));
    return Promise.all(links.map((name) => list(join(place, name))));
  });
  return new Set((await Promise.all(lists)).flat(2));
}

const patient = ({ files, folders }: UnitReader): UnitReader => ({
  files: { read: (path) => files.read(path).catch(() => undefined) },
  folders: { list: (path) => folders.list(path).catch(() => []) },
});

async function firstText(
  files: Pick<Files, 'read'>,
  sources: readonly string[],
): Promise<UnitText | undefined> {
  for (const source of sources) {
    const text = await files.read(source);
    if (text !== undefined) return { source, text };
  }
  return undefined;
}

/** Of `a-b.service`: `a-b.service.d`, then `a-.service.d`, then `service.d` for all services. */
function dropInFolders(name: string): string[] {
  const dot = name.lastIndexOf('.');
  const [stem, type] = [name.slice(0, dot), name.slice(dot + 1)];
  const prefixes = [...stem.matchAll(/-/g)].map(({ index }) => `${stem.slice(0, index + 1)}.${type}.d`);
  return [`${name}.d`, ...prefixes.reverse(), `${type}.d`];
}
