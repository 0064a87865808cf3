import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Api } from './lease-writer.ts';

/** A flanneld to be measured. */
export interface Program {
  readonly name: 'weft' | 'flannel';
  readonly path: string;
  readonly version: string;
  readonly apis: readonly Api[];
  /** More flags than all are started with. */
  readonly flags?: readonly string[];
}

export const inRepository = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

/**
 * One run of a flanneld on a host, with its times and its use of the machine. Times are
 * performance.now().
 */
export class Run {
  readonly startedAt: number;
  /** When it said that it runs. */
  readonly ready: Promise<number>;
  readonly #child: ChildProcess;
  #log = '';

  constructor([program, ...words]: readonly [string, ...string[]]) {
    this.startedAt = performance.now();
    this.#child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.ready = promise;
    promise.catch(() => {});
    this.#child.once('error', reject);
    this.#child.once('exit', (code) =>
      reject(new Error(`${words.join(' ')} ended with ${code}:\n${this.#log}`)),
    );
    this.#child.stderr?.on('data', (chunk) => {
      const now = performance.now();
      this.#log += chunk;
      // Every version of flannel logs these words; it notifies systemd right after.
      if (this.#log.includes('Running backend')) resolve(now);
    });
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('it did not start');
    return pid;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** MB, the most so far (VmHWM) and now (VmRSS). */
  memory(): { readonly peak: number; readonly now: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    const megabytes = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
    return { peak: megabytes('VmHWM'), now: megabytes('VmRSS') };
  }

  /** Seconds of processor since its start, user and system. */
  cpu(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  openFiles(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Routes of its namespace's main and local tables. */
  routes(): number {
    return routesIn(this.pid);
  }

  async stop(): Promise<void> {
    if (!this.isAlive) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(timer);
  }
}

/** sysconf(_SC_CLK_TCK): 100 on every Linux. */
const TICKS_PER_SECOND = 100;
/** flannel v0.9.1 now and then does not hear a SIGTERM that comes soon after its start. */
const STOP_MS = 5_000;
const TABLE = '/proc/self/net/fib_triestat';

/** Counted by the kernel, in a millisecond for 50,000: a look that hardly disturbs what it looks at. */
export function routesIn(pid: number): number {
  if (!existsSync(TABLE)) throw new Error(`no ${TABLE}: the kernel needs CONFIG_IP_FIB_TRIE_STATS`);
  const text = readFileSync(`/proc/${pid}/net/fib_triestat`, 'utf8');
  return Number(/Prefixes:\s+(\d+)/.exec(text)?.[1] ?? 0);
}
