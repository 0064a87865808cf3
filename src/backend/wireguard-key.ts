import { Secret } from '#src/lib/secret.ts';

/** A node's own pair of keys (Curve25519). The node reads it before a backend is prepared. */
export interface WireguardKey {
  readonly privateKey: Secret;
  /** base64, as a lease has it. */
  readonly publicKey: string;
}

const KEY_BYTES = 32;

/** 32 bytes in base64, as Go's decoder reads them: line ends anywhere, padding in any case. */
export function decodeKey(text: string): Uint8Array | undefined {
  const plain = text.replaceAll(/[\r\n]/g, '');
  return /^[A-Za-z0-9+/]{43}=$/.test(plain) ? new Uint8Array(Buffer.from(plain, 'base64')) : undefined;
}

/** A public key in the one form in which keys are compared; `undefined` for what is none. */
export function parsePublicKey(text: string): string | undefined {
  const bytes = decodeKey(text);
  // The zero point is nobody's key: each handshake with it fails.
  if (bytes === undefined || bytes.every((byte) => byte === 0)) return undefined;
  return encodeKey(bytes);
}

/** As `wg` prints a key. */
export const encodeKey = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** A key that is nobody else's to see; `undefined` for what is none. */
export function parseSecretKey(text: string): Secret | undefined {
  const bytes = decodeKey(text);
  if (bytes === undefined) return undefined;
  const secret = Secret.copyOf(bytes);
  bytes.fill(0);
  return secret;
}

/** Writes a secret key as its file has it. The caller overwrites the bytes when they are written. */
export function encodeSecretKey(secret: Secret): Buffer {
  const bytes = Buffer.alloc(KEY_BYTES);
  secret.copyTo(bytes);
  const text = Buffer.from(bytes.toString('base64'));
  bytes.fill(0);
  return text;
}
