import {
  generationRequest,
  type NftFamily,
  readGeneration,
  readTable,
  tableDump,
} from '#src/kernel/nftables-messages.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import type { Clock } from '#src/sys/clock.ts';
import { NETLINK_NETFILTER, type Netlink } from '#src/sys/netlink-socket.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/**
 * The kernel's own answers about nftables' rules, iptables-nft's among them. A message costs less
 * than running a program.
 */
export interface Ruleset {
  /**
   * Another number after each transaction of any program: nf_tables counts those of a network
   * namespace. `undefined` when the kernel does not report it.
   */
  generation(): Promise<number | undefined>;
  /** The names of a family's tables; `undefined` when the kernel does not report them. */
  tables(family: NftFamily): Promise<readonly string[] | undefined>;
}

export interface NftablesRulesetOptions {
  /** As in NetlinkSocketOptions. */
  readonly namespace?: string | undefined;
}

/** Asks the kernel. Each question has a socket of its own: they are few, and none has to wait for another's answer. */
export class NftablesRuleset implements Ruleset {
  readonly #netlink: Netlink;
  readonly #clock: Clock;
  readonly #options: NftablesRulesetOptions;

  constructor(
    { netlink, clock }: { readonly netlink: Netlink; readonly clock: Clock },
    options: NftablesRulesetOptions = {},
  ) {
    this.#netlink = netlink;
    this.#clock = clock;
    this.#options = options;
  }

  generation(): Promise<number | undefined> {
    return this.#ask((client) => {
      const answer = client.request(generationRequest());
      return 'error' in answer ? undefined : readGeneration(answer.message)?.generation;
    });
  }

  tables(family: NftFamily): Promise<readonly string[] | undefined> {
    return this.#ask(async (client) => {
      const names: string[] = [];
      await client.dump(
        tableDump(family),
        new TurnBudget(this.#clock),
        () => {
          names.length = 0;
        },
        (message) => {
          const name = readTable(message);
          if (name !== undefined) names.push(name);
        },
      );
      return names;
    });
  }

  /**
   * The kernel lacks nf_tables, or this process lacks the rights: the caller can still run a
   * program.
   */
  async #ask<T>(question: (client: RtnetlinkClient) => T | Promise<T>): Promise<T | undefined> {
    try {
      const { namespace } = this.#options;
      const socket = await this.#netlink.open({
        protocol: NETLINK_NETFILTER,
        namespace,
        receiveBuffer: BUFFER_BYTES,
      });
      try {
        return await question(new RtnetlinkClient(socket));
      } finally {
        socket.close();
      }
    } catch {
      return undefined;
    }
  }
}

/** Some datagrams of a dump. The kernel sends more as they are taken. */
const BUFFER_BYTES = 256 << 10;
