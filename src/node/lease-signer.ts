import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { contentOf, readSignature, signedText, withSignature } from '#src/network/signed-lease.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { SigningKey } from '#src/sys/ed25519.ts';

/**
 * Signs what this node publishes. Each signature has a higher count than all before it: the wall clock's, or one more than the
 * last where that clock was set back.
 */
export class LeaseSigner {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #key: SigningKey;
  readonly #network: string;
  #last = 0;

  /** `network`: see {@link networkOf}. */
  constructor({ clock }: { readonly clock: Pick<Clock, 'now'> }, key: SigningKey, network: string) {
    this.#clock = clock;
    this.#key = key;
    this.#network = network;
  }

  get publicKey(): string {
    return this.#key.publicKey;
  }

  /**
   * The attributes, signed for this subnet. `before`: what the registry has there, or what this node published last. If that
   * is our own and says the same, it keeps its signature, and nothing has to be written.
   */
  sign(name: string, attributes: LeaseAttributes, before?: LeaseAttributes): LeaseAttributes {
    // As a reader gets it.
    const decoded = decodeAttributes(encodeAttributes(contentOf(attributes)));
    const content = decoded.ok ? decoded.attributes : contentOf(attributes);
    const count = before === undefined ? undefined : this.#countOf(name, before);
    if (before !== undefined && count !== undefined) {
      const isNewest = count >= this.#last;
      this.#last = Math.max(this.#last, count);
      if (isNewest && encodeAttributes(contentOf(before)) === encodeAttributes(content)) return before;
    }
    this.#last = Math.max(Math.floor(this.#clock.now()), this.#last + 1);
    return withSignature(content, this.#sign(name, content, this.#last));
  }

  /** What an earlier run signed: later counts are higher. */
  recall(name: string, attributes: LeaseAttributes): void {
    this.#last = Math.max(this.#last, this.#countOf(name, attributes) ?? 0);
  }

  hasSigned(name: string, attributes: LeaseAttributes): boolean {
    return this.#countOf(name, attributes) !== undefined;
  }

  /** The count of a lease that this node has signed; `undefined` when it has not. */
  #countOf(name: string, attributes: LeaseAttributes): number | undefined {
    const read = readSignature(attributes);
    if (read.kind !== 'signed' || read.key !== this.#key.publicKey) return undefined;
    // The same text has the same signature (RFC 8032, section 5.1.6).
    const isOurs = this.#sign(name, attributes, read.count).signature === read.signature;
    return isOurs ? read.count : undefined;
  }

  #sign(name: string, attributes: LeaseAttributes, count: number) {
    const key = this.#key.publicKey;
    const text = signedText({ network: this.#network, name }, attributes, { key, count });
    return { key, count, signature: this.#key.sign(text) };
  }
}
