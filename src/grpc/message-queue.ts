import { type CallListener, unreadable } from '#src/grpc/client-call.ts';
import type { GrpcError } from '#src/grpc/grpc-status.ts';

/**
 * Answers of a call, taken one by one. While some wait, what has come is not handed back to the server, so that it sends no more
 * than a window ahead of a slow reader.
 */
export class MessageQueue<Answer> implements CallListener {
  readonly #decode: (bytes: Buffer) => Answer;
  readonly #giveBack: (bytes: number) => void;
  readonly #messages: Buffer[] = [];
  #held = 0;
  #end: { readonly error: GrpcError | undefined } | undefined;
  #wake: (() => void) | undefined;

  constructor(decode: (bytes: Buffer) => Answer, giveBack: (bytes: number) => void) {
    this.#decode = decode;
    this.#giveBack = giveBack;
  }

  message(bytes: Buffer): void {
    this.#messages.push(bytes);
    this.#wake?.();
  }

  received(bytes: number): void {
    this.#held += bytes;
    this.#release();
  }

  ended(error: GrpcError | undefined): void {
    this.#end = { error };
    this.#wake?.();
  }

  /** The next answer; `undefined` when the call has ended well. Throws its error when all that came has been taken. */
  async next(): Promise<{ readonly message: Answer } | undefined> {
    while (this.#messages.length === 0 && this.#end === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    const bytes = this.#messages.shift();
    if (bytes !== undefined) {
      this.#release();
      try {
        return { message: this.#decode(bytes) };
      } catch (error) {
        throw unreadable(error);
      }
    }
    if (this.#end?.error !== undefined) throw this.#end.error;
    return undefined;
  }

  #release(): void {
    if (this.#messages.length > 0) return;
    this.#giveBack(this.#held);
    this.#held = 0;
  }
}
