import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

/** RFC 1952. */
export const compress: (bytes: Uint8Array) => Promise<Uint8Array> = promisify<Uint8Array, Uint8Array>(gzip);
