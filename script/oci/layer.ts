import { execFileSync } from 'node:child_process';
import { sha256Of } from '../checksums.ts';
import { type TarEntry, writeTar } from './tar.ts';

/** A layer as an image names it. */
export interface Layer {
  /** gzip of the archive: what is stored. */
  readonly blob: Buffer;
  /** Checksum of the archive itself: the image's DiffID. */
  readonly diffId: string;
}

/** The files of one layer. */
export class LayerTree {
  readonly #entries = new Map<string, TarEntry>();
  readonly #mtime: number;

  /** `mtime`: of what has no time of its own. */
  constructor({ mtime }: { readonly mtime: number }) {
    this.#mtime = mtime;
  }

  /**
   * A member as it is. A folder may come again, and is then the first one. Throws when anything else does, or when a path
   * leads through a symbolic link.
   */
  add(entry: TarEntry): void {
    const other = this.#entries.get(entry.path);
    if (other?.type === 'folder' && entry.type === 'folder') return;
    if (other !== undefined) throw new Error(`two packages have the file /${entry.path}`);
    for (const folder of foldersOf(entry.path)) {
      const type = this.#entries.get(folder)?.type ?? 'folder';
      if (type !== 'folder') throw new Error(`/${entry.path} is below /${folder}, which is a ${type}`);
    }
    this.#entries.set(entry.path, entry);
  }

  folder(path: string, mode = 0o755, owner = 0): void {
    this.add({ ...this.#own(path, mode), type: 'folder', uid: owner, gid: owner });
  }

  file(path: string, data: Buffer | string, mode = 0o644): void {
    this.add({ ...this.#own(path, mode), type: 'file', data: Buffer.from(data) });
  }

  symlink(path: string, target: string): void {
    this.add({ ...this.#own(path, 0o777), type: 'symlink', target });
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  /** All members, folders before what is in them, by path. A folder that nobody named is root's. */
  entries(): TarEntry[] {
    const all = new Map(this.#entries);
    for (const path of this.#entries.keys())
      for (const folder of foldersOf(path))
        if (!all.has(folder)) all.set(folder, { ...this.#own(folder, 0o755), type: 'folder' });
    // A hard link comes after its file, whatever their names.
    const rank = ({ type }: TarEntry): number => (type === 'link' ? 1 : 0);
    return [...all.values()].sort((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1));
  }

  #own(path: string, mode: number): Omit<TarEntry, 'type'> {
    return { path, mode, uid: 0, gid: 0, mtime: this.#mtime };
  }
}

/** gzip(1) and not node:zlib: that one's output depends on what the processor can do. */
export function makeLayer(tree: LayerTree): Layer {
  const archive = writeTar(tree.entries());
  const blob = execFileSync('gzip', ['-n', '-6'], { input: archive, maxBuffer: 1 << 30 });
  return { blob, diffId: `sha256:${sha256Of(archive)}` };
}

/** `a/b/c` → a, a/b. */
function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, n) => parts.slice(0, n + 1).join('/'));
}
