import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './source-tree.ts';

/**
 * A package of npm as it is published, in the version that package-lock.json has, and never one with another checksum
 * (https://www.w3.org/TR/sri-2/). Not `npm install`: npm 11 refuses the packages of another processor, `--cpu` or not.
 */
export function fetchNpmPackage(name: string): Buffer {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity: string }>>;
  };
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`package-lock.json has no ${name}`);
  const spec = `${name}@${locked.version}`;
  const packed = pack(spec);
  const found = `sha512-${createHash('sha512').update(packed).digest('base64')}`;
  if (found !== locked.integrity)
    throw new Error(`${spec} is ${found}, and package-lock.json says ${locked.integrity}`);
  return packed;
}

function pack(spec: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'weft-npm-'));
  try {
    const words = ['pack', '--silent', '--loglevel=error', `--pack-destination=${folder}`, spec];
    // Another folder's .npmrc may name another registry.
    execFileSync('npm', words, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    const [file = ''] = readdirSync(folder);
    return readFileSync(join(folder, file));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
