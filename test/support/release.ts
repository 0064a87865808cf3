import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import { buildFacts } from '../../script/build-facts.ts';
import { PT_LOAD, PT_PHDR, readSegments } from '../../script/elf-file.ts';
import { builtOnce } from './build-cache.ts';

/** What a release is made of. */
const SOURCES = ['src/**/*', 'script/**/*', 'bin/*', 'package.json', 'package-lock.json', 'tsconfig.json'];

export interface BuiltRelease {
  /** With `linux-x64/`, `sbom.cdx.json` and `SHA256SUMS`, as `dist/` after `script/release`. */
  readonly folder: string;
  /** Its links are beside it. */
  readonly executable: string;
}

/**
 * The release of this tree for one architecture, default this machine's, built once for each content of the tree, in half a minute
 * at most: parallel test files wait for the first. Read only.
 */
export async function builtRelease({
  version = VERSION,
  architecture = process.arch,
} = {}): Promise<BuiltRelease> {
  // The executable says of which commit it is.
  const facts = JSON.stringify(buildFacts(version, { SOURCE_DATE_EPOCH: '0' }));
  const folder = builtOnce({
    kind: 'releases',
    facts: `${facts} ${architecture} ${process.version}`,
    sources: SOURCES,
    program: 'script/release.ts',
    words: (to) => [architecture, `--version=${version}`, `--to=${to}`],
  });
  return { folder, executable: join(folder, `linux-${architecture}/weft`) };
}

/** No page is of two segments, and the program headers are where Linux before 5.18 looks for them. */
export function assertMappable(executable: string, page: number): void {
  const segments = readSegments(readFileSync(executable));
  const loaded = segments.filter(({ type }) => type === PT_LOAD);
  for (const [index, { address }] of loaded.entries()) {
    const before = loaded[index - 1];
    if (before === undefined) continue;
    const end = Math.ceil((before.address + before.bytes) / page) * page;
    assert.ok(address - (address % page) >= end, `segment ${index} begins in a page of the one before`);
  }
  const headers = segments.find(({ type }) => type === PT_PHDR);
  const [first] = loaded;
  assert.ok(headers !== undefined && first !== undefined);
  assert.equal(headers.address - headers.offset, first.address - first.offset);
}
