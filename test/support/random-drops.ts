import { shellOn, type TracedPair } from './trace-faults.ts';

/** A rule that drops one packet somewhere. */
export interface Drop {
  readonly name: string;
  /** `there h1 forward-filter`: the hop at which the packet is lost. */
  readonly lostAt: string;
  start(pair: TracedPair): Promise<void>;
  end(pair: TracedPair): Promise<void>;
}

type Way = 'there' | 'back';

/** Of a packet from `from` to `to`, on the host that it leaves (`leave`) and on the one that it comes to. */
interface Place {
  readonly on: 'leave' | 'enter';
  readonly in: 'host' | 'container';
  readonly hop: string;
  readonly rule: NftRule | TcRule;
  /** The packet in the tunnel, or the tunnel's. */
  readonly wrapped?: true;
}
interface NftRule {
  readonly hook: string;
  readonly device?: string;
}
interface TcRule {
  readonly tc: 'ingress' | 'egress';
  readonly device: string;
}

const PLACES: readonly Place[] = [
  { on: 'leave', in: 'host', hop: 'bridge', rule: { tc: 'ingress', device: 'veth-c' } },
  { on: 'leave', in: 'host', hop: 'forward-filter', rule: { tc: 'ingress', device: 'docker0' } },
  { on: 'leave', in: 'host', hop: 'forward-filter', rule: { hook: 'prerouting', device: 'docker0' } },
  { on: 'leave', in: 'host', hop: 'forward-filter', rule: { hook: 'forward' } },
  { on: 'leave', in: 'host', hop: 'forward-filter', rule: { hook: 'postrouting', device: 'flannel.1' } },
  { on: 'leave', in: 'host', hop: 'forward-filter', rule: { tc: 'egress', device: 'flannel.1' } },
  { on: 'leave', in: 'host', hop: 'output-filter', rule: { hook: 'output' }, wrapped: true },
  {
    on: 'leave',
    in: 'host',
    hop: 'output-filter',
    rule: { hook: 'postrouting', device: 'eth0' },
    wrapped: true,
  },
  { on: 'leave', in: 'host', hop: 'output-filter', rule: { tc: 'egress', device: 'eth0' }, wrapped: true },
  { on: 'enter', in: 'host', hop: 'input-filter', rule: { tc: 'ingress', device: 'eth0' }, wrapped: true },
  {
    on: 'enter',
    in: 'host',
    hop: 'input-filter',
    rule: { hook: 'prerouting', device: 'eth0' },
    wrapped: true,
  },
  { on: 'enter', in: 'host', hop: 'input-filter', rule: { hook: 'input' }, wrapped: true },
  { on: 'enter', in: 'host', hop: 'arrival-filter', rule: { tc: 'ingress', device: 'flannel.1' } },
  { on: 'enter', in: 'host', hop: 'arrival-filter', rule: { hook: 'prerouting', device: 'flannel.1' } },
  { on: 'enter', in: 'host', hop: 'arrival-filter', rule: { hook: 'forward' } },
  { on: 'enter', in: 'host', hop: 'arrival-filter', rule: { hook: 'postrouting', device: 'docker0' } },
  { on: 'enter', in: 'host', hop: 'arrival-filter', rule: { tc: 'egress', device: 'docker0' } },
  { on: 'enter', in: 'host', hop: 'arrival-bridge', rule: { tc: 'egress', device: 'veth-c' } },
];

/** What only a request passes: inside a container nobody answers, or the answer does not get out. */
const INSIDE: readonly Place[] = [
  { on: 'leave', in: 'container', hop: 'container', rule: { hook: 'output' } },
  { on: 'enter', in: 'container', hop: 'arrival-container', rule: { hook: 'input' } },
];

const nft = ({ hook, device }: NftRule, match: string): string => {
  const by = hook === 'postrouting' ? 'oifname' : 'iifname';
  const on = device === undefined ? '' : `${by} ${device}`;
  const rule = `${on} ${match} drop`;
  return `nft "table ip drops { chain c { type filter hook ${hook} priority -300; ${rule}; }; }"`;
};

/** Classic BPF in direct-action mode: 2 is TC_ACT_SHOT, -1 goes on (linux/pkt_cls.h). Kernels have it more often than u32 and gact. */
const tc = ({ tc: side, device }: TcRule, from: string, to: string, protocol: number): string => {
  const program = [
    ...['40 0 0 12', '21 0 7 2048', '48 0 0 23', `21 0 5 ${protocol}`],
    ...['32 0 0 26', `21 0 3 $N${from}`, '32 0 0 30', `21 0 1 $N${to}`, '6 0 0 2', '6 0 0 4294967295'],
  ];
  const bytecode = `${program.length},${program.join(',')},`;
  return `tc qdisc add dev ${device} clsact; tc filter add dev ${device} ${side} bpf bytecode "${bytecode}" direct-action`;
};

/**
 * Every drop of the table, for a packet that goes there and for its answer. `bridgeFilters`: bridges hand their packets to the
 * prerouting rules themselves, before the host has them (br_netfilter).
 */
export const allDrops = (bridgeFilters: boolean): Drop[] => [
  ...(['there', 'back'] as const).flatMap((way) =>
    PLACES.map((place) => {
      const { rule } = place;
      const isEarlier =
        bridgeFilters && 'hook' in rule && rule.hook === 'prerouting' && rule.device === 'docker0';
      return dropAt(isEarlier ? { ...place, hop: 'bridge' } : place, way);
    }),
  ),
  ...INSIDE.map((place) => dropAt(place, 'there')),
];

function dropAt({ on, in: inside, hop, rule, wrapped }: Place, way: Way): Drop {
  const number = (on === 'leave') === (way === 'there') ? 1 : 2;
  const where = `${inside === 'host' ? 'h' : 'c'}${number}` as const;
  const ends = wrapped ? (['P1', 'P2'] as const) : (['A', 'B'] as const);
  const [source, destination] = way === 'there' ? ends : ([ends[1], ends[0]] as const);
  const start =
    'tc' in rule
      ? tc(rule, source, destination, wrapped ? 17 : 1)
      : nft(rule, `ip saddr $${source} ip daddr $${destination} meta l4proto ${wrapped ? 'udp' : 'icmp'}`);
  const end = 'tc' in rule ? `tc qdisc del dev ${rule.device} clsact` : 'nft delete table ip drops';
  const words = 'tc' in rule ? `tc ${rule.tc} of ${rule.device}` : `nft ${rule.hook} ${rule.device ?? ''}`;
  return {
    name: `${way}, on ${where}: ${words.trim()}`,
    lostAt: `${way} h${number} ${hop}`,
    start: shellOn(where, start),
    end: shellOn(where, end),
  };
}
