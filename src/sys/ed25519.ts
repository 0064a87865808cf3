/** A private key that signs, and its public half. Nothing prints the private one. */
export interface SigningKey {
  /** The public key: its 32 bytes in base64url, 43 characters. */
  readonly publicKey: string;
  /** The signature of the text's UTF-8 bytes: 64 bytes in base64url, 86 characters. */
  sign(text: string): string;
  /** The private key's 32 bytes in base64url, for its file. */
  secret(): string;
}

/** A text that somebody says he has signed. */
export interface SignedText {
  readonly publicKey: string;
  readonly text: string;
  readonly signature: string;
}

/** Ed25519 (RFC 8032). All texts of keys and signatures are base64url without padding. */
export interface Ed25519 {
  generate(): SigningKey;
  /** The key of a file; `undefined` when the text is no private key. */
  read(secret: string): SigningKey | undefined;
  /**
   * Whether the signature is that key's. Of several texts as many are verified at a time as threads are there for it, and the
   * event loop goes on. A key or signature that is none is not valid, and neither is another spelling of one that is.
   */
  verify(signed: SignedText): Promise<boolean>;
  /** SHA-256 of the text's UTF-8 bytes in base64url, 43 characters. */
  digest(text: string): string;
}

/** Whether a text is the one spelling of 32 bytes, as public keys have. */
export const isKeyText = (text: string): boolean => bytesOf(text, 32) !== undefined;

/** Loads node:crypto, which takes 10 ms: a host without a key does without it. */
export async function loadEd25519(): Promise<Ed25519> {
  const crypto = await import('node:crypto');
  const keyOf = (der: Buffer): SigningKey => {
    const key = crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const { x = '' } = crypto.createPublicKey(key).export({ format: 'jwk' });
    return {
      publicKey: x,
      sign: (text) => crypto.sign(null, Buffer.from(text), key).toString('base64url'),
      secret: () => der.subarray(PKCS8_HEAD.length).toString('base64url'),
    };
  };
  return {
    generate: () =>
      keyOf(crypto.generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' })),
    read(secret) {
      const bytes = bytesOf(secret, 32);
      return bytes && keyOf(Buffer.concat([PKCS8_HEAD, bytes]));
    },
    verify({ publicKey, text, signature }) {
      const bytes = bytesOf(signature, 64);
      if (bytes === undefined || !isKeyText(publicKey)) return Promise.resolve(false);
      const key = { key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' } as const;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      try {
        crypto.verify(null, Buffer.from(text), key, bytes, (error, valid) =>
          resolve(error === null && valid),
        );
      } catch {
        // Bytes that are no point of the curve.
        resolve(false);
      }
      return promise;
    },
    digest: (text) => crypto.hash('sha256', text, 'base64url'),
  };
}

/** RFC 8410, section 7: the private key is the last 32 bytes. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

/** So many bytes in base64url; `undefined` for any other text, or one with bits that no byte has. */
function bytesOf(text: string, length: number): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.length === length && bytes.toString('base64url') === text ? bytes : undefined;
}
