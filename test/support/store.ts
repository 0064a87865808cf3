import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '#src/lib/log.ts';
import { type StoreServer, type StoreServerOptions, startStoreServer } from '#src/store/store-server.ts';
import { systemClock } from '#src/sys/clock.ts';

/** An embedded store in this process, on an unused port of 127.0.0.1, with a file of its own. */
export class TestStore {
  readonly folder: string;
  readonly data: string;
  readonly #options: Partial<StoreServerOptions>;
  #server: StoreServer | undefined;

  private constructor(folder: string, options: Partial<StoreServerOptions>) {
    this.folder = folder;
    this.data = join(folder, 'store.db');
    this.#options = options;
  }

  static async start(options: Partial<StoreServerOptions> = {}): Promise<TestStore> {
    const store = new TestStore(await mkdtemp(join(tmpdir(), 'weft-store-')), options);
    await store.open();
    return store;
  }

  get url(): string {
    return this.#server?.url ?? '';
  }

  async open(): Promise<void> {
    const fatal = (error: unknown): void => {
      throw error;
    };
    this.#server = await startStoreServer(
      { clock: systemClock, log: silentLogger, fatal },
      { data: this.data, host: '127.0.0.1', port: 0, ...this.#options },
    );
  }

  /** Closes the store as SIGTERM does; the file stays. */
  async close(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async remove(): Promise<void> {
    await this.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}
