import type { CommandJob, ShellCommand } from '#src/backend/job.ts';
import type { Logger } from '#src/lib/log.ts';
import type { JobHandler } from '#src/node/jobs/job-handler.ts';
import { lastLine } from '#src/node/jobs/last-line.ts';
import type { RunShell, ShellResult } from '#src/sys/shell.ts';

/** After this a command is killed. flannel waits for ever, and for nothing else meanwhile. */
export const COMMAND_MS = 30_000;

/** Runs the commands of an operator: one when a job comes or changes, one when it goes. */
export function commandJobs(run: RunShell, log: Logger): JobHandler<CommandJob> {
  return {
    async start({ key, start }, { signal }) {
      if (start !== undefined) log.verbose(1, ranText(key, await runCommand(run, start, signal)));
    },
    async stop({ key, stop }, signal) {
      if (stop !== undefined) log.verbose(1, ranText(key, await runCommand(run, stop, signal)));
    },
    format: ({ start }) => (start === undefined ? '' : formatCommand(start)),
  };
}

/** Runs one command. Resolves with what it printed; rejects when its exit code is not 0. */
export async function runCommand(
  run: RunShell,
  { name, text, variables, stdin }: ShellCommand,
  signal: AbortSignal,
): Promise<ShellResult> {
  const result = await run({ text, variables, stdin, timeoutMs: COMMAND_MS, signal });
  if (result.code === 0) return result;
  throw new Error(`${name} failed: ${failureOf(result)}`);
}

function failureOf({ code, output }: ShellResult): string {
  const said = lastLine(output);
  const how = code === 124 ? `it did not end within ${COMMAND_MS / 1000} s` : `exit code ${code}`;
  return said === '' ? how : `${how}: ${said}`;
}

const ranText = (key: string, { output }: ShellResult): string =>
  output === '' ? `Ran ${key}` : `Ran ${key}: ${lastLine(output)}`;

/** As it could be typed in a shell: `SUBNET=10.5.3.0/24 sh -c '…'`. */
export function formatCommand({ text, variables }: ShellCommand): string {
  const words = Object.entries(variables).map(([name, value]) => `${name}=${quoted(value)}`);
  return [...words, `sh -c ${quoted(text)}`].join(' ');
}

const quoted = (text: string): string =>
  /^[\w./:,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
