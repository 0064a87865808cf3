import type { BackendSecrets, SecretName } from '#src/backend/backend.ts';
import { encodeKey, encodeSecretKey, parseSecretKey, type WireguardKey } from '#src/backend/wireguard-key.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { Secret } from '#src/lib/secret.ts';
import type { RotatedKeys } from '#src/node/key-rotation.ts';
import type { SecretFiles } from '#src/sys/secret-files.ts';
import { newX25519Key, x25519PublicKey } from '#src/sys/x25519.ts';

/** Where backends' secrets come from. */
export interface SecretSource {
  /** Those that are asked for. One that this node does not have yet is made. Throws WeftError `wireguard-key`. */
  read(names: readonly SecretName[]): Promise<BackendSecrets>;
  /** The same key, and the one that takes its place in a rotation. */
  readonly rotated: RotatedKeys;
}

export interface BackendSecretsOptions {
  /** `WIREGUARD_KEY_FILE`. */
  readonly keyFile?: string | undefined;
  /** For a plan: a key that is made is not written. */
  readonly isLooking?: boolean;
}

/** flannel's own place (HEAD, backend/wireguard/device.go). It is lost at a reboot, and the node has another key then. */
export const WIREGUARD_KEY_FILE = '/run/flannel/wgkey';

/**
 * The node's secrets, in files that flannel reads and writes as well. They stay in memory for as long as the process runs:
 * a device that somebody removed is made again with them.
 */
export class NodeSecrets implements SecretSource {
  readonly #files: SecretFiles;
  readonly #options: BackendSecretsOptions;
  #wireguardKey: Promise<WireguardKey> | undefined;
  #nextKey: WireguardKey | undefined;

  constructor(files: SecretFiles, options: BackendSecretsOptions = {}) {
    this.#files = files;
    this.#options = options;
  }

  /** The same for one who changes nothing on the host. */
  get looking(): NodeSecrets {
    return new NodeSecrets(this.#files, { ...this.#options, isLooking: true });
  }

  async read(names: readonly SecretName[]): Promise<BackendSecrets> {
    if (!names.includes('wireguard-key')) return {};
    return { wireguardKey: await this.#current() };
  }

  get rotated(): RotatedKeys {
    return {
      current: () => this.#current(),
      next: () => this.#next(),
      makeNext: () => this.#makeNext(),
      promote: () => this.#promote(),
      ageMs: async (now) => now - ((await this.#files.writtenAt(this.#path)) ?? now),
    };
  }

  get #path(): string {
    return this.#options.keyFile ?? WIREGUARD_KEY_FILE;
  }

  /** Beside the key file, for its owner alone as well. */
  get #nextPath(): string {
    return `${this.#path}.next`;
  }

  #current(): Promise<WireguardKey> {
    this.#wireguardKey ??= this.#readWireguardKey().catch((error) => {
      this.#wireguardKey = undefined;
      throw error;
    });
    return this.#wireguardKey;
  }

  async #next(): Promise<WireguardKey | undefined> {
    if (this.#nextKey === undefined) {
      const found = await this.#load(this.#nextPath);
      this.#nextKey = found && withPublic(found);
    }
    return this.#nextKey;
  }

  async #makeNext(): Promise<WireguardKey> {
    const found = await this.#next();
    if (found !== undefined) return found;
    const made = await this.#make(this.#nextPath);
    if (made === undefined) throw failed(`could not write key file ${this.#nextPath}`);
    this.#nextKey = withPublic(made);
    return this.#nextKey;
  }

  async #promote(): Promise<void> {
    const next = await this.#next();
    if (next === undefined) throw failed(`there is no key file ${this.#nextPath}`);
    await this.#files.replace(this.#path, this.#nextPath);
    this.#wireguardKey = Promise.resolve(next);
    this.#nextKey = undefined;
  }

  async #readWireguardKey(): Promise<WireguardKey> {
    const { isLooking = false } = this.#options;
    const path = this.#path;
    const found = (await this.#load(path)) ?? (isLooking ? undefined : await this.#make(path));
    return withPublic(found ?? newKey());
  }

  async #load(path: string): Promise<Secret | undefined> {
    const bytes = await this.#files.read(path).catch((error: unknown) => {
      throw failed(`can not read the WireGuard key ${path}: ${messageOf(error)}`);
    });
    if (bytes === undefined) return undefined;
    const key = parseSecretKey(Buffer.from(bytes).toString('latin1'));
    bytes.fill(0);
    if (key !== undefined) return key;
    throw new WeftError(
      'wireguard-key',
      `could not parse private key from file ${path}: it has to be 32 bytes in base64, 44 characters`,
      { remedy: `write one ("wg genkey > ${path}"), or remove the file: the next start makes one` },
    );
  }

  /** Another process may make one at the same instant: then both take that. */
  async #make(path: string): Promise<Secret | undefined> {
    const key = newKey();
    const text = encodeSecretKey(key);
    try {
      return (await this.#files.create(path, text)) ? key : await this.#load(path);
    } catch (error) {
      if (error instanceof WeftError) throw error;
      throw failed(`could not write key file ${path}: ${messageOf(error)}`);
    } finally {
      text.fill(0);
    }
  }
}

function newKey(): Secret {
  const bytes = newX25519Key();
  const key = Secret.copyOf(bytes);
  bytes.fill(0);
  return key;
}

function withPublic(privateKey: Secret): WireguardKey {
  const bytes = new Uint8Array(privateKey.length);
  privateKey.copyTo(bytes);
  const publicKey = encodeKey(x25519PublicKey(bytes));
  bytes.fill(0);
  return { privateKey, publicKey };
}

const failed = (text: string): WeftError =>
  new WeftError('wireguard-key', text, {
    remedy: 'name another file in WIREGUARD_KEY_FILE, which only root may read',
  });
