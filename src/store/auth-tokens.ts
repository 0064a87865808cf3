import { createHash, timingSafeEqual } from 'node:crypto';
import { etcdError } from '#src/store/etcd-error.ts';
import type { Clock } from '#src/sys/clock.ts';
import { secretBytes } from '#src/sys/random.ts';

/** etcd's default for its simple tokens: unused for so long, a token ends. */
const TOKEN_LIFE_MS = 300_000;
const MAX_TOKENS = 10_000;

/**
 * Users, their passwords, and the tokens they got for them. Tokens live in memory: after a restart clients get
 * `invalid auth token` and authenticate again, as with etcd's simple tokens. Every user may do everything.
 */
export class AuthTokens {
  readonly #passwords: ReadonlyMap<string, Buffer>;
  readonly #clock: Clock;
  /** Token to the time it ends, the longest unused first. */
  readonly #tokens = new Map<string, number>();

  /** Without users there is no authentication. */
  constructor(users: ReadonlyMap<string, string>, clock: Clock) {
    this.#passwords = new Map(Array.from(users, ([name, password]) => [name, digest(password)]));
    this.#clock = clock;
  }

  get enabled(): boolean {
    return this.#passwords.size > 0;
  }

  authenticate(name: string, password: string): string {
    if (!this.enabled) throw etcdError('authNotEnabled');
    // A name nobody has takes as long as a wrong password.
    const expected = this.#passwords.get(name);
    const matches = timingSafeEqual(digest(password), expected ?? Buffer.alloc(32));
    if (!matches || expected === undefined) throw etcdError('authFailed');
    const token = secretBytes(16).toString('base64url');
    this.#use(token);
    return token;
  }

  /** Throws what etcd answers to a call whose `token` metadata is missing or no longer good. */
  check(token: string | undefined): void {
    if (!this.enabled) return;
    if (token === undefined) throw etcdError('userEmpty');
    if ((this.#tokens.get(token) ?? 0) <= this.#clock.monotonic()) throw etcdError('invalidToken');
    this.#use(token);
  }

  #use(token: string): void {
    this.#tokens.delete(token);
    this.#tokens.set(token, this.#clock.monotonic() + TOKEN_LIFE_MS);
    for (const [oldest, end] of this.#tokens) {
      if (end > this.#clock.monotonic() && this.#tokens.size <= MAX_TOKENS) break;
      this.#tokens.delete(oldest);
    }
  }
}

function digest(password: string): Buffer {
  return createHash('sha256').update(password).digest();
}
