/** One member of a tar archive. Paths have no `/` at either end, and the root has no member. */
export interface TarEntry {
  readonly path: string;
  readonly type: 'file' | 'folder' | 'symlink' | 'link';
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Of a file. */
  readonly data?: Buffer;
  /** Of a symbolic or hard link. */
  readonly target?: string;
}

const BLOCK = 512;
const TYPES = { file: '0', link: '1', symlink: '2', folder: '5' } as const;
const MAGIC = 'ustar\x0000';

/** An archive of these members, in this order, as POSIX.1-2001 (pax) has it. Nothing in it depends on the machine. */
export function writeTar(entries: Iterable<TarEntry>): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) parts.push(...membersOf(entry));
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

function* membersOf(entry: TarEntry): Generator<Buffer> {
  const path = entry.type === 'folder' ? `${entry.path}/` : entry.path;
  const target = entry.target ?? '';
  const long = [
    ...(Buffer.byteLength(path) > 100 ? [record('path', path)] : []),
    ...(Buffer.byteLength(target) > 100 ? [record('linkpath', target)] : []),
  ].join('');
  if (long !== '') yield* member({ name: 'pax', typeflag: 'x', mode: 0o644, data: Buffer.from(long) });
  const { mode, uid, gid, mtime, data } = entry;
  yield* member({ name: path, typeflag: TYPES[entry.type], mode, uid, gid, mtime, target, data });
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest);
  while (`${length}`.length + Buffer.byteLength(rest) !== length) length++;
  return `${length}${rest}`;
}

interface Member {
  readonly name: string;
  readonly typeflag: string;
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly target?: string;
  readonly data?: Buffer | undefined;
}

function* member({ name, typeflag, mode, uid = 0, gid = 0, mtime = 0, target = '', data }: Member) {
  const header = Buffer.alloc(BLOCK);
  const text = (value: string, at: number, length: number): void => {
    Buffer.from(value).copy(header, at, 0, length);
  };
  const octal = (value: number, at: number, length: number): void =>
    text(value.toString(8).padStart(length - 1, '0'), at, length - 1);
  text(name, 0, 100);
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  octal(data?.length ?? 0, 124, 12);
  octal(mtime, 136, 12);
  text(' '.repeat(8), 148, 8);
  text(typeflag, 156, 1);
  text(target, 157, 100);
  text(MAGIC, 257, 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  text(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8);
  yield header;
  if (data === undefined || data.length === 0) return;
  yield data;
  yield Buffer.alloc(-data.length & (BLOCK - 1));
}

/** The members of an archive of GNU tar or of pax, without the root. Throws on a kind of member that a package has not. */
export function* readTar(archive: Buffer): Generator<TarEntry> {
  let long: { path?: string; target?: string } = {};
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) return;
    const size = octalAt(header, 124, 12);
    const data = archive.subarray(at + BLOCK, at + BLOCK + size);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    const typeflag = textAt(header, 156, 1) || '0';
    if (typeflag === 'L') long.path = textAt(data, 0, size);
    else if (typeflag === 'K') long.target = textAt(data, 0, size);
    else if (typeflag === 'x') long = longOf(data.toString());
    else {
      const entry = entryOf(header, typeflag, long, data);
      long = {};
      if (entry.path !== '') yield entry;
    }
  }
}

function entryOf(
  header: Buffer,
  typeflag: string,
  long: { readonly path?: string; readonly target?: string },
  data: Buffer,
): TarEntry {
  const type = (['file', 'link', 'symlink', 'folder'] as const).find((name) => TYPES[name] === typeflag);
  const prefix = header.subarray(257, 263).toString() === 'ustar\0' ? textAt(header, 345, 155) : '';
  const name = `${prefix === '' ? '' : `${prefix}/`}${textAt(header, 0, 100)}`;
  const path = (long.path ?? name).replace(/^\.?\/+|^\.$/, '').replace(/\/+$/, '');
  if (type === undefined) throw new Error(`tar: ${path} is of type ${typeflag}`);
  const target = long.target ?? textAt(header, 157, 100);
  return {
    path,
    type,
    mode: octalAt(header, 100, 8) & 0o7777,
    uid: octalAt(header, 108, 8),
    gid: octalAt(header, 116, 8),
    mtime: octalAt(header, 136, 12),
    ...(type === 'file' && { data }),
    ...(type === 'symlink' && { target }),
    ...(type === 'link' && { target: target.replace(/^\.?\/+/, '') }),
  };
}

function longOf(text: string): { path?: string; target?: string } {
  const path = /^\d+ path=(.*)$/m.exec(text)?.[1];
  const target = /^\d+ linkpath=(.*)$/m.exec(text)?.[1];
  return { ...(path !== undefined && { path }), ...(target !== undefined && { target }) };
}

function textAt(from: Buffer, at: number, length: number): string {
  const field = from.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

const octalAt = (from: Buffer, at: number, length: number): number =>
  Number.parseInt(textAt(from, at, length).trim() || '0', 8);
