import { join } from 'node:path';
import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { sha256Hex } from '#src/lib/sha256.ts';
import type { Files } from '#src/sys/files.ts';

const MACHINE_ID = '/etc/machine-id';
/** Another one for each reader (random(4)). */
const RANDOM_UUID = '/proc/sys/kernel/random/uuid';

/**
 * Who this node is, whatever its addresses are: a random name, kept in the state folder. It is made anew when the
 * machine is another one than it was made on (a cloned disk), told by /etc/machine-id. Where the folder can't be
 * written, the machine id itself serves, hashed.
 */
export async function readNodeIdentity(
  { files, log }: { readonly files: Files; readonly log: Logger },
  stateFolder: string,
): Promise<string> {
  const path = join(stateFolder, 'node-id');
  const machine = hash((await files.read(MACHINE_ID).catch(() => undefined)) ?? '');
  try {
    const [identity, madeOn] = ((await files.read(path)) ?? '').trim().split(' ');
    if (identity && madeOn === machine) return identity;
    if (identity)
      log.warning(
        `${path} was made on another machine (a cloned disk?): this node gets an identity of its own`,
      );
    const fresh = (await files.read(RANDOM_UUID))?.trim();
    if (!fresh) throw new Error(`there is no ${RANDOM_UUID}`);
    await files.writeAtomically(path, `${fresh} ${machine}\n`);
    return fresh;
  } catch (error) {
    log.warning(
      `Could not keep the node's identity in ${path}: ${messageOf(error)}; using one derived from ${MACHINE_ID}`,
    );
    return machine;
  }
}

const hash = (text: string): string => sha256Hex(`weft node ${text.trim()}`).slice(0, 32);
