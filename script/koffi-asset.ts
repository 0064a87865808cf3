/**
 * koffi inside a release's executable: the native part is an asset of it, and only the dynamic loader, which needs a
 * file, gets it as one for a moment. What koffi's own JavaScript adds is old names and their warnings.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getRawAsset } from 'node:sea';
import type * as koffi from 'koffi';

/** Folders that may be written; a hardened host mounts some of them noexec. */
const FOLDERS = [tmpdir(), '/run', '/dev/shm', '/var/lib', '/var/tmp'];

function loadNative(): typeof koffi {
  const failures: string[] = [];
  for (const parent of FOLDERS) {
    try {
      return loadFrom(parent);
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(`could not load the native part from a file: ${failures.join('; ')}`);
}

function loadFrom(parent: string): typeof koffi {
  const folder = mkdtempSync(join(parent, '.weft-'));
  try {
    const file = join(folder, 'koffi.node');
    writeFileSync(file, new Uint8Array(getRawAsset('koffi.node')), { mode: 0o500 });
    const native = { exports: {} as typeof koffi };
    process.dlopen(native, file);
    return native.exports;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What src/sys takes of it. */
export const { errno, load, node, os, pointer, sizeof, struct, version } = loadNative();
