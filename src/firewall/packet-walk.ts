import { containsPrefix, type Prefix } from '#src/lib/ip.ts';

/** A packet through, to or from this host, as far as it is known. */
export interface Packet {
  /** The device by which it arrives; empty for one that the host itself sends. */
  readonly by: string;
  /** The device by which it leaves; empty for one that is for the host itself. */
  readonly out: string;
  /** Its source is some address of this prefix. */
  readonly from: Prefix;
  readonly to: Prefix;
  readonly mark: number;
  /** Of its connection. Default `new`. */
  readonly state?: 'new' | 'established';
  /** What it carries; `undefined` for any. */
  readonly carries?: Carried;
}

/** The protocol in an IP packet, and the port that it goes to; without it any port, where there are some. */
export interface Carried {
  readonly protocol: 'icmp' | 'icmpv6' | 'tcp' | 'udp';
  readonly port?: number;
}

/** What a condition says of a packet. `some`: of a part of such packets, by address, protocol or port. */
export type Answer = 'yes' | 'no' | 'some' | 'unknown';

export type Verdict =
  | 'accept'
  | 'drop'
  | 'return'
  | 'none'
  | { readonly jump: string }
  | { readonly goto: string };

/** A rule, its conditions answered for one packet. */
export interface WalkRule {
  readonly holds: Answer;
  readonly verdict: Verdict;
  /** For a message. */
  readonly text: string;
}

export interface WalkChain {
  readonly rules: Iterable<WalkRule>;
  /** Of a base chain. */
  readonly policy?: 'accept' | 'drop';
}

/** The chains of a table: each is made when the walk comes to it. */
export interface WalkChains {
  get(name: string): WalkChain | undefined;
}

/** What drops the packet: a rule of a chain, or the base chain's policy. */
export interface Drop {
  readonly chain: string;
  readonly text: string;
}

/**
 * The rule that drops the packet for certain on its way from a base chain; `undefined` when none does, or when that can't be
 * known: a condition that can't be answered may have accepted it before.
 */
export function dropOf(chains: WalkChains, base: string): Drop | undefined {
  const end = walk(chains, base, 0);
  if (end === 'back') {
    return chains.get(base)?.policy === 'drop' ? { chain: base, text: 'policy drop' } : undefined;
  }
  return typeof end === 'object' ? end : undefined;
}

type End = Drop | 'accepted' | 'unknown' | 'back';

function walk(chains: WalkChains, name: string, depth: number): End {
  if (depth > MOST_DEPTH) return 'unknown';
  for (const { holds, verdict, text } of chains.get(name)?.rules ?? []) {
    if (holds === 'no' || holds === 'some' || verdict === 'none') continue;
    let end: End;
    if (verdict === 'accept') end = 'accepted';
    else if (verdict === 'drop') end = { chain: name, text };
    else if (verdict === 'return') end = 'back';
    else end = walk(chains, 'jump' in verdict ? verdict.jump : verdict.goto, depth + 1);
    if (holds === 'unknown') {
      // It may hold: then what it drops is dropped by intention, and what it accepts never comes to the rules after it.
      if (typeof end === 'object' || (end === 'back' && verdict !== 'return')) continue;
      return 'unknown';
    }
    if (end === 'back' && typeof verdict === 'object' && 'jump' in verdict) continue;
    return end;
  }
  return 'back';
}

/** nf_tables allows 16 (NFT_JUMP_STACK_SIZE); iptables as many as there are chains. */
const MOST_DEPTH = 64;

/** All conditions of a rule together. */
export function all(answers: readonly Answer[]): Answer {
  for (const answer of ['no', 'some', 'unknown'] as const) if (answers.includes(answer)) return answer;
  return 'yes';
}

export function not(answer: Answer): Answer {
  if (answer === 'yes') return 'no';
  return answer === 'no' ? 'yes' : 'unknown';
}

/** Whether a packet with an address of `of` has one of `prefix`. */
export function isIn(of: Prefix, prefix: Prefix): Answer {
  if (of.family !== prefix.family) return 'no';
  if (containsPrefix(prefix, of)) return 'yes';
  return containsPrefix(of, prefix) ? 'some' : 'no';
}

/** A device's name against a pattern: `+` at its end in iptables and `*` in nft stand for any rest. */
export const isDevice = (name: string, pattern: string, any: '+' | '*'): Answer =>
  (pattern.endsWith(any) ? name.startsWith(pattern.slice(0, -1)) : name === pattern) ? 'yes' : 'no';

/** Whether `mark & mask` is `value`, all of 32 bits. */
export const isMarked = (mark: number, value: number, mask = 0xffff_ffff): Answer =>
  (BigInt(mark) & BigInt(mask)) === BigInt(value) ? 'yes' : 'no';

/** Whether a connection's state is one of the firewall's words for it. */
export const isInState = ({ state = 'new' }: Packet, words: readonly string[]): Answer =>
  words.some((word) => word.toLowerCase() === state) ? 'yes' : 'no';

/** Whether the packet carries this protocol, by its name or number; `some` where any may be carried. */
export function carries({ carries: what }: Packet, protocol: string): Answer {
  if (what === undefined) return 'some';
  const word = NUMBERS[protocol] ?? protocol;
  if (word === 'all') return 'yes';
  return word === what.protocol ? 'yes' : 'no';
}

const NUMBERS: Readonly<Record<string, string>> = {
  ...{ 0: 'all', 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6' },
  'ipv6-icmp': 'icmpv6',
};

/** Whether the packet goes to one of the ports from `first` to `last`. */
export function goesToPort({ carries: what }: Packet, first: number, last = first): Answer {
  if (what === undefined || (what.port === undefined && hasPorts(what))) return 'some';
  return what.port !== undefined && what.port >= first && what.port <= last ? 'yes' : 'no';
}

const hasPorts = ({ protocol }: Carried): boolean => protocol === 'tcp' || protocol === 'udp';

/** Whether the packet is for the host itself, whatever its address. */
export const isForHost = ({ out }: Packet): boolean => out === '';
