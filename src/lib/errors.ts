/**
 * An error that a user may read. It says what could not be done, to what and why, and names the command or setting that
 * mends it, if there is one. Expected outcomes (a lost race, a missing key) are return values, not errors.
 */
export interface WeftErrorOptions {
  /** The exit code a supervisor sees when this error ends the process. Default 1. */
  readonly exitCode?: number;
  /** What the user can do: a command or a setting, without a full stop. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

export class WeftError extends Error {
  /** Stable, searchable: listed in docs/reference/errors.md. */
  readonly code: string;
  readonly exitCode: number;
  readonly remedy: string | undefined;

  constructor(code: string, message: string, options: WeftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WeftError';
    this.code = code;
    this.exitCode = options.exitCode ?? 1;
    this.remedy = options.remedy;
  }
}

/** The one line a user sees for any thrown value. */
export function messageOf(error: unknown): string {
  if (error instanceof WeftError && error.remedy !== undefined) return `${error.message}; ${error.remedy}`;
  return error instanceof Error ? error.message : String(error);
}

/** Whether the error is the reason of an abort signal and not a failure. */
export function isAbort(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.name === 'AbortError' || (error as { code?: unknown }).code === 'ABORT_ERR')
  );
}
