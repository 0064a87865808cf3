import { join } from 'node:path';
import { absentFact, type Fact, knownFact } from '#src/diagnose/facts/fact.ts';
import type { FileLook } from '#src/sys/file-look.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';

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

/** systemd.unit(5): a unit in an earlier folder hides those of its name in later ones. */
const FOLDERS = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
] as const;
const GENERATED = ['/run/systemd/generator.early', '/run/systemd/generator', '/run/systemd/generator.late'];

export interface UnitsComponents {
  readonly files: Pick<Files, 'read'>;
  readonly folders: Pick<Folders, 'list' | 'listFolders'>;
  readonly look: FileLook;
}

/** Those of the names that are there; absent on a host without systemd. */
export async function readUnits(
  components: UnitsComponents,
  names: readonly string[],
): Promise<Fact<ReadonlyMap<string, UnitSeen>>> {
  const { look, folders } = components;
  if ((await look.see('/run/systemd/system')) === undefined)
    return absentFact('systemd is not the first process of this host');
  const enabled = await enabledIn(folders);
  const units = await Promise.all(names.map((name) => readUnit(components, name, enabled)));
  return knownFact(new Map(units.flatMap((unit) => (unit === undefined ? [] : [[unit.name, unit]]))));
}

async function readUnit(
  { files, folders, look }: UnitsComponents,
  name: string,
  enabled: ReadonlySet<string>,
): Promise<UnitSeen | undefined> {
  const real = await Promise.all(
    FOLDERS.map(async (folder) => {
      const path = join(folder, name);
      return { path, real: await look.resolve(path) };
    }),
  );
  // On most systems /lib is a link to /usr/lib.
  const found = real.filter((it, n) => it.real && real.findIndex((other) => other.real === it.real) === n);
  const [first] = found;
  if (first === undefined) return undefined;
  const places = [...FOLDERS, ...GENERATED].map((folder) => join(folder, `${name}.d`));
  const dropIns = (
    await Promise.all(
      places.map(async (place) =>
        (
          await folders.list(place).catch((): string[] => [])
        )
          .filter((file) => file.endsWith('.conf'))
          .map((file) => join(place, file)),
      ),
    )
  ).flat();
  const unique = dropIns.filter(
    (path) => !path.startsWith('/lib/') || !dropIns.includes(path.replace(/^/, '/usr')),
  );
  const texts = await Promise.all([first.path, ...unique].map((path) => files.read(path).catch(() => '')));
  return {
    name,
    paths: found.map(({ path }) => path),
    isEnabled: enabled.has(name),
    dropIns: unique,
    text: texts.join('\n'),
  };
}

/** Units that another one pulls in: links in `TARGET.wants` and `TARGET.requires`. */
async function enabledIn(folders: UnitsComponents['folders']): Promise<ReadonlySet<string>> {
  const [root] = FOLDERS;
  const places = (await folders.listFolders(root).catch((): string[] => [])).filter((name) =>
    /\.(wants|requires)$/.test(name),
  );
  const names = await Promise.all(
    places.map((place) => folders.list(join(root, place)).catch((): string[] => [])),
  );
  return new Set(names.flat());
}
