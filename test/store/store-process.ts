import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('serve.ts', import.meta.url));

export interface StoreProcessOptions {
  /** Where the data is; a new folder when absent. */
  readonly folder?: string;
  /** A free one when absent. */
  readonly port?: number;
  readonly environment?: Readonly<Record<string, string>>;
}

interface Started {
  readonly child: ChildProcess;
  /** Resolves when it has ended, and all that it wrote has been read. */
  readonly closed: Promise<unknown>;
  /** What it writes on standard error. */
  readonly errors: readonly string[];
}

/** The store alone in a process of its own, so that a test may kill it, and measure it without itself. */
export class StoreProcess {
  readonly url: string;
  readonly folder: string;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #ownsFolder: boolean;
  readonly #errors: readonly string[];

  private constructor({ child, closed, errors }: Started, url: string, folder: string, ownsFolder: boolean) {
    this.#child = child;
    this.#closed = closed;
    this.#errors = errors;
    this.url = url;
    this.folder = folder;
    this.#ownsFolder = ownsFolder;
  }

  static async start({
    folder,
    port = 0,
    environment = {},
  }: StoreProcessOptions = {}): Promise<StoreProcess> {
    const home = folder ?? (await mkdtemp(join(tmpdir(), 'weft-store-process-')));
    const child = spawn(process.execPath, [PROGRAM, join(home, 'store.db'), String(port)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    const errors: string[] = [];
    child.stderr.on('data', (chunk) => errors.push(String(chunk)));
    const closed = once(child, 'close');
    const ended = closed.then(([code]) => {
      throw new Error(`the store ended with ${code}: ${errors.join('')}`);
    });
    ended.catch(() => {});
    const [url] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
    return new StoreProcess({ child, closed, errors }, String(url).trim(), home, folder === undefined);
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it wrote on standard error so far. */
  get errors(): string {
    return this.#errors.join('');
  }

  /** Waits for its end, and returns all that it wrote on standard error. */
  async end(): Promise<string> {
    await this.#closed;
    return this.errors;
  }

  /** Resident memory, MB. */
  async memory(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  }

  /** Processor time used, milliseconds. */
  async processor(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  async kill(): Promise<void> {
    if (!this.running) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  async remove(): Promise<void> {
    await this.kill();
    if (this.#ownsFolder) await rm(this.folder, { recursive: true, force: true });
  }
}
