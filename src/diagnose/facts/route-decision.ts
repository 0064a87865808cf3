import type { IpRule, PolicyRoute } from '#src/diagnose/facts/ip-rules.ts';
import { containsAddress, type Ip, overlaps, type Prefix } from '#src/lib/ip.ts';

/** A packet that is to be routed: forwarded, and without a mark. */
export interface RoutedPacket {
  readonly from: Prefix;
  readonly to: Ip;
  /** The device by which it came. */
  readonly by: string;
}

/** Where policy routing ends. Without a route the rule itself drops the packet. */
export interface Decision {
  readonly rule: IpRule;
  readonly route?: PolicyRoute;
}

/** The tables of the kernel's own rules are local, main and default (ip-rule(8)). The local one is passed over. */
export function decide(
  { rules, routes }: { readonly rules: readonly IpRule[]; readonly routes: readonly PolicyRoute[] },
  packet: RoutedPacket,
): Decision | undefined {
  for (const rule of rules.toSorted((a, b) => a.priority - b.priority)) {
    if (rule.table === 'local' || !matches(rule, packet)) continue;
    if (rule.action !== 'lookup') return DROPS.includes(rule.action) ? { rule } : undefined;
    const route = bestRoute(rule, routes, packet.to);
    if (route === undefined || route.type === 'throw') continue;
    return { rule, route };
  }
  return undefined;
}

const DROPS = ['blackhole', 'unreachable', 'prohibit'];

/** A rule with conditions that are not read here is taken for one that does not match: no finding is false. */
function matches(rule: IpRule, { from, to, by }: RoutedPacket): boolean {
  if (rule.hasOther) return false;
  const holds =
    (rule.from === undefined || overlaps(rule.from, from)) &&
    (rule.to === undefined || containsAddress(rule.to, to)) &&
    (rule.by === undefined || rule.by === by) &&
    // What is forwarded has no socket that is bound to a device.
    rule.out === undefined &&
    (rule.mark === undefined || isUnmarked(rule.mark));
  return holds !== rule.not;
}

/** Whether a packet without a mark has it: `0x10`, `0x0/0xff`. */
const isUnmarked = (mark: string): boolean => Number(mark.split('/')[0]) === 0;

function bestRoute(
  { table, suppressedLength }: IpRule,
  routes: readonly PolicyRoute[],
  to: Ip,
): PolicyRoute | undefined {
  const found = routes.filter((route) => route.table === table && containsAddress(route.destination, to));
  const [best] = found.sort((a, b) => b.destination.length - a.destination.length || a.metric - b.metric);
  return best !== undefined && suppressedLength !== undefined && best.destination.length <= suppressedLength
    ? undefined
    : best;
}
