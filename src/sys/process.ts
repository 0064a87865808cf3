import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WeftError } from '#src/lib/errors.ts';
import { makeFolder } from '#src/sys/make-folder.ts';

/** A process, distinguished from a later one with the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot at its start (proc(5), `/proc/PID/stat`, field 22). */
  readonly startTime: string;
}

export interface StartOptions {
  /** Standard output and standard error are appended here. The folder is made if it is missing. */
  readonly logPath: string;
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Long-running children: they outlive this process unless they are stopped, and are found again by their id. */
export interface Processes {
  /** Starts `argv` in a session of its own. Throws `no-such-program` when it can't be started. */
  start(argv: readonly string[], options: StartOptions): Promise<ProcessId>;
  /** False once it has ended, a zombie included. */
  isAlive(id: ProcessId): boolean;
  /** The id of a process that runs now. */
  find(pid: number): ProcessId | undefined;
  /** The processes in any of the network, mount or UTS namespaces that these files stand for; no zombies. */
  inNamespaces(files: readonly string[]): ProcessId[];
  /** False when the process has ended. */
  signal(id: ProcessId, name: NodeJS.Signals): boolean;
  /**
   * Resolves when it has ended: its exit code as a shell reports it (128 + n after signal n), or
   * `undefined` when another process started it. Rejects with the signal's reason.
   */
  wait(id: ProcessId, signal?: AbortSignal): Promise<number | undefined>;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
const POLL_MS = 10;

/** Processes of this machine; each value remembers the exit codes of the children that it started. */
export function systemProcesses(): Processes {
  const exitCodes = new Map<string, number>();
  const started = new Set<string>();
  const keyOf = (id: ProcessId) => `${id.pid}@${id.startTime}`;

  const isAlive = (id: ProcessId): boolean => {
    const stat = statOf(id.pid);
    return stat !== undefined && stat.startTime === id.startTime && stat.state !== 'Z';
  };

  const find = (pid: number): ProcessId | undefined => {
    const stat = statOf(pid);
    return stat === undefined || stat.state === 'Z' ? undefined : { pid, startTime: stat.startTime };
  };

  return {
    isAlive,
    find,
    inNamespaces(files) {
      const wanted = new Set(files.map(namespaceOf).filter((it) => it !== undefined));
      const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
      return pids
        .filter((pid) =>
          ['net', 'mnt', 'uts'].some((kind) => wanted.has(namespaceOf(`/proc/${pid}/ns/${kind}`) ?? '')),
        )
        .map((pid) => find(Number(pid)))
        .filter((id) => id !== undefined);
    },
    async start(argv, { logPath, env }) {
      await makeFolder(dirname(logPath));
      const log = await open(logPath, 'a');
      try {
        const child = spawn(argv[0] ?? '', argv.slice(1), {
          detached: true,
          stdio: ['ignore', log.fd, log.fd],
          env: { ...process.env, LC_ALL: 'C', ...env },
        });
        const pid = child.pid ?? 0;
        // Read before the loop can collect its exit: even one that has ended by now is still a zombie.
        const id = { pid, startTime: statOf(pid)?.startTime ?? '' };
        child.once('exit', (code, signal) =>
          exitCodes.set(keyOf(id), code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0)),
        );
        await new Promise<void>((resolve, reject) => {
          child.once('spawn', resolve);
          child.once('error', (cause) =>
            reject(new WeftError('no-such-program', `cannot start ${argv[0]}: ${cause.message}`, { cause })),
          );
        });
        started.add(keyOf(id));
        child.unref();
        return id;
      } finally {
        await log.close();
      }
    },
    signal(id, name) {
      if (!isAlive(id)) return false;
      try {
        return process.kill(id.pid, name);
      } catch {
        return false;
      }
    },
    async wait(id, signal) {
      const ours = started.has(keyOf(id));
      while (ours ? !exitCodes.has(keyOf(id)) : isAlive(id)) {
        await delay(POLL_MS, undefined, signal === undefined ? {} : { signal });
      }
      return exitCodes.get(keyOf(id));
    },
  };
}

/** A namespace is known by its inode (namespaces(7)); `undefined` for a file or process that is gone. */
function namespaceOf(file: string): string | undefined {
  try {
    const { dev, ino } = statSync(file);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function statOf(pid: number): { state: string; startTime: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The program's name stands in parentheses and may hold blanks; what follows the last one is field 3.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
}
