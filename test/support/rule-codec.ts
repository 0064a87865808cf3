import { attributes, struct, u8, u32 } from '#src/kernel/attributes.ts';
import { AF_INET, NLM_F_DUMP } from '#src/kernel/constants.ts';
import type { KindCodec } from '#src/kernel/kind-codec.ts';
import { type Message, MessageLayout } from '#src/kernel/message.ts';
import { ADD } from '#src/kernel/verbs.ts';
import { RULE, type Rule } from './rule-kind.ts';

/** linux/rtnetlink.h, linux/fib_rules.h */
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const RTNLGRP_IPV4_RULE = 8;
const FR_ACT_TO_TBL = 1;

/** struct fib_rule_hdr */
const HEADER = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  table: u8,
  reserved1: u8,
  reserved2: u8,
  action: u8,
  flags: u32,
});
const MESSAGE = new MessageLayout(
  HEADER,
  attributes({ priority: [6, u32], mark: [10, u32], table: [15, u32] }),
);

function read(message: Message): Rule | undefined {
  const { priority, mark, table } = MESSAGE.read(message)?.values ?? {};
  if (priority === undefined || mark === undefined || table === undefined) return undefined;
  return { kind: 'rule', priority, mark, table };
}

/** The second of two files of a kind that weft does not have. */
export const RULE_CODEC: KindCodec<Rule> = {
  kind: RULE,
  groups: [RTNLGRP_IPV4_RULE],
  changed: RTM_NEWRULE,
  removed: RTM_DELRULE,
  isEchoHeard: false,
  endsBatch: false,
  dumps: () => [{ request: MESSAGE.request(RTM_GETRULE, NLM_F_DUMP, { family: AF_INET }, {}), read }],
  read,
  encode({ verb, object: { priority, mark, table } }) {
    if (verb === 'set' || verb === 'replace') return 'unsupported';
    const header = { family: AF_INET, table, action: FR_ACT_TO_TBL };
    const [type, flags] = verb === 'add' ? [RTM_NEWRULE, ADD] : [RTM_DELRULE, 0];
    return MESSAGE.request(type, flags, header, { priority, mark, table });
  },
  missingDevice: () => undefined,
};
