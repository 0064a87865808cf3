import { spawn } from 'node:child_process';
import { startSilenceTimer } from '#src/sys/timer.ts';

export interface CommandOptions {
  /** Written to the command's standard input, which is then closed. */
  readonly stdin?: string;
  /** The command is killed (SIGKILL) after this many milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Called with the process's number as soon as it has one. */
  readonly onStart?: (pid: number) => void;
}

export interface CommandResult {
  /**
   * The exit code; 127 when there is no such program, 126 when it can't be run, 125 when it could not be started for now (no
   * memory, too many processes or files), 124 after the time-out, 128 + n after signal n, as in a shell.
   */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The process that it was; `undefined` when there was none. */
  readonly pid?: number | undefined;
}

/** Whether a command did not come to its end, for a reason that may be over the next time. */
export const isCutOff = ({ code }: Pick<CommandResult, 'code'>): boolean =>
  code === TIMED_OUT || code === NOT_STARTED || (code > SIGNALLED && code <= SIGNALLED + LAST_SIGNAL);

const TIMED_OUT = 124;
const NOT_STARTED = 125;
/** And the signal's number. */
const SIGNALLED = 128;
/** signal(7). Programs end with 255 by themselves. */
const LAST_SIGNAL = 64;
/** Errors of fork(2) and pipe(2). */
const FOR_NOW: readonly (string | undefined)[] = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE'];

/** The one narrow door to other programs (`nft`, `iptables-restore`, …). No shell is involved. */
export interface CommandRunner {
  /** Runs `argv` to its end. A failing command is a result, not an exception; only the signal rejects. */
  run(argv: readonly [string, ...string[]], options?: CommandOptions): Promise<CommandResult>;
}

/** A runner for programs in another network namespace, by the file that stands for it. They share all other things with us. */
export const commandsIn = (commands: CommandRunner, namespace: string): CommandRunner => ({
  run: (argv, options) => commands.run(['nsenter', `--net=${namespace}`, '--', ...argv], options),
});

/**
 * A runner that asks each program for its `--version` once: to start a process costs this one some milliseconds. An answer that was
 * cut off is none.
 */
export function versionsOnce(commands: CommandRunner): CommandRunner {
  const answers = new Map<string, Promise<CommandResult>>();
  return {
    run(argv, options) {
      const [program, ...words] = argv;
      if (words.length !== 1 || words[0] !== '--version') return commands.run(argv, options);
      const answer = answers.get(program) ?? commands.run(argv, options);
      answers.set(program, answer);
      const forget = (): void => {
        if (answers.get(program) === answer) answers.delete(program);
      };
      answer.then((result) => isCutOff(result) && forget(), forget);
      return answer;
    },
  };
}

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_OUTPUT_BYTES = 64 << 20;
/** Firewall programs live in sbin, which a user's or a unit's PATH may lack. */
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const systemCommands: CommandRunner = {
  run(argv, { stdin, timeoutMs = DEFAULT_TIMEOUT_MS, signal, onStart } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const child = spawn(argv[0], argv.slice(1), {
        stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
        env: {
          ...process.env,
          LC_ALL: 'C',
          PATH: [process.env.PATH, SEARCH_PATH].filter(Boolean).join(':'),
        },
      });
      if (child.pid !== undefined) onStart?.(child.pid);
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      let size = 0;
      let timedOut = false;
      const collect = (into: Buffer[]) => (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_OUTPUT_BYTES) child.kill('SIGKILL');
        else into.push(chunk);
      };
      const isLate = (): void => {
        timedOut = true;
        child.kill('SIGKILL');
      };
      const timer = startSilenceTimer(timeoutMs, () => 0, isLate);
      const abort = () => child.kill('SIGKILL');
      signal?.addEventListener('abort', abort, { once: true });
      const settle = (finish: () => void) => {
        timer.stop();
        signal?.removeEventListener('abort', abort);
        finish();
      };
      child.stdout?.on('data', collect(stdout));
      child.stderr?.on('data', collect(stderr));
      // A command that ends without reading its input breaks the pipe; its exit code says why.
      child.stdin?.on('error', () => {});
      child.stdin?.end(stdin);
      child.on('error', (error: NodeJS.ErrnoException) =>
        settle(() => resolve({ code: codeOf(error), stdout: '', stderr: error.message })),
      );
      child.on('close', (code, killedBy) =>
        settle(() => {
          if (signal?.aborted) return reject(signal.reason);
          const status = timedOut ? TIMED_OUT : (code ?? SIGNALLED + signalNumber(killedBy));
          resolve({
            pid: child.pid,
            code: status,
            stdout: Buffer.concat(stdout).toString(),
            stderr: timedOut ? `timed out after ${timeoutMs} ms` : Buffer.concat(stderr).toString(),
          });
        }),
      );
    });
  },
};

const codeOf = ({ code }: NodeJS.ErrnoException): number =>
  code === 'ENOENT' ? 127 : FOR_NOW.includes(code) ? NOT_STARTED : 126;

const signalNumber = (name: NodeJS.Signals | null): number =>
  name === 'SIGTERM' ? 15 : name === 'SIGINT' ? 2 : 9;
