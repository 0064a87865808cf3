import { WeftError } from '#src/lib/errors.ts';

/** No endpoint gave a usable answer. Worth trying again, after a pause. */
export class RegistryError extends WeftError {
  /** What kind of failure, for the text that a user reads and for what to do next. */
  readonly reason: 'unreachable' | 'timeout' | 'unauthenticated' | 'denied' | 'tls' | 'refused' | 'protocol';

  constructor(
    reason: RegistryError['reason'],
    message: string,
    options: { remedy?: string; cause?: unknown } = {},
  ) {
    super('registry', message, options);
    this.name = 'RegistryError';
    this.reason = reason;
  }
}

/** The events asked for are no longer kept: v3 compaction, v2's error 401. List again. */
export class CompactedError extends WeftError {
  constructor(message: string) {
    super('compacted', message);
    this.name = 'CompactedError';
  }
}
