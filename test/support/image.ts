import { join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import type { Architecture } from '../../script/architectures.ts';
import { builtOnce } from './build-cache.ts';
import { builtRelease } from './release.ts';

/** What an image is made of beside a release. */
const SOURCES = ['script/image.ts', 'script/oci/*.ts', 'packaging/image/*', 'LICENSE'];

export interface BuiltImage {
  /** `weft:0.1.0`, as it is called when it is loaded. */
  readonly name: string;
  /** For `docker load` and `ctr image import`. */
  readonly archive: string;
  readonly sbom: string;
}

/** The image of {@link builtRelease}, made once for each content of the tree. Read only. */
export async function builtImage({
  version = VERSION,
  architecture = process.arch as Architecture,
}: {
  readonly version?: string;
  readonly architecture?: Architecture;
} = {}): Promise<BuiltImage> {
  const release = await builtRelease({ version, architecture });
  const folder = builtOnce({
    kind: 'images',
    // The release's folder is named by its content.
    facts: release.folder,
    sources: SOURCES,
    program: 'script/image.ts',
    words: (to) => [architecture, `--version=${version}`, `--release=${release.folder}`, `--output=${to}`],
  });
  return {
    name: `weft:${version}`,
    archive: join(folder, `weft-${version}-oci-${architecture}.tar`),
    sbom: join(folder, `weft-${version}-image-${architecture}.cdx.json`),
  };
}
