import { execFileSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LayerTree } from './layer.ts';
import type { Architecture } from './package-lock.ts';

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
  const within = (folder: string): Buffer =>
    readFileSync(join(folder, 'node_modules', name, `linux_${architecture}/koffi.node`));
  if (architecture === process.arch) return within(ROOT);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'node_modules/koffi/package.json'), 'utf8')) as {
    readonly version: string;
  };
  const folder = mkdtempSync(join(tmpdir(), 'weft-image-'));
  try {
    const quiet = ['--no-audit', '--no-fund', '--no-save', '--loglevel=error'];
    const where = [`--prefix=${folder}`, `--cpu=${architecture}`, '--os=linux'];
    execFileSync('npm', ['install', ...quiet, ...where, `${name}@${version}`], { stdio: 'pipe' });
    return within(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
