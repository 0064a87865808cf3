import type { SavedRule, SavedTable } from '#src/firewall/iptables-save.ts';
import {
  type Answer,
  all,
  isDevice,
  isIn,
  isMarked,
  isProtocol,
  isToPort,
  not,
  type Packet,
  type Verdict,
  type WalkChain,
} from '#src/firewall/packet-walk.ts';
import { parsePrefix } from '#src/lib/ip.ts';

/** A table of `iptables-save`, its conditions answered for one packet. */
export function walkIptables(table: SavedTable, packet: Packet): Map<string, WalkChain> {
  return new Map(
    Array.from(table, ([name, { policy, rules }]) => [
      name,
      {
        policy: policy === 'DROP' ? 'drop' : 'accept',
        rules: rules.map((rule) => ({
          holds: all(rule.options.map((option) => answer(option, packet))),
          verdict: verdictOf(rule, table),
          text: rule.text,
        })),
      },
    ]),
  );
}

function verdictOf({ target = '', options }: SavedRule, table: SavedTable): Verdict {
  if (target === 'ACCEPT' || target === 'QUEUE' || target === 'NFQUEUE') return 'accept';
  if (target === 'DROP' || target === 'REJECT') return 'drop';
  if (target === 'RETURN') return 'return';
  if (!table.has(target)) return 'none';
  return options.some((option) => option.startsWith('-g ')) ? { goto: target } : { jump: target };
}

/** Matches that say nothing by themselves, or whose options are answered below. */
const KNOWN_MATCHES = ['comment', 'conntrack', 'state', 'mark', 'addrtype'];

/** Matches whose options are about ports. */
const PORT_MATCHES = ['udp', 'multiport'];

/** `8472`, or `1:9000`. */
function ports(value: string, packet: Packet): Answer {
  const [first = '', last = first] = value.split(':');
  return isToPort(packet, Number(first), Number(last));
}

function answer(option: string, packet: Packet): Answer {
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
      return isProtocol(packet, value);
    case '--dport':
      return ports(value, packet);
    case '--dports': {
      const answers = value.split(',').map((one) => ports(one, packet));
      return answers.find((one) => one !== 'no') ?? 'no';
    }
    case '--ctstate':
    case '--state':
      return value.split(',').includes('NEW') ? 'yes' : 'no';
    case '--mark': {
      const [bits = '', mask = '0xffffffff'] = value.split('/');
      return isMarked(packet.mark, Number(bits), Number(mask));
    }
    case '--dst-type':
    case '--src-type':
      // What is forwarded is not for this host, and what comes in is from none of its own addresses.
      if (value !== 'LOCAL') return 'unknown';
      return packet.local && name === '--dst-type' ? 'yes' : 'no';
    case '-m':
      if (packet.udp !== undefined && PORT_MATCHES.includes(value)) return 'yes';
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
