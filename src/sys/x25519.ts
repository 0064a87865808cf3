/** Loaded when a key is needed: a start without one does without its 1 MB. */
const crypto = () => process.getBuiltinModule('node:crypto');

/** PKCS #8 of an X25519 private key, before its 32 bytes (RFC 8410 §7). */
const PKCS8 = Uint8Array.from(Buffer.from('302e020100300506032b656e04220420', 'hex'));
const KEY_BYTES = 32;

/** 32 bytes that nobody can guess, clamped as RFC 7748 §5 has it and `wg genkey` prints them. */
export function newX25519Key(): Uint8Array {
  const der = crypto().generateKeyPairSync('x25519').privateKey.export({ format: 'der', type: 'pkcs8' });
  const key = Uint8Array.from(der.subarray(-KEY_BYTES));
  der.fill(0);
  key[0] = (key[0] ?? 0) & 0xf8;
  key[31] = ((key[31] ?? 0) & 0x7f) | 0x40;
  return key;
}

/** The public key of a private one of 32 bytes. Equals `wg pubkey`. */
export function x25519PublicKey(privateKey: Uint8Array): Uint8Array {
  const { createPrivateKey, createPublicKey } = crypto();
  const der = Buffer.concat([PKCS8, privateKey]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  der.fill(0);
  const spki = key.export({ format: 'der', type: 'spki' });
  return Uint8Array.from(spki.subarray(-KEY_BYTES));
}
