/**
 * koffi inside a release's executable: the native part is an asset of it, and only the dynamic loader, which needs a
 * file, gets it as one for a moment. An image has it as a file: a container may have no folder to write to. What koffi's
 * own JavaScript adds is old names and their warnings.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getRawAsset } from 'node:sea';
import type * as koffi from 'koffi';

/** Folders that may be written; a hardened host mounts some of them noexec. */
const FOLDERS = [tmpdir(), '/run', '/dev/shm', '/var/lib', '/var/tmp'];

/** Only root can write there; beside an executable that was unpacked in /tmp anybody could. */
const SHIPPED = '/usr/lib/weft/koffi.node';

function loadNative(): typeof koffi {
  if (existsSync(SHIPPED) && asset().equals(readFileSync(SHIPPED))) return open(SHIPPED);
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
    writeFileSync(file, asset(), { mode: 0o500 });
    return open(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const asset = (): Buffer => Buffer.from(getRawAsset('koffi.node'));

function open(file: string): typeof koffi {
  const native = { exports: {} as typeof koffi };
  process.dlopen(native, file);
  return native.exports;
}

/** What src/sys takes of it. */
export const { address, errno, load, node, os, pointer, sizeof, struct, version } = loadNative();
