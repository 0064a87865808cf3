import { answer, type NamedTenant } from '#src/driver/names/answer.ts';
import {
  BADVERS,
  type Query,
  REFUSED,
  type Reply,
  readQuery,
  SERVFAIL,
  writeRefusal,
  writeReply,
} from '#src/driver/names/dns-message.ts';
import type { Resolvers } from '#src/driver/names/host-resolvers.ts';
import type { Names } from '#src/driver/names/name-table.ts';
import { QueryBudget } from '#src/driver/names/query-budget.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface ResponderOptions {
  readonly tenant: NamedTenant;
  readonly names: Names;
}

/** Questions of others' names that one tenant may have under way, and may ask in the long run. */
const MOST_FORWARDED = 64;
const FORWARDED = { perSecond: 200, burst: 400 };

/** Messages of one tenant's containers in, answers out. */
export class Responder {
  readonly #resolvers: Resolvers;
  readonly #options: ResponderOptions;
  readonly #forwarded: QueryBudget;
  #forwarding = 0;

  constructor(
    components: { readonly resolvers: Resolvers; readonly clock: Clock },
    options: ResponderOptions,
  ) {
    this.#resolvers = components.resolvers;
    this.#options = options;
    this.#forwarded = new QueryBudget(components, FORWARDED);
  }

  /** The answer to whatever was sent; `undefined` when it gets none. Never throws, and rejects only when `signal` aborts. */
  respond(
    bytes: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Buffer | undefined | Promise<Buffer | undefined> {
    const query = readQuery(bytes);
    if (query === undefined) return undefined;
    if ('refused' in query) return writeRefusal(query);
    const reply = (rcode: number, records: Reply['records'] = [], authoritative = false): Buffer => {
      const recursion = !this.#options.tenant.internal;
      return writeReply(query, { rcode, authoritative, recursion, records }, transport);
    };
    if (query.edns !== undefined && query.edns.version > 0) return reply(BADVERS);
    const found = answer(query, this.#options.tenant, this.#options.names);
    if (found.outcome === 'answered') return reply(found.rcode, found.records, found.rcode !== REFUSED);
    return this.#forward(query, bytes, transport, signal).then((message) => message ?? reply(SERVFAIL));
  }

  async #forward(
    query: Query,
    bytes: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    if (this.#forwarding >= MOST_FORWARDED || !this.#forwarded.take()) return undefined;
    this.#forwarding++;
    try {
      return await this.#resolvers.ask(query, bytes, transport, signal);
    } finally {
      this.#forwarding--;
    }
  }
}
