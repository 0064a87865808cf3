import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Architecture } from '../architectures.ts';
import { fetchNpmPackage } from '../npm-package.ts';
import { ROOT } from '../source-tree.ts';
import { LayerTree } from './layer.ts';
import { readTar } from './tar.ts';

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
  for (const { path, data } of readTar(gunzipSync(fetchNpmPackage(name))))
    if (path === `package/${file}` && data !== undefined) return data;
  throw new Error(`${name} has no ${file}`);
}
