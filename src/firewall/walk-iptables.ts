import type { SavedChain, SavedRule, SavedTable } from '#src/firewall/iptables-save.ts';
import {
  type Answer,
  all,
  carries,
  goesToPort,
  isDevice,
  isForHost,
  isIn,
  isInState,
  isMarked,
  not,
  type Packet,
  type Verdict,
  type WalkChains,
  type WalkRule,
} from '#src/firewall/packet-walk.ts';
import { parsePrefix } from '#src/lib/ip.ts';

/** A table of `iptables-save`, its conditions answered for one packet. */
export const walkIptables = (table: SavedTable, packet: Packet): WalkChains => ({
  get(name) {
    const chain = table.get(name);
    return (
      chain && { policy: chain.policy === 'DROP' ? 'drop' : 'accept', rules: rulesFor(chain, table, packet) }
    );
  },
});

/** A chain may be long, and the walk ends at the first rule that decides. */
function* rulesFor({ rules }: SavedChain, table: SavedTable, packet: Packet): Generator<WalkRule> {
  for (const rule of rules) {
    const holds = all(rule.options.map((option) => answer(option, packet)));
    yield { holds, verdict: verdictOf(rule, table), text: rule.text };
  }
}

const dropping = new WeakMap<SavedTable, boolean>();

/** Whether anything in the table drops packets that come to a base chain of it. */
export function mayDrop(table: SavedTable, base: string): boolean {
  if (table.get(base)?.policy === 'DROP') return true;
  let drops = dropping.get(table);
  if (drops === undefined) {
    drops = [...table.values()].some(({ rules }) => rules.some((rule) => verdictOf(rule, table) === 'drop'));
    dropping.set(table, drops);
  }
  return drops;
}

export function verdictOf({ target = '', options }: SavedRule, table: SavedTable): Verdict {
  if (target === 'ACCEPT' || target === 'QUEUE' || target === 'NFQUEUE') return 'accept';
  if (target === 'DROP' || target === 'REJECT') return 'drop';
  if (target === 'RETURN') return 'return';
  if (!table.has(target)) return 'none';
  return options.some((option) => option.startsWith('-g ')) ? { goto: target } : { jump: target };
}

/** Matches that say nothing by themselves, or whose options are answered below. */
const KNOWN_MATCHES = ['comment', 'conntrack', 'state', 'mark', 'addrtype', 'tcp', 'udp', 'multiport'];

/** Whether one option of a rule holds for such packets. */
export function answer(option: string, packet: Packet): Answer {
  if (option.startsWith('! ')) return not(answer(option.slice(2), packet));
  const [name = '', value = ''] = option.split(' ');
  switch (name) {
    case '-i':
      return isDevice(packet.by, value, '+');
    case '-o':
      return isDevice(packet.out, value, '+');
    case '-s':
    case '-d': {
      const prefix = parsePrefix(value);
      return prefix === undefined ? 'unknown' : isIn(name === '-s' ? packet.from : packet.to, prefix);
    }
    case '-p':
      return carries(packet, value);
    case '--dport':
    case '--dports':
      return isOneOfPorts(value, packet);
    case '--ctstate':
    case '--state':
      return isInState(packet, value.split(','));
    case '--mark': {
      const [bits = '', mask = '0xffffffff'] = value.split('/');
      return isMarked(packet.mark, Number(bits), Number(mask));
    }
    case '--dst-type':
      return value !== 'LOCAL' ? 'unknown' : isForHost(packet) ? 'yes' : 'no';
    case '--src-type':
      // What is forwarded is not from this host.
      return value === 'LOCAL' ? 'no' : 'unknown';
    case '-m':
      return KNOWN_MATCHES.includes(value) ? 'yes' : 'unknown';
    case '-j':
    case '-g':
    case '--comment':
    case '--reject-with':
    case '--set-xmark':
      return 'yes';
    default:
      return 'unknown';
  }
}

/** `80`, `80:90`, or several of them. */
function isOneOfPorts(text: string, packet: Packet): Answer {
  const answers = text.split(',').map((ports) => {
    const [first = 0, last = first] = ports.split(':').map(Number);
    return goesToPort(packet, first, last);
  });
  for (const answer of ['yes', 'unknown', 'some'] as const) if (answers.includes(answer)) return answer;
  return 'no';
}

/** The bits that rules for such packets set in their mark, for certain. */
export function marksOfIptables(table: SavedTable, packet: Packet): number {
  let bits = 0;
  for (const { rules } of table.values()) {
    for (const { options } of rules) {
      const set = options.find((option) => option.startsWith('--set-xmark '))?.split(' ')[1];
      if (set === undefined || all(options.map((option) => answer(option, packet))) !== 'yes') continue;
      bits |= Number(set.split('/')[0]);
    }
  }
  return bits >>> 0;
}
