import { messageOf } from '#src/lib/errors.ts';

/** How a call ended (gRPC, statuscodes.md). */
export const status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type Status = (typeof status)[keyof typeof status];

export interface GrpcErrorOptions extends ErrorOptions {
  /** The server certainly did nothing for this call. */
  readonly unsent?: boolean;
}

/** A call that did not end well: what the server said, or what became of the connection. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  /** A code of {@link status}, or another number that the server sent. */
  readonly code: number;
  /** The server's own text, or ours. */
  readonly details: string;
  readonly unsent: boolean;

  constructor(code: number, details: string, { unsent = false, cause }: GrpcErrorOptions = {}) {
    super(details, { cause });
    this.code = code;
    this.details = details;
    this.unsent = unsent;
  }
}

/** A socket's failure with its code, such as ECONNRESET: the words of some have none. */
export function socketErrorText(error: unknown): string {
  const { code = '' } = error as { readonly code?: string };
  const text = messageOf(error);
  return text.includes(code) ? text : `${code} ${text}`;
}

/** `grpc-message` holds printable ASCII; everything else, and `%`, is percent-encoded byte by byte. */
export function encodeStatusMessage(text: string): string {
  return Array.from(Buffer.from(text), (byte) =>
    byte >= 0x20 && byte <= 0x7e && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('');
}

/** What is not well encoded stays as it came. */
export function decodeStatusMessage(text: string): string {
  if (!text.includes('%')) return text;
  const decoded = text.replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(decoded, 'latin1').toString();
}
