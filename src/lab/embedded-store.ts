import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { Store, StoreMember } from '#src/lab/store.ts';

const PROGRAM = 'store';
const PORT = 2379;
const DATA = '/var/lib/weft-store';
/** On a machine that does much else; alone it takes a fraction of a second. */
const START_MS = 30_000;

/** `weft store serve` on one host. Keys are written by weft as well: no etcdctl is needed. */
export class EmbeddedStore extends Store {
  readonly #host: Host;
  /** The command that runs `weft store`. */
  readonly #command: readonly string[];

  private constructor(host: Host, command: readonly string[]) {
    const listen = `${host.address}:${PORT}`;
    const argv = [...command, 'serve', `--data=${DATA}/store.db`, `--listen=${listen}`];
    const options = { program: PROGRAM, argv, endpoint: `http://${listen}`, data: DATA };
    super([new StoreMember(host, options)], undefined);
    this.#host = host;
    this.#command = command;
  }

  /** Starts it, with the command that runs weft, and waits until it serves. */
  static async start(host: Host, weft: readonly string[]): Promise<EmbeddedStore> {
    const store = new EmbeddedStore(host, [...weft, 'store']);
    for (const member of store.members) await member.start();
    await store.ready();
    return store;
  }

  /** The one that an earlier process of the lab started; `undefined` when there is none. */
  static async find(lab: Lab): Promise<EmbeddedStore | undefined> {
    for (const host of lab.stores) {
      const argv = (await host.daemon(PROGRAM))?.record.argv;
      if (argv !== undefined) return new EmbeddedStore(host, argv.slice(0, argv.indexOf('serve')));
    }
    return undefined;
  }

  /** It listens once its data is open. */
  override async ready(): Promise<void> {
    for (const member of this.members) await member.listening(START_MS);
  }

  override async put(key: string, value: string): Promise<void> {
    await this.#must(['put', `--store=${this.endpoints.join()}`, key], value);
  }

  override async compact(): Promise<void> {
    await this.#must(['compact', `--store=${this.endpoints.join()}`]);
  }

  async #must(words: readonly string[], stdin = ''): Promise<void> {
    await this.#host.must([...this.#command, ...words], { stdin });
  }
}
