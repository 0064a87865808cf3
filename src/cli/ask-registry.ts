import { WeftError } from '#src/lib/errors.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { deadlineIn } from '#src/sys/timer.ts';

/** How long a command waits for the registry; the daemon would wait for ever. */
const PATIENCE_MS = 10_000;

export interface AskRegistryOptions {
  /** Ends the command. */
  readonly signal: AbortSignal;
  /** The beginning of the error, as `no network config`. */
  readonly failure: string;
  /** Default {@link PATIENCE_MS}. */
  readonly patienceMs?: number;
}

/**
 * Runs a command's work with the registry, for `patienceMs` at most. After that it throws WeftError
 * `registry`: `failure`, and the last warning that the work logged.
 */
export async function askRegistry<T>(
  { signal: given, failure, patienceMs = PATIENCE_MS }: AskRegistryOptions,
  use: (logger: Logger, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const signal = deadlineIn(patienceMs, given);
  let last = 'it did not answer';
  const remember = (message: string): void => {
    last = message;
  };
  try {
    return await use({ ...silentLogger, warning: remember }, signal);
  } catch (error) {
    if (given.aborted || !signal.aborted) throw error;
    throw new WeftError('registry', `${failure} after ${patienceMs / 1000} s: ${last}`, { cause: error });
  }
}
