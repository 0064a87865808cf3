import { createInterface } from 'node:readline/promises';

/** Where a command writes, and what it may assume of it. */
export interface Output {
  /** Results: one line. */
  print(line: string): void;
  /** Progress: overwritten in place on a terminal, else one line each. */
  progress(line: string): void;
  /** Ends the progress, so that results begin on a line of their own. */
  progressEnds(): void;
  /** One line of trouble. */
  complain(line: string): void;
}

const CLEAR_LINE = '\r\x1b[K';

/** Writes results to standard output, progress and trouble to standard error. */
export function terminalOutput(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Output {
  const live = stderr.isTTY === true;
  let open = false;
  const progressEnds = () => {
    if (open) stderr.write(CLEAR_LINE);
    open = false;
  };
  return {
    progressEnds,
    print(line) {
      progressEnds();
      stdout.write(`${line}\n`);
    },
    progress(line) {
      stderr.write(live ? `${CLEAR_LINE}${line.slice(0, (stderr.columns ?? 80) - 1)}` : `${line}\n`);
      open = live;
    },
    complain(line) {
      progressEnds();
      stderr.write(`${line}\n`);
    },
  };
}

/** Asks a question on a terminal; only `y` and `yes` are a yes. */
export const askOn =
  (stdin: NodeJS.ReadStream, stderr: NodeJS.WriteStream, signal: AbortSignal) =>
  async (question: string): Promise<boolean> => {
    const terminal = createInterface({ input: stdin, output: stderr });
    try {
      return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `, { signal })).trim());
    } finally {
      terminal.close();
    }
  };
