import type { NetworkAnswer } from '#src/cli/ask-networks.ts';
import type { LookContext } from '#src/cli/look-command.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Peers } from '#src/observe/api.ts';

/** How long the ends of leases are believed: the daemon asks etcd v3 for each of them. */
const BELIEVED_MS = 30_000;

/** When leases of peers end, where the peers themselves do not say it: the daemon answers that with its leases. */
export class LeaseEnds {
  readonly #context: Pick<LookContext, 'ask' | 'clock' | 'signal'>;
  /** Milliseconds of the clock, by lease. */
  readonly #ends = new Map<string, number>();
  #readAt: number | undefined;

  constructor(context: Pick<LookContext, 'ask' | 'clock' | 'signal'>) {
    this.#context = context;
  }

  /** Asks if it has not done so lately and one of the peers has no end. A refusal leaves the ends unknown. */
  async read(networks: readonly NetworkAnswer<Peers>[]): Promise<void> {
    const { ask, clock, signal } = this.#context;
    const now = clock.monotonic();
    if (this.#readAt !== undefined && now - this.#readAt < BELIEVED_MS) return;
    const lacking = networks.filter(({ answer }) =>
      answer.peers.some(
        ({ remainingSeconds, subnet }) => remainingSeconds === undefined && subnet !== undefined,
      ),
    );
    if (lacking.length === 0) return;
    this.#readAt = now;
    for (const { socket } of lacking) {
      try {
        const { leases } = await ask(socket, '/v1/leases', { signal });
        for (const { lease, remainingSeconds } of leases)
          if (remainingSeconds !== undefined) this.#ends.set(lease, now + remainingSeconds * 1000);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
      }
    }
  }

  /** The peers with what is known of their ends. */
  fill({ peers }: Peers): Peers {
    const now = this.#context.clock.monotonic();
    return {
      peers: peers.map((peer) => {
        const end = this.#ends.get(peer.lease);
        if (peer.remainingSeconds !== undefined || end === undefined) return peer;
        return { ...peer, remainingSeconds: Math.max(0, Math.round((end - now) / 1000)) };
      }),
    };
  }
}
