import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { LayerTree } from './layer.ts';
import type { Architecture } from './package-lock.ts';
import { readTar } from './tar.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Where flannel's image has its programs: manifests for it name them. */
const FLANNEL_PROGRAMS = ['flanneld', 'mk-docker-opts.sh'];

/** The image's second layer: the release's files of an architecture, and flannel's names for them. */
export function programTree(
  folder: string,
  { architecture, mtime }: { readonly architecture: Architecture; readonly mtime: number },
): LayerTree {
  const tree = new LayerTree({ mtime });
  for (const name of readdirSync(folder).sort()) {
    const file = join(folder, name);
    if (lstatSync(file).isSymbolicLink()) tree.symlink(`usr/bin/${name}`, readlinkSync(file));
    else tree.file(`usr/bin/${name}`, readFileSync(file), 0o755);
  }
  for (const name of FLANNEL_PROGRAMS)
    tree.symlink(
      `opt/bin/${name}`,
      `../../usr/bin/${tree.has(`usr/bin/${name}`) ? name : name.replace('.sh', '')}`,
    );
  tree.file('usr/lib/weft/koffi.node', nativePart(architecture), 0o755);
  tree.file('usr/share/doc/weft/LICENSE', readFileSync(join(ROOT, 'LICENSE')));
  return tree;
}

/** koffi's native part, which a container without a folder to write to can't unpack from the executable. */
function nativePart(architecture: Architecture): Buffer {
  const name = `@koromix/koffi-linux-${architecture}`;
  const file = `linux_${architecture}/koffi.node`;
  if (architecture === process.arch) return readFileSync(join(ROOT, 'node_modules', name, file));
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity: string }>>;
  };
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`package-lock.json has no ${name}`);
  const packed = packedPackage(`${name}@${locked.version}`);
  // https://www.w3.org/TR/sri-2/
  const found = `sha512-${createHash('sha512').update(packed).digest('base64')}`;
  if (found !== locked.integrity)
    throw new Error(`${name} is ${found}, and package-lock.json says ${locked.integrity}`);
  for (const { path, data } of readTar(gunzipSync(packed)))
    if (path === `package/${file}` && data !== undefined) return data;
  throw new Error(`${name} has no ${file}`);
}

/** A package of npm as it is published: npm installs none that is for another processor. */
function packedPackage(spec: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'weft-image-'));
  try {
    execFileSync('npm', ['pack', '--loglevel=error', `--pack-destination=${folder}`, spec], {
      stdio: 'pipe',
    });
    const [file = ''] = readdirSync(folder);
    return readFileSync(join(folder, file));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
