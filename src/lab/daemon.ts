import type { LabComponents } from '#src/lab/components.ts';
import type { ProcessId } from '#src/sys/process.ts';
import { startTimer } from '#src/sys/timer.ts';
import { until } from '#src/sys/until.ts';

export interface DaemonRecord {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly id: ProcessId;
}

/** One long-running program of a host, found again by another process of the lab through its record. */
export class Daemon {
  readonly name: string;
  /** Its standard output and standard error, since its first start. */
  readonly logPath: string;
  readonly record: DaemonRecord;
  readonly #components: LabComponents;
  readonly #signal: AbortSignal | undefined;

  constructor(
    components: LabComponents,
    options: { name: string; logPath: string; record: DaemonRecord; signal: AbortSignal | undefined },
  ) {
    this.#components = components;
    this.#signal = options.signal;
    this.name = options.name;
    this.logPath = options.logPath;
    this.record = options.record;
  }

  get pid(): number {
    return this.record.id.pid;
  }

  isAlive(): boolean {
    return this.#components.processes.isAlive(this.record.id);
  }

  /** False when it has ended. */
  kill(name: NodeJS.Signals): boolean {
    return this.#components.processes.signal(this.record.id, name);
  }

  /** Waits for its end: the exit code, 128 + n after signal n; `undefined` when another process started it. */
  exited(): Promise<number | undefined> {
    return this.#components.processes.wait(this.record.id, this.#signal);
  }

  /** SIGTERM, then SIGKILL after `graceMs` (default 10,000). The exit code. */
  async stop(graceMs = 10_000): Promise<number | undefined> {
    this.kill('SIGCONT');
    this.kill('SIGTERM');
    const timer = startTimer(this.#components.clock, graceMs, () => this.kill('SIGKILL'));
    try {
      return await this.#components.processes.wait(this.record.id);
    } finally {
      timer.stop();
    }
  }

  async log(): Promise<string> {
    return (await this.#components.files.read(this.logPath)) ?? '';
  }

  /**
   * Waits for a match in its log, at or behind the letter `from`: an earlier start wrote into the same log. When the
   * program ends without one, the error carries the log's last line.
   */
  async waitForLog(pattern: RegExp, timeoutMs = 30_000, from = 0): Promise<RegExpMatchArray> {
    const what = `${pattern} in the log of ${this.name}`;
    return until(
      async () => {
        const alive = this.isAlive();
        const log = (await this.log()).slice(from);
        const match = log.match(pattern);
        if (match !== null) return match;
        if (alive) return undefined;
        throw new Error(`${this.name} ended without ${pattern}: ${log.trim().split('\n').at(-1)}`);
      },
      { what, timeoutMs, signal: this.#signal },
    );
  }
}
