import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { VERSION } from '#src/lib/version.ts';
import { inRepository } from './flanneld.ts';

export interface BuiltRelease {
  /** With `linux-x64/`, `sbom.cdx.json` and `SHA256SUMS`, as `dist/` after `script/release`. */
  readonly folder: string;
  readonly executable: string;
}

/** The release of this checkout in `dist/`, made where there is none. */
export async function builtRelease({ version = VERSION } = {}): Promise<BuiltRelease> {
  if (version !== VERSION) throw new Error(`script/release makes version ${VERSION} only, not ${version}`);
  const executable = inRepository(`dist/linux-${process.arch}/weft`);
  if (!existsSync(executable)) execFileSync(inRepository('script/release'), [process.arch]);
  return { folder: inRepository('dist'), executable };
}
