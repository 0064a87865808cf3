import {
  chmodSync,
  copyFileSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { InstalledFile } from '../payload.ts';

/**
 * Lays the files out below a folder, as they will be installed. Folders have mode 0755, and everything has one time
 * (seconds since 1970): that is what makes the same package twice.
 */
export function stage(files: readonly InstalledFile[], folder: string, date: number): void {
  mkdirSync(folder, { recursive: true });
  for (const { path, mode, content } of files) {
    const place = join(folder, path);
    mkdirSync(dirname(place), { recursive: true });
    if ('target' in content) {
      symlinkSync(content.target, place);
      continue;
    }
    if ('bytes' in content) writeFileSync(place, content.bytes);
    else copyFileSync(content.file, place);
    chmodSync(place, mode);
  }
  settle(folder, date);
}

/** From the leaves on: what is made in a folder changes the folder's time. */
export function settle(folder: string, date: number): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) settle(path, date);
    else lutimesSync(path, date, date);
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, date, date);
}
