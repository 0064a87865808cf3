import { type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { type Ip, isIpv4, type Prefix, parseIp, parsePrefix, prefixOf } from '#src/lib/ip.ts';
import type { CommandRunner } from '#src/sys/command.ts';

/** One rule of policy routing, as `ip rule` has it. What is absent matches everything. */
export interface IpRule {
  readonly priority: number;
  readonly from?: Prefix;
  readonly to?: Prefix;
  /** The device by which the packet came. */
  readonly by?: string;
  /** The device to which the sender's socket is bound. */
  readonly out?: string;
  /** `0x10`, or `0x10/0xff`. */
  readonly mark?: string;
  /** The rule is for packets that the others match not. */
  readonly not: boolean;
  /** `lookup` a table, or `blackhole`, `unreachable`, `prohibit`. */
  readonly action: string;
  /** `main`, `200`. */
  readonly table?: string;
  /** Routes of the table with a prefix of at most this length are passed over. */
  readonly suppressedLength?: number;
  /** Conditions that are not read here: a port, a user. */
  readonly hasOther: boolean;
}

/** A route of any table. */
export interface PolicyRoute {
  readonly table: string;
  readonly destination: Prefix;
  /** `unicast`, `blackhole`, `unreachable`, `prohibit`, `throw`. */
  readonly type: string;
  readonly device?: string;
  readonly via?: Ip;
  readonly metric: number;
}

/** Equals `ip -4 rule show`. */
export async function readIpRules(commands: CommandRunner): Promise<Fact<readonly IpRule[]>> {
  const read = await list(commands, ['ip', '-j', '-4', 'rule', 'show'], 'the policy routing rules');
  return typeof read === 'string' ? unknownFact(read) : knownFact(read.map(ruleOf));
}

/** Equals `ip -4 route show table all`, without the routes to this host's own and broadcast addresses. */
export async function readPolicyRoutes(commands: CommandRunner): Promise<Fact<readonly PolicyRoute[]>> {
  const command = ['ip', '-j', '-4', '-d', 'route', 'show', 'table', 'all'] as const;
  const read = await list(commands, [...command], 'the routes of all tables');
  return typeof read === 'string' ? unknownFact(read) : knownFact(read.flatMap(routeOf));
}

type Json = Readonly<Record<string, unknown>>;

async function list(
  commands: CommandRunner,
  argv: [string, ...string[]],
  what: string,
): Promise<readonly Json[] | string> {
  const { code, stdout, stderr } = await commands.run(argv, { timeoutMs: 1_500 });
  if (code === 127) return `${what} can't be read without ip (Debian package iproute2)`;
  if (code !== 0) return `${what} can't be read: ${stderr.trim().split('\n')[0] ?? ''}`;
  try {
    return stdout.trim() === '' ? [] : (JSON.parse(stdout) as Json[]);
  } catch {
    return `${what} can't be read: this version of ip prints no JSON`;
  }
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : typeof value === 'number' ? String(value) : undefined;

/** What `ip -j rule` prints besides conditions. */
const KNOWN_FIELDS = new Set([
  ...[
    'priority',
    'src',
    'srclen',
    'dst',
    'dstlen',
    'iif',
    'oif',
    'fwmark',
    'fwmask',
    'not',
    'action',
    'table',
  ],
  ...['suppress_prefixlen', 'protocol', 'iif_detached', 'oif_detached', 'flowfrom', 'l3mdev'],
]);

/** One object of `ip -j rule show`. */
export function ruleOf(rule: Json): IpRule {
  const prefix = (address: unknown, length: unknown): Prefix | undefined => {
    const ip = typeof address === 'string' ? parseIp(address) : undefined;
    if (ip === undefined) return typeof address === 'string' ? parsePrefix(address) : undefined;
    return prefixOf(ip, typeof length === 'number' ? length : isIpv4(ip) ? 32 : 128);
  };
  const [from, to] = [prefix(rule.src, rule.srclen), prefix(rule.dst, rule.dstlen)];
  const [by, out, table, mark, mask] = [rule.iif, rule.oif, rule.table, rule.fwmark, rule.fwmask].map(text);
  return {
    priority: Number(rule.priority ?? 0),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    ...(by !== undefined && { by }),
    ...(out !== undefined && { out }),
    ...(mark !== undefined && { mark: mask === undefined ? mark : `${mark}/${mask}` }),
    not: 'not' in rule,
    action: table !== undefined ? 'lookup' : (text(rule.action) ?? 'lookup'),
    ...(table !== undefined && { table }),
    ...(typeof rule.suppress_prefixlen === 'number' && { suppressedLength: rule.suppress_prefixlen }),
    hasOther: Object.keys(rule).some((name) => !KNOWN_FIELDS.has(name)) || 'l3mdev' in rule,
  };
}

const LOCAL_TYPES = ['local', 'broadcast', 'multicast', 'anycast'];

/** One object of `ip -j -d route show table all`. */
export function routeOf(route: Json): PolicyRoute[] {
  const { dst, type = 'unicast', table = 'main', dev, gateway, metric = 0 } = route;
  if (typeof type !== 'string' || LOCAL_TYPES.includes(type) || table === 'local') return [];
  const plain = dst === 'default' ? '0.0.0.0/0' : String(dst);
  const destination = parsePrefix(plain) ?? parsePrefix(`${plain}/32`);
  const via = typeof gateway === 'string' ? parseIp(gateway) : undefined;
  if (destination === undefined) return [];
  return [
    {
      table: String(table),
      destination,
      type,
      ...(typeof dev === 'string' && { device: dev }),
      ...(via !== undefined && { via }),
      metric: Number(metric),
    },
  ];
}
