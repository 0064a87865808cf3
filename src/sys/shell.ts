import { spawn } from 'node:child_process';
import { SEARCH_PATH } from '#src/sys/command.ts';

export interface ShellRequest {
  /** For `sh -c`. */
  readonly text: string;
  /** Added to this process's own environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** Written to its standard input, which is then closed. */
  readonly stdin: string;
  /** After so many milliseconds it is killed, with all that it started (SIGKILL to its process group). */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface ShellResult {
  /** As a shell reports it: 128 + n after signal n; 124 after the time-out, 126 when there is no `sh`. */
  readonly code: number;
  /** Standard output and standard error as they came, trimmed; the last {@link MOST_OUTPUT_BYTES} of it. */
  readonly output: string;
  /** Whether there was more. */
  readonly isCut: boolean;
}

/** Runs a command of the operator's to its end. A failing command is a result; only the signal rejects. */
export type RunShell = (request: ShellRequest) => Promise<ShellResult>;

export const MOST_OUTPUT_BYTES = 64 << 10;
/** A program that a command left in the background may hold its output open. */
const AFTER_EXIT_MS = 100;

/** `sh -c TEXT 2>&1` in a process group of its own. */
export const systemShell: RunShell = ({ text, variables, stdin, timeoutMs, signal }) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const child = spawn('sh', ['-c', 'exec sh -c "$1" 2>&1', 'sh', text], {
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {
        ...process.env,
        ...variables,
        PATH: [process.env.PATH, SEARCH_PATH].filter(Boolean).join(':'),
      },
    });
    const output = new Tail(MOST_OUTPUT_BYTES);
    let isLate = false;
    let afterExit: NodeJS.Timeout | undefined;
    const kill = (): void => {
      try {
        // The group's number is that of its first process, which is collected below and not before.
        if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
          process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    const timer = setTimeout(() => {
      isLate = true;
      kill();
    }, timeoutMs);
    signal?.addEventListener('abort', kill, { once: true });
    const settle = (code: number, error?: Error): void => {
      clearTimeout(timer);
      clearTimeout(afterExit);
      signal?.removeEventListener('abort', kill);
      child.stdout.destroy();
      if (signal?.aborted) reject(signal.reason);
      else resolve({ code, output: error?.message ?? output.text, isCut: output.isCut });
    };
    child.stdout.on('data', (chunk: Buffer) => output.add(chunk));
    // A command that ends without reading its input breaks the pipe; its exit code says why.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin);
    child.once('error', (error) => settle(126, error));
    child.once('exit', (code, killedBy) => {
      const status = isLate ? 124 : (code ?? (killedBy === 'SIGTERM' ? 143 : 137));
      child.stdout.once('close', () => settle(status));
      afterExit = setTimeout(() => settle(status), AFTER_EXIT_MS);
    });
  });

/** The last bytes of a stream. */
class Tail {
  readonly #most: number;
  #chunks: Buffer[] = [];
  #size = 0;
  isCut = false;

  constructor(most: number) {
    this.#most = most;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < 2 * this.#most) return;
    this.#chunks = [Buffer.concat(this.#chunks).subarray(-this.#most)];
    this.#size = this.#most;
    this.isCut = true;
  }

  get text(): string {
    if (this.#size > this.#most) this.isCut = true;
    return Buffer.concat(this.#chunks).subarray(-this.#most).toString().trim();
  }
}
