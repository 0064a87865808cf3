import { join } from 'node:path';
import { absentFact, type Fact, knownFact } from '#src/diagnose/facts/fact.ts';
import type { FileLook } from '#src/sys/file-look.ts';
import type { Folders } from '#src/sys/folders.ts';

/** The folder of flanneld's state. */
export interface StateFolder {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly freeBytes: number;
  readonly freeFiles?: number;
  /** Files and sockets in it, by name, which others than root can read or write although nobody else should. */
  readonly open: readonly string[];
}

export async function readStateFolder(
  { look, folders }: { readonly look: FileLook; readonly folders: Pick<Folders, 'list'> },
  path: string,
): Promise<Fact<StateFolder>> {
  const real = (await look.resolve(path)) ?? path;
  const [folder, space] = await Promise.all([look.see(real), look.space(real)]);
  if (folder?.kind !== 'folder' || space === undefined) return absentFact(`there is no ${path}`);
  const names = (await folders.list(real).catch((): string[] => [])).filter((name) =>
    /\.(sock|json)$/.test(name),
  );
  const seen = await Promise.all(names.map((name) => look.see(join(real, name))));
  const open = names.filter((_, n) => ((seen[n]?.mode ?? 0) & 0o077) !== 0);
  return knownFact({ path, mode: folder.mode, uid: folder.uid, ...space, open });
}
