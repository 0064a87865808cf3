import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { deadlineIn } from '#src/sys/timer.ts';

export interface Question {
  /** Ends "could not": `get an address of network blue`. */
  readonly what: string;
  readonly ms: number;
  readonly signal: AbortSignal;
}

/**
 * Asks the registry something that Docker's user waits for. Throws WeftError `registry-silent` where there is no answer in
 * time: what runs goes on, and only new things need the registry.
 */
export async function askInTime<T>(
  { what, ms, signal }: Question,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = deadlineIn(ms, signal);
  try {
    return await ask(deadline);
  } catch (error) {
    signal.throwIfAborted();
    const isLate = deadline.aborted || isAbort(error);
    if (!isLate && !(error instanceof RegistryError)) throw error;
    const why = isLate ? `no answer from the registry in ${ms / 1_000} s` : messageOf(error);
    throw new WeftError('registry-silent', `could not ${what}: ${why}`, {
      remedy: 'what runs goes on; repeat the command when etcd answers again',
      cause: error,
    });
  }
}
