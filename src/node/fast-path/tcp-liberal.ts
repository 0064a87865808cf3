import { isAbort } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Files } from '#src/sys/files.ts';

/** The setting that `fast-path-objects.ts` wants: conntrack then takes TCP packets whose predecessors it did not see. */
const SETTING = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';

/** What is written down, so that the value is put back by another run, too. */
interface Note {
  /** The networks that need the setting, by their prefixes. */
  readonly users: readonly string[];
  /** As it was before the first of them; `null` where the kernel has no such setting. */
  readonly value: string | null;
}

/** nf_conntrack_tcp_be_liberal while somebody needs it, and as it was when nobody does any more. One for each host. */
export class TcpLiberal {
  readonly #files: Pick<Files, 'read' | 'write' | 'writeAtomically' | 'remove'>;
  readonly #path: string;
  readonly #order = new InOrder();

  /** `path`: where the value of before is written down. */
  constructor(files: Pick<Files, 'read' | 'write' | 'writeAtomically' | 'remove'>, path: string) {
    this.#files = files;
    this.#path = path;
  }

  /** Whether TCP may go past conntrack. A kernel without the setting has no conntrack that could mind. */
  async isSet(): Promise<boolean> {
    return (await this.#value()) !== '0';
  }

  /** Writes down what is there, before it is changed. Without a note nothing is put back. */
  use(user: string): Promise<void> {
    return this.#order.run(async () => {
      const note = await this.#note();
      if (note?.users.includes(user)) return;
      const value = note === undefined ? ((await this.#value()) ?? null) : note.value;
      await this.#write({ users: [...(note?.users ?? []), user], value });
    });
  }

  /** Whether an earlier run has used it for this network. */
  async isUser(user: string): Promise<boolean> {
    return (await this.#note())?.users.includes(user) === true;
  }

  /** Puts the value back if this was the last network to need it, with `all` in any case. Returns what was done, in words. */
  leave(user: string | 'all'): Promise<string | undefined> {
    return this.#order.run(async () => {
      const note = await this.#note();
      if (note === undefined || (user !== 'all' && !note.users.includes(user))) return undefined;
      const users = user === 'all' ? [] : note.users.filter((other) => other !== user);
      if (users.length > 0) {
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
      return Array.isArray(users) && (value === null || value === '0' || value === '1')
        ? { users: users.filter((user) => typeof user === 'string'), value }
        : undefined;
    } catch {
      return undefined;
    }
  }

  #write(note: Note): Promise<void> {
    return this.#files.writeAtomically(this.#path, `${JSON.stringify(note)}\n`, 0o600);
  }
}

const commandOf = (value: string): string => `sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=${value}`;
