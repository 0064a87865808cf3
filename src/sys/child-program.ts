import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { delimiter, join } from 'node:path';
import { SEARCH_PATH } from '#src/sys/command.ts';
import { type ProcessId, systemProcesses } from '#src/sys/process.ts';

export interface ProgramRequest {
  /** The program's file, and its arguments. */
  readonly argv: readonly [string, ...string[]];
  /** Added to this process's own environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Each line that it prints, to either output; at most {@link LONGEST_LINE} characters of it. */
  readonly onLine: (line: string) => void;
  /** It goes on when this process ends, which does not wait for it. */
  readonly outlives?: boolean;
}

/** A program that was started by this process, and is to end with it. */
export interface ChildProgram {
  readonly id: ProcessId;
  /** Resolves with what it ended with, in words: `exit code 1`, `signal SIGKILL`. */
  readonly ended: Promise<string>;
  /** SIGTERM, and SIGKILL when that has not ended it within `graceMs`. Resolves when it has ended. */
  stop(graceMs: number): Promise<void>;
}

export interface ChildPrograms {
  /** The first of these that can be run; a name without a slash is looked up in PATH. */
  find(programs: readonly string[]): string | undefined;
  /** Rejects with node's error when it can't be started. */
  start(request: ProgramRequest): Promise<ChildProgram>;
  /** Ends one that an earlier run of this program started and left, as {@link ChildProgram.stop} does; nothing if it has ended. */
  endLeftover(id: ProcessId, graceMs: number): Promise<void>;
  /** Whether something takes connections on a unix socket. */
  answers(socket: string): Promise<boolean>;
  /** Connects to a unix socket, and resolves when the other end closes that connection, or takes none. Keeps no process. */
  hangsUp(socket: string): Promise<void>;
}

export const LONGEST_LINE = 1_000;

const processes = systemProcesses();

export const systemPrograms: ChildPrograms = {
  find(programs) {
    const folders = [process.env.PATH, SEARCH_PATH].filter(Boolean).join(delimiter).split(delimiter);
    return programs
      .flatMap((program) =>
        program.includes('/') ? program : folders.map((folder) => join(folder, program)),
      )
      .find(isExecutable);
  },

  start({ argv, env, onLine, outlives = false }) {
    const child = spawn(argv[0], argv.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      detached: outlives,
    });
    if (outlives) {
      child.unref();
      for (const output of [child.stdout, child.stderr]) (output as Socket).unref();
    }
    // Loaded here: the backends without programs do without it.
    const { createInterface } = process.getBuiltinModule('node:readline');
    for (const input of [child.stdout, child.stderr])
      createInterface({ input }).on('line', (line) => onLine(line.slice(0, LONGEST_LINE)));
    const ended = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) =>
        resolve(signal === null ? `exit code ${code}` : `signal ${signal}`),
      );
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('spawn', () =>
        resolve({
          id: processes.find(child.pid ?? 0) ?? { pid: child.pid ?? 0, startTime: '' },
          ended,
          async stop(graceMs) {
            child.kill('SIGTERM');
            const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
            await ended;
            clearTimeout(timer);
          },
        }),
      );
    });
  },

  async endLeftover(id, graceMs) {
    if (!processes.signal(id, 'SIGTERM')) return;
    const late = AbortSignal.timeout(graceMs);
    await processes.wait(id, late).catch(() => {
      processes.signal(id, 'SIGKILL');
      return processes.wait(id);
    });
  },

  answers(path) {
    return new Promise((resolve) => {
      const socket = connect(path);
      const settle = (isThere: boolean): void => {
        socket.destroy();
        resolve(isThere);
      };
      socket.once('connect', () => settle(true));
      socket.once('error', () => settle(false));
    });
  },

  hangsUp(path) {
    return new Promise((resolve) => {
      const socket = connect(path);
      socket.unref();
      socket.on('error', () => {});
      socket.resume();
      socket.once('close', () => resolve());
    });
  },
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
