import { join } from 'node:path';
import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { sha256Hex } from '#src/lib/sha256.ts';
import type { Files } from '#src/sys/files.ts';

const MACHINE_ID = '/etc/machine-id';
/** Another one at each read (random(4)). */
const RANDOM_UUID = '/proc/sys/kernel/random/uuid';

/**
 * The node's identity: a random name, independent of its addresses, kept in the state folder. If
 * several processes start at one instant, one creates the file, and all of them take the name in
 * it. On a machine with another /etc/machine-id than the one where it was made (a cloned disk), the
 * name becomes another one, the same for every process there. Where the folder can't be written,
 * the hashed machine id takes its place.
 */
export async function readNodeIdentity(
  { files, log }: { readonly files: Files; readonly log: Logger },
  stateFolder: string,
): Promise<string> {
  const path = join(stateFolder, 'node-id');
  const machine = await machineOf(files);
  try {
    const kept = await readKept(files, path);
    if (kept?.madeOn === machine) return kept.identity;
    if (kept !== undefined) {
      log.warning(
        `${path} was made on another machine (a cloned disk?): this node gets an identity of its own`,
      );
      const own = hash(`${kept.identity} ${machine}`);
      await files.writeAtomically(path, `${own} ${machine}\n`);
      return own;
    }
    const fresh = (await files.read(RANDOM_UUID))?.trim();
    if (!fresh) throw new Error(`there is no ${RANDOM_UUID}`);
    if (await files.createExclusively(path, `${fresh} ${machine}\n`)) return fresh;
    const created = await readKept(files, path);
    if (created !== undefined) return created.identity;
    // A file without an identity in it is not one to keep.
    await files.writeAtomically(path, `${fresh} ${machine}\n`);
    return fresh;
  } catch (error) {
    log.warning(
      `Could not keep the node's identity in ${path}: ${messageOf(error)}; using one derived from ${MACHINE_ID}`,
    );
    return machine;
  }
}

/** Distinguishes machines: a hash of /etc/machine-id, the same on a machine without one. */
export const machineOf = async (files: Pick<Files, 'read'>): Promise<string> =>
  hash((await files.read(MACHINE_ID).catch(() => undefined)) ?? '');

async function readKept(
  files: Files,
  path: string,
): Promise<{ readonly identity: string; readonly madeOn: string | undefined } | undefined> {
  const [identity, madeOn] = ((await files.read(path)) ?? '').trim().split(' ');
  return identity ? { identity, madeOn } : undefined;
}

const hash = (text: string): string => sha256Hex(`weft node ${text.trim()}`).slice(0, 32);
