import type { ShellCommand } from '#src/backend/job.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { runCommand } from '#src/node/jobs/command-jobs.ts';
import type { RunShell } from '#src/sys/shell.ts';

/** A lease is read up to 4,096 characters, and has other fields. */
const LONGEST_DATA = 3_000;
/** No abort: a start waits for the command, and its time is limited. */
const NEVER = new AbortController().signal;

/**
 * Runs the command whose output a lease publishes, once in a network's life: a network is drafted again whenever its config or
 * its underlay changes.
 */
export class Preparation {
  readonly #shell: RunShell;
  readonly #log: Logger;
  readonly #outputs = new Map<string, string>();

  constructor({ shell, log }: { readonly shell: RunShell; readonly log: Logger }) {
    this.#shell = shell;
    this.#log = log;
  }

  /** `undefined` where there is no command. Throws WeftError `backend-job` when it fails. */
  async outputOf(command: ShellCommand | undefined): Promise<string | undefined> {
    if (command === undefined) return undefined;
    const known = this.#outputs.get(command.text);
    if (known !== undefined) return known;
    try {
      const { output, isCut } = await runCommand(this.#shell, command, NEVER);
      if (isCut || JSON.stringify(output).length > LONGEST_DATA)
        throw new Error(
          `${command.name} printed more than the ${LONGEST_DATA} characters that a lease can hold`,
        );
      this.#outputs.set(command.text, output);
      this.#log.info(`Ran ${command.name}: ${output.length} characters of output for the lease`);
      return output;
    } catch (error) {
      throw new WeftError('backend-job', messageOf(error), {
        remedy: `its text is Backend.${command.name} of the network config`,
      });
    }
  }
}
