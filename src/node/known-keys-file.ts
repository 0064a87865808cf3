import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatKnownKeys, KnownKeys, parseKnownKeys } from '#src/network/known-keys.ts';
import type { Files } from '#src/sys/files.ts';

/** The file that remembers which keys hold which subnets of one network; see node/network-id.ts. */
export class KnownKeysFile {
  readonly #files: Files;
  readonly path: string;
  readonly #network: string;
  #written: number | undefined;

  /** `network`: see {@link networkOf}. */
  constructor({ files }: { readonly files: Files }, path: string, network: string) {
    this.#files = files;
    this.path = path;
    this.#network = network;
  }

  /**
   * Empty where there is no file. Throws WeftError `known-keys` when it can't be read: with no known keys every subnet would be
   * the next writer's.
   */
  async read(): Promise<KnownKeys> {
    try {
      const text = await this.#files.read(this.path);
      const known = text === undefined ? new KnownKeys() : parseKnownKeys(text, this.#network);
      this.#written = text === undefined ? undefined : known.version;
      return known;
    } catch (error) {
      throw new WeftError(
        'known-keys',
        `could not read the known keys of the network's hosts from ${this.path}: ${messageOf(error)}`,
        {
          remedy:
            'put the file back from a backup, or remove it once you have looked at "weft leases": each subnet is then its present key\'s',
        },
      );
    }
  }

  /** Writes what has changed since the last time. Throws what the file system says. */
  async write(known: KnownKeys): Promise<void> {
    const { version } = known;
    if (version === this.#written) return;
    await this.#files.writeAtomically(this.path, formatKnownKeys(this.#network, known), 0o600);
    this.#written = version;
  }
}
