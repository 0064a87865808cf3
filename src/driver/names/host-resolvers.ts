import { isAnswerTo, type Query, REFUSED, rcodeOf, SERVFAIL, withId } from '#src/driver/names/dns-message.ts';
import { parseIp } from '#src/lib/ip.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Exchange } from '#src/sys/exchange.ts';
import type { Files } from '#src/sys/files.ts';
import type { Random } from '#src/sys/random.ts';
import { deadlineIn } from '#src/sys/timer.ts';

/** The servers that resolve names for the host itself. */
export interface Resolvers {
  /** The first useful answer, under the query's own id; `undefined` when none came in time, or too many wait for one. */
  ask(
    query: Query,
    bytes: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Buffer | undefined>;
}

export interface HostResolversOptions {
  /** Default: `/etc/resolv.conf`. */
  readonly path?: string;
  /** Where the servers listen. Default: 53. */
  readonly port?: number;
  /** Questions that wait for an answer at one time, of all tenants. Default: 256. */
  readonly most?: number;
  /** How long one server is waited for, milliseconds. Default: 1,500. */
  readonly patienceMs?: number;
  /** How long a question may take. Default: 3,500; Docker waits for 4 seconds. */
  readonly totalMs?: number;
}

/** What resolv.conf(5) allows. */
const MOST_SERVERS = 3;
/** Each server is asked so often. */
const ROUNDS = 2;
/** DHCP or a VPN may change the file. */
const READ_AGAIN_MS = 5_000;

/**
 * The servers of /etc/resolv.conf, asked from the host's own namespace: a server on its loopback, such as systemd-resolved,
 * works. Nothing is cached.
 */
export class HostResolvers implements Resolvers {
  readonly #components: {
    readonly exchange: Exchange;
    readonly files: Files;
    readonly clock: Clock;
    readonly random: Random;
  };
  readonly #options: Required<HostResolversOptions>;
  #waiting = 0;
  #servers: Promise<readonly string[]> | undefined;
  #readAt = 0;

  constructor(
    components: {
      readonly exchange: Exchange;
      readonly files: Files;
      readonly clock: Clock;
      readonly random: Random;
    },
    options: HostResolversOptions = {},
  ) {
    this.#components = components;
    this.#options = {
      path: '/etc/resolv.conf',
      port: 53,
      most: 256,
      patienceMs: 1_500,
      totalMs: 3_500,
      ...options,
    };
  }

  async ask(
    query: Query,
    bytes: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    if (this.#waiting >= this.#options.most) return undefined;
    this.#waiting++;
    try {
      return await this.#askEach(query, bytes, transport, deadlineIn(this.#options.totalMs, signal));
    } finally {
      this.#waiting--;
    }
  }

  async #askEach(
    query: Query,
    bytes: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    const servers = await this.#currentServers();
    let refusal: Buffer | undefined;
    for (let round = 0; round < ROUNDS && refusal === undefined; round++) {
      for (const address of servers) {
        if (signal.aborted) return refusal;
        const answer = await this.#askOne(address, query, bytes, transport, signal);
        if (answer === undefined) continue;
        if (rcodeOf(answer) !== SERVFAIL && rcodeOf(answer) !== REFUSED) return answer;
        refusal = answer;
      }
    }
    return refusal;
  }

  async #askOne(
    address: string,
    query: Query,
    bytes: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    const { exchange, random } = this.#components;
    const { port, patienceMs } = this.#options;
    // Port and id are new for each: a forger has to guess both (RFC 5452 §9.2).
    const id = Math.floor(random() * 0x10000);
    const accept = (answer: Buffer): boolean => isAnswerTo(answer, id, query);
    const server = { address, port };
    const sent = withId(bytes, id);
    const patience = deadlineIn(patienceMs, signal);
    try {
      const answer =
        transport === 'udp'
          ? await exchange.datagram(server, sent, accept, patience)
          : await exchange.connection(server, sent, patience);
      return accept(answer) ? withId(answer, query.id) : undefined;
    } catch {
      // No answer in time, or nobody there: the next one may know.
      return undefined;
    }
  }

  #currentServers(): Promise<readonly string[]> {
    const { clock, files } = this.#components;
    if (this.#servers === undefined || clock.monotonic() - this.#readAt > READ_AGAIN_MS) {
      this.#readAt = clock.monotonic();
      this.#servers = files.read(this.#options.path).then(parseResolvConf, () => []);
    }
    return this.#servers;
  }
}

/** The servers in a resolv.conf(5), at most three; without one the host itself, as the C library has it. */
export function parseResolvConf(text: string | undefined): readonly string[] {
  const servers = (text ?? '')
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((server) => parseIp(server.replace(/%.*/s, '')) !== undefined);
  return servers.length === 0 ? ['127.0.0.1'] : servers.slice(0, MOST_SERVERS);
}
