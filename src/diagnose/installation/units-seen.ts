import { basename, dirname, join } from 'node:path';
import { absentFact, type Fact, knownFact } from '#src/diagnose/facts/fact.ts';
import type { FileLook } from '#src/sys/file-look.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import { enabledUnits, readUnit, UNIT_FOLDERS } from '#src/sys/read-unit.ts';

/** A unit as systemd finds it. */
export interface UnitSeen {
  readonly name: string;
  /** The file that counts, and those that it hides. */
  readonly paths: readonly string[];
  readonly isEnabled: boolean;
  /** Its drop-ins, by path, with those that a generator made. */
  readonly dropIns: readonly string[];
  /** The texts of the file that counts and of the drop-ins, one after the other. */
  readonly text: string;
}

export interface UnitsComponents {
  readonly files: Pick<Files, 'read'>;
  readonly folders: Pick<Folders, 'list'>;
  readonly look: FileLook;
}

/** Those of the names that are there; absent on a host without systemd. */
export async function readUnits(
  components: UnitsComponents,
  names: readonly string[],
): Promise<Fact<ReadonlyMap<string, UnitSeen>>> {
  if ((await components.look.see('/run/systemd/system')) === undefined)
    return absentFact('systemd is not the first process of this host');
  const enabled = await enabledUnits(components);
  const units = await Promise.all(names.map((name) => seenUnit(components, name, enabled)));
  return knownFact(new Map(units.flatMap((unit) => (unit === undefined ? [] : [[unit.name, unit]]))));
}

async function seenUnit(
  components: UnitsComponents,
  name: string,
  enabled: ReadonlySet<string>,
): Promise<UnitSeen | undefined> {
  const places = UNIT_FOLDERS.map((folder) => join(folder, name));
  const real = await Promise.all(places.map((path) => components.look.resolve(path)));
  // On most systems /lib is a link to /usr/lib.
  const paths = places.filter((_, n) => real[n] !== undefined && real.indexOf(real[n]) === n);
  if (paths.length === 0) return undefined;
  // One that is masked has no text.
  const texts = (await readUnit(components, name))?.texts ?? [];
  const sources = texts.slice(1).map(({ source }) => source);
  return {
    name,
    paths,
    isEnabled: enabled.has(name),
    dropIns: sources.filter((path) => basename(dirname(path)) === `${name}.d`),
    text: texts.map(({ text }) => text).join('\n'),
  };
}
