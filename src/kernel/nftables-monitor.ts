import { NFNLGRP_NFTABLES } from '#src/kernel/constants.ts';
import { subscribe } from '#src/kernel/netlink-subscription.ts';
import { type Generation, readGeneration } from '#src/kernel/nftables-messages.ts';
import type { Clock } from '#src/sys/clock.ts';
import { NETLINK_NETFILTER, type Netlink } from '#src/sys/netlink-socket.ts';

export type NftablesEvent =
  /**
   * A transaction was committed, by nft, iptables-nft or firewalld; iptables-legacy reports
   * nothing.
   */
  | ({ readonly type: 'changed' } & Generation)
  /** Events were lost; the ruleset may be another. */
  | { readonly type: 'overrun' };

/**
 * Calls `listener` once for each change of the nftables ruleset by any program, until the signal
 * aborts. Resolves when the subscription is in force. Equals `nft monitor`, and needs
 * CAP_NET_ADMIN.
 */
export async function monitorNftables(
  components: { readonly netlink: Netlink; readonly clock: Clock },
  options: { readonly namespace?: string | undefined },
  listener: (event: NftablesEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  await subscribe(
    components,
    { protocol: NETLINK_NETFILTER, groups: [NFNLGRP_NFTABLES], namespace: options.namespace },
    {
      message(message) {
        // The last message of each transaction.
        const committed = readGeneration(message);
        if (committed !== undefined) listener({ type: 'changed', ...committed });
      },
      overrun: () => listener({ type: 'overrun' }),
    },
    signal,
  );
}
