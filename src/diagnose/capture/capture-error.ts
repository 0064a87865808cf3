import { WeftError } from '#src/lib/errors.ts';

/** A file that can't be read as a capture, or no further. */
export const captureFileError = (why: string, remedy?: string): WeftError =>
  new WeftError('capture-file', why, remedy === undefined ? {} : { remedy });
