import { attributes, struct, text, u8, u16be, u32be } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { MessageLayout } from '#src/kernel/message.ts';
import { subscribe } from '#src/kernel/netlink-subscription.ts';
import type { Clock } from '#src/sys/clock.ts';
import { NETLINK_NETFILTER, type Netlink } from '#src/sys/netlink-socket.ts';

export type NftablesEvent =
  /** A transaction was committed, by nft, iptables-nft or firewalld; iptables-legacy does not tell. */
  | { readonly type: 'changed'; readonly pid?: number; readonly program?: string }
  /** Events were lost; the ruleset may be another. */
  | { readonly type: 'overrun' };

/** NFT_MSG_NEWGEN with struct nfgenmsg: the last message of each transaction. */
const GENERATION = new MessageLayout(
  struct({ family: u8, version: u8, resourceId: u16be }),
  attributes({
    generation: [k.NFTA_GEN_ID, u32be],
    pid: [k.NFTA_GEN_PROC_PID, u32be],
    program: [k.NFTA_GEN_PROC_NAME, text],
  }),
);
const NEW_GENERATION = (k.NFNL_SUBSYS_NFTABLES << 8) | k.NFT_MSG_NEWGEN;

/**
 * Calls `listener` once for each change of the nftables ruleset, whoever made it, until the signal aborts. Resolves when
 * the subscription is in force. Equals `nft monitor`, and needs CAP_NET_ADMIN.
 */
export async function monitorNftables(
  components: { readonly netlink: Netlink; readonly clock: Clock },
  options: { readonly namespace?: string | undefined },
  listener: (event: NftablesEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  await subscribe(
    components,
    { protocol: NETLINK_NETFILTER, groups: [k.NFNLGRP_NFTABLES], namespace: options.namespace },
    {
      message(message) {
        if (message.type !== NEW_GENERATION) return;
        const { pid, program } = GENERATION.read(message)?.values ?? {};
        listener({
          type: 'changed',
          ...(pid !== undefined && { pid }),
          ...(program !== undefined && { program }),
        });
      },
      overrun: () => listener({ type: 'overrun' }),
    },
    signal,
  );
}
