import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Files } from '#src/sys/files.ts';

/** A lease record as the registry held it, kept for a start without the registry. */
export interface RememberedRecord {
  readonly name: string;
  readonly value: string;
}

/** What a node needs to forward packets before it has heard from its registry: the text of what it last heard. */
export interface Remembered {
  /** Milliseconds since the epoch, when the registry was last heard. */
  readonly at: number;
  readonly config: string;
  /** What was behind the names of its rules; absent in a file of an earlier version. */
  readonly instance?: string;
  readonly own: RememberedRecord;
  /** When our lease ends, if it was not renewed since, in milliseconds since the epoch; absent for a reservation. */
  readonly heldUntil?: number;
  readonly peers: readonly RememberedRecord[];
}

/** Of the state file. */
export const STATE_FORMAT = 1;

/** The file that remembers one network; see node/network-id.ts. */
export class Memory {
  readonly #files: Files;
  readonly #log: Logger;
  readonly path: string;

  constructor({ files, log }: { readonly files: Files; readonly log: Logger }, path: string) {
    this.#files = files;
    this.#log = log;
    this.path = path;
  }

  /** What was remembered; `undefined` when there is nothing, or nothing readable, which is said. */
  async recall(): Promise<Remembered | undefined> {
    try {
      const text = await this.#files.read(this.path);
      if (text === undefined) return undefined;
      const { format, ...remembered } = JSON.parse(text) as Remembered & { format: number };
      if (format !== STATE_FORMAT || !isRemembered(remembered)) throw new Error('it has another format');
      return remembered;
    } catch (error) {
      this.#log.warning(`Could not use the remembered peers in ${this.path}: ${messageOf(error)}`);
      return undefined;
    }
  }

  /**
   * Replaces what is remembered. A failure is logged and changes nothing: no network depends on
   * this file.
   */
  async remember(remembered: Remembered): Promise<void> {
    try {
      await this.#files.writeAtomically(this.path, textOf(remembered), 0o600);
    } catch (error) {
      this.#log.warning(`Could not remember the peers in ${this.path}: ${messageOf(error)}`);
    }
  }
}

const PEERS_A_PIECE = 500;

/** The JSON of it, peer by peer: of 50,000 it is 7 MB. */
function* textOf({ peers, ...rest }: Remembered): Generator<string> {
  yield `${JSON.stringify({ format: STATE_FORMAT, ...rest }).slice(0, -1)},"peers":[`;
  for (let at = 0; at < peers.length; at += PEERS_A_PIECE) {
    const piece = peers.slice(at, at + PEERS_A_PIECE).map(({ name, value }) => ({ name, value }));
    yield `${at === 0 ? '' : ','}${JSON.stringify(piece).slice(1, -1)}`;
  }
  yield ']}\n';
}

function isRemembered(value: Remembered): boolean {
  const isRecord = (record: unknown): boolean =>
    typeof record === 'object' &&
    record !== null &&
    typeof (record as RememberedRecord).name === 'string' &&
    typeof (record as RememberedRecord).value === 'string';
  return (
    typeof value.at === 'number' &&
    typeof value.config === 'string' &&
    (value.heldUntil === undefined || typeof value.heldUntil === 'number') &&
    (value.instance === undefined || typeof value.instance === 'string') &&
    isRecord(value.own) &&
    Array.isArray(value.peers) &&
    value.peers.every(isRecord)
  );
}
