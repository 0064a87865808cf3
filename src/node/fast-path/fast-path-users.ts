import { isAbort } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Files } from '#src/sys/files.ts';

/** The setting that `fast-path-objects.ts` wants: conntrack then takes TCP packets whose predecessors it did not see. */
const SETTING = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';

/** What is written down, so that the value is put back by another run, too. */
interface Note {
  /** The networks that need the setting, by their prefixes, and the VXLAN devices of their fast paths. */
  readonly users: Readonly<Record<string, readonly string[]>>;
  /** As it was before the first of them; `null` where the kernel has no such setting. */
  readonly value: string | null;
}

/**
 * Which networks of this host have a fast path, and on which devices, in a file: a network that has none after a restart takes away what
 * it had. And nf_conntrack_tcp_be_liberal, which is set while there is one of them, and put back as it was after the last. One for each host.
 */
export class FastPathUsers {
  readonly #files: Pick<Files, 'read' | 'write' | 'writeAtomically' | 'remove'>;
  readonly #path: string;
  readonly #order = new InOrder();

  /** `path`: where the value of before is written down. */
  constructor(files: Pick<Files, 'read' | 'write' | 'writeAtomically' | 'remove'>, path: string) {
    this.#files = files;
    this.#path = path;
  }

  /** Whether TCP may go past conntrack. A kernel without the setting has no conntrack that could mind. */
  async isTcpLiberal(): Promise<boolean> {
    return (await this.#value()) !== '0';
  }

  /** Writes down what is there, before it is changed. Without a note nothing is put back. */
  use(user: string, device: string): Promise<void> {
    return this.#order.run(async () => {
      const note = await this.#note();
      const devices = note?.users[user] ?? [];
      if (devices.includes(device)) return;
      const value = note === undefined ? ((await this.#value()) ?? null) : note.value;
      await this.#write({ users: { ...note?.users, [user]: [...devices, device] }, value });
    });
  }

  /** The user has no other device any more. */
  only(user: string, device: string): Promise<void> {
    return this.#order.run(async () => {
      const note = await this.#note();
      const devices = note?.users[user] ?? [];
      if (note !== undefined && devices.length > 1)
        await this.#write({ ...note, users: { ...note.users, [user]: [device] } });
    });
  }

  /** Those for which it was used, in earlier runs, too. */
  async networks(): Promise<string[]> {
    return Object.keys((await this.#note())?.users ?? {});
  }

  /** The devices for which it was used; `undefined` for a network that has never used it. */
  async devicesOf(user: string): Promise<readonly string[] | undefined> {
    return (await this.#note())?.users[user];
  }

  /** Puts the value back if this was the last network to need it, with `all` in any case. Returns what was done, in words. */
  leave(user: string | 'all'): Promise<string | undefined> {
    return this.#order.run(async () => {
      const note = await this.#note();
      if (note === undefined || (user !== 'all' && note.users[user] === undefined)) return undefined;
      const { [user]: _, ...users } = note.users;
      if (user !== 'all' && Object.keys(users).length > 0) {
        await this.#write({ ...note, users });
        return undefined;
      }
      const { value } = note;
      const isOther = value !== null && (await this.#value()) !== value;
      if (isOther) await this.#files.write(SETTING, value).catch(() => {});
      await this.#files.remove(this.#path);
      return !isOther ? undefined : commandOf(value);
    });
  }

  /** What {@link leave} would run for all of them, as commands. */
  async leftovers(): Promise<string[]> {
    const note = await this.#note();
    if (note === undefined) return [];
    return [...(note.value === null ? [] : [commandOf(note.value)]), `rm '${this.#path}'`];
  }

  async #value(): Promise<string | undefined> {
    try {
      return (await this.#files.read(SETTING))?.trim();
    } catch (error) {
      if (isAbort(error)) throw error;
      return '0';
    }
  }

  async #note(): Promise<Note | undefined> {
    const text = await this.#files.read(this.#path).catch(() => undefined);
    try {
      const { users, value } = JSON.parse(text ?? '') as Partial<Note>;
      return isUsers(users) && (value === null || value === '0' || value === '1')
        ? { users, value }
        : undefined;
    } catch {
      return undefined;
    }
  }

  #write(note: Note): Promise<void> {
    return this.#files.writeAtomically(this.#path, `${JSON.stringify(note)}\n`, 0o600);
  }
}

const isUsers = (users: unknown): users is Note['users'] =>
  typeof users === 'object' &&
  users !== null &&
  Object.values(users).every(
    (devices) => Array.isArray(devices) && devices.every((device) => typeof device === 'string'),
  );

const commandOf = (value: string): string => `sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=${value}`;
