import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from '#src/sys/until.ts';
import { unusedPort } from './unused-port.ts';

const run = promisify(execFile);
/** A write waits for a disk that others keep busy, too. */
const PATIENT = ['--command-timeout=20s', '--dial-timeout=20s'];

export interface EtcdServerOptions {
  /** Further arguments, for example for TLS. */
  readonly args?: readonly string[];
  readonly scheme?: 'http' | 'https';
  /** How etcdctl has to be called to be let in. */
  readonly ctlArgs?: readonly string[];
}

/** A real etcd of one member with both APIs, on unused ports of 127.0.0.1, in a folder of its own. */
export class EtcdServer {
  readonly url: string;
  readonly #folder: string;
  readonly #peerPort: number;
  readonly #options: EtcdServerOptions;
  #process: ChildProcess | undefined;

  private constructor(folder: string, port: number, peerPort: number, options: EtcdServerOptions) {
    this.#folder = folder;
    this.#peerPort = peerPort;
    this.#options = options;
    this.url = `${options.scheme ?? 'http'}://127.0.0.1:${port}`;
  }

  static async start(options: EtcdServerOptions = {}): Promise<EtcdServer> {
    const folder = await mkdtemp(join(tmpdir(), 'weft-etcd-'));
    const server = new EtcdServer(folder, await unusedPort(), await unusedPort(), options);
    try {
      await server.launch();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Starts the process, with the data that is there, and waits until it answers. */
  async launch(): Promise<void> {
    const peer = `http://127.0.0.1:${this.#peerPort}`;
    const child = spawn(
      'etcd',
      [
        ...['--name=one', `--data-dir=${join(this.#folder, 'data')}`, '--enable-v2', '--log-level=error'],
        ...[`--listen-client-urls=${this.url}`, `--advertise-client-urls=${this.url}`],
        ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
        ...[`--initial-cluster=one=${peer}`, ...(this.#options.args ?? [])],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#process = child;
    let log = '';
    child.stderr?.on('data', (chunk) => {
      log += chunk;
    });
    let health = '';
    const isUp = async (): Promise<boolean> => {
      if (child.exitCode !== null) throw new Error(`etcd ended at once: ${log}`);
      try {
        await this.ctl('--command-timeout=2s', '--dial-timeout=2s', 'endpoint', 'health');
        return true;
      } catch (error) {
        health = (error as Error).message;
        return /authentication|permission|user name/.test(health);
      }
    };
    try {
      await until(isUp, { what: 'healthy etcd', timeoutMs: 40_000, intervalMs: 50 });
    } catch (error) {
      throw new Error(`etcd did not come up: ${health} ${log}`, { cause: error });
    }
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** SIGSTOP: the kernel still takes connections, and no answer comes. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  async forgetEverything(): Promise<void> {
    await rm(join(this.#folder, 'data'), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** etcdctl over v3. Of a flag that is given twice the later one counts. */
  async ctl(...args: readonly string[]): Promise<string> {
    return this.#etcdctl('3', [`--endpoints=${this.url}`, ...PATIENT], args);
  }

  /** etcdctl over v2. */
  async ctl2(...args: readonly string[]): Promise<string> {
    return this.#etcdctl('2', [`--endpoints=${this.url}`], args);
  }

  /** Writes 1,100 keys elsewhere: v2 keeps the last 1,000 events of all keys. */
  async outrunHistory(): Promise<void> {
    for (let written = 0; written < 1_100; written += 50) {
      await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          const body = new URLSearchParams({ value: '' });
          const response = await fetch(`${this.url}/v2/keys/elsewhere/${written + i}`, {
            method: 'PUT',
            body,
          });
          await response.text();
        }),
      );
    }
  }

  /** A command line as a user would paste it. */
  async shell(command: string): Promise<void> {
    await run('sh', ['-c', command]);
  }

  async #etcdctl(api: string, options: readonly string[], args: readonly string[]): Promise<string> {
    const { stdout } = await run('etcdctl', [...options, ...(this.#options.ctlArgs ?? []), ...args], {
      env: { PATH: process.env.PATH, ETCDCTL_API: api },
    });
    return stdout;
  }
}
