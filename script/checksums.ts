import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const sha256Of = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');

/** Puts files of a folder into its SHA256SUMS, as sha256sum writes it; their former lines go. script/sign signs it. */
export function addChecksums(folder: string, names: readonly string[]): void {
  const file = join(folder, 'SHA256SUMS');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
  const kept = lines.filter((line) => line !== '' && !names.includes(line.slice(line.indexOf('  ') + 2)));
  const added = names.map((name) => `${sha256Of(readFileSync(join(folder, name)))}  ${name}`);
  writeFileSync(file, `${[...kept, ...added].join('\n')}\n`);
}

/** A name that the content gives, as a bill of materials wants it: a UUID of version 8 (RFC 9562). */
export function serialNumberOf(content: string): string {
  const bytes = createHash('sha256').update(content).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `urn:uuid:${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}`;
}
