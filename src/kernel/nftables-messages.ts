import { attributes, struct, text, u8, u16be, u32be } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';

/** struct nfgenmsg of linux/netfilter/nfnetlink.h */
const HEADER = struct({ family: u8, version: u8, resourceId: u16be });
const GENERATION = new MessageLayout(
  HEADER,
  attributes({
    generation: [k.NFTA_GEN_ID, u32be],
    pid: [k.NFTA_GEN_PROC_PID, u32be],
    program: [k.NFTA_GEN_PROC_NAME, text],
  }),
);
const TABLE = new MessageLayout(HEADER, attributes({ name: [k.NFTA_TABLE_NAME, text] }));

const typeOf = (message: number): number => (k.NFNL_SUBSYS_NFTABLES << 8) | message;

/**
 * The number of the last transaction. In an event, also the pid of the process that made it, as the
 * host counts.
 */
export interface Generation {
  readonly generation?: number | undefined;
  readonly pid?: number | undefined;
  readonly program?: string | undefined;
}

export const generationRequest = (): Request =>
  GENERATION.request(typeOf(k.NFT_MSG_GETGEN), 0, { family: k.AF_UNSPEC }, {});

/** An answer to {@link generationRequest}, or the event that ends a transaction; `undefined` when it is neither. */
export const readGeneration = (message: Message): Generation | undefined =>
  message.type === typeOf(k.NFT_MSG_NEWGEN) ? GENERATION.read(message)?.values : undefined;

/** A family of tables: `inet` ones hold rules for both. */
export type NftFamily = 4 | 6 | 'inet' | 'bridge';

/** linux/netfilter.h: NFPROTO_INET, NFPROTO_BRIDGE; NFPROTO_IPV4 and NFPROTO_IPV6 are the numbers of AF_INET and AF_INET6. */
const FAMILY_NUMBERS: Readonly<Record<NftFamily, number>> = {
  4: k.AF_INET,
  6: k.AF_INET6,
  inet: 1,
  bridge: 7,
};

/** `nft list tables ip` */
export const tableDump = (family: NftFamily): Request =>
  TABLE.request(typeOf(k.NFT_MSG_GETTABLE), k.NLM_F_DUMP, { family: FAMILY_NUMBERS[family] }, {});

export const readTable = (message: Message): string | undefined =>
  message.type === typeOf(k.NFT_MSG_NEWTABLE) ? TABLE.read(message)?.values.name : undefined;
