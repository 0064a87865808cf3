import { join } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { machineOf } from '#src/node/identity.ts';
import { loadEd25519, type SigningKey } from '#src/sys/ed25519.ts';
import type { Files } from '#src/sys/files.ts';

/** One key for a host, in all its networks. */
export const nodeKeyFile = (stateDir: string): string => join(stateDir, 'node-key');

export interface NodeKeyOptions {
  readonly stateDir: string;
  /** Whether a host without a key gets one. */
  readonly makes: boolean;
  /** Whether one that was made is written: `weft plan` changes nothing. Default true. */
  readonly keeps?: boolean;
}

/**
 * The key by which this node signs its leases, from its file (mode 0600); `undefined` when there is none and none is to be
 * made. On another machine than the one where it was made, a cloned disk, the host gets a key of its own. Throws WeftError
 * `node-key` when the file can't be read, or a new one can't be written: without its key a host would be a stranger to its peers.
 */
export async function readNodeKey(
  { files, log }: { readonly files: Files; readonly log: Logger },
  { stateDir, makes, keeps = true }: NodeKeyOptions,
): Promise<SigningKey | undefined> {
  const path = nodeKeyFile(stateDir);
  const text = await read(files, path);
  if (text === undefined && !makes) return undefined;
  const machine = await machineOf(files);
  const kept = text === undefined ? undefined : await keyIn(text, path);
  if (kept?.madeOn === machine) return kept.key;
  const key = (await loadEd25519()).generate();
  const line = `${KIND} ${key.secret()} ${machine}\n`;
  if (!keeps) return key;
  try {
    if (kept !== undefined) {
      log.warning(`${path} was made on another machine (a cloned disk?): this node gets a key of its own`);
      await files.writeAtomically(path, line, SECRET);
    } else if (!(await files.createExclusively(path, line, SECRET))) {
      // Another process of this host was faster.
      return readNodeKey({ files, log }, { stateDir, makes: false });
    }
  } catch (error) {
    throw new WeftError('node-key', `could not keep this node's key in ${path}: ${messageOf(error)}`, {
      remedy: 'make --state-dir writable, or start with --trust=off',
    });
  }
  log.info(`This node signs its leases from now on, with the key ${key.publicKey} (${path})`);
  return key;
}

const KIND = 'ed25519';
const SECRET = 0o600;

async function read(files: Files, path: string): Promise<string | undefined> {
  try {
    return await files.read(path);
  } catch (error) {
    throw unreadable(path, messageOf(error));
  }
}

async function keyIn(
  text: string,
  path: string,
): Promise<{ readonly key: SigningKey; readonly madeOn: string | undefined }> {
  const [kind, secret = '', madeOn] = text.trim().split(' ');
  const key = kind === KIND ? (await loadEd25519()).read(secret) : undefined;
  if (key === undefined) throw unreadable(path, 'there is no key in it');
  return { key, madeOn };
}

const unreadable = (path: string, why: string): WeftError =>
  new WeftError('node-key', `could not read this node's key from ${path}: ${why}`, {
    remedy:
      'put the file back from a backup, or remove it: the node gets another key then, and peers that trust the old one have to forget it ("weft trust forget")',
  });
