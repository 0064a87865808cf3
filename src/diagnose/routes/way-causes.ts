import { knownOr } from '#src/diagnose/facts/fact.ts';
import type { IpRule, PolicyRoute } from '#src/diagnose/facts/ip-rules.ts';
import type { RouteReader } from '#src/diagnose/routes/route-reader.ts';
import type { KernelAnswer, Wrong } from '#src/diagnose/routes/way-report.ts';
import { isFromOtherTable } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { containsAddress, equalPrefix, formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';
import type { Route } from '#src/state/object.ts';

/** A question to the kernel, and its decision. */
export interface Asked {
  readonly decision: RouteDecision;
  readonly answer: KernelAnswer;
}

export interface OtherWay {
  readonly ip: Ip;
  /** The network's range. */
  readonly network: Prefix;
  /** The route that should take the packet. */
  readonly route: Route | undefined;
  readonly asked: readonly Asked[];
}

/** Why the kernel decides otherwise than wanted: rules of policy routing, another route, or a refusal. */
export async function causesOf(
  { ip, network, route, asked }: OtherWay,
  reader: RouteReader,
): Promise<Wrong[]> {
  const others = asked.filter(({ answer }) => !answer.isWanted);
  const [rules, routes] = await Promise.all([
    reader.rules().then((fact) => knownOr(fact, [])),
    reader.routes().then((fact) => knownOr(fact, [])),
  ]);
  const best = bestRoute(ip, routes);
  const isOther = best !== undefined && !(route !== undefined && isSame(best, route));
  const byRule = others.find(({ decision }) => isFromOtherTable(decision));
  const inMain = others.find(({ decision }) => !isFromOtherTable(decision));
  const wrong: Wrong[] = [];
  if (byRule !== undefined) wrong.push(ruleCause(ip, network, byRule.decision, rules));
  if (inMain !== undefined && isOther) wrong.push(routeCause(best, route));
  else if (inMain?.decision.outcome === 'refused') {
    const { decision, answer } = inMain;
    const drop = rules.find(
      ({ action, to }) => action !== 'lookup' && (to === undefined || containsAddress(to, ip)),
    );
    wrong.push(
      drop === undefined
        ? {
            what: `"${answer.command}" is refused: ${decision.message} (${decision.errno})`,
            remedy: '"weft doctor" names the setting that refuses it',
          }
        : { what: `the rule "${formatRule(drop)}" refuses it`, remedy: `ip rule del pref ${drop.priority}` },
    );
  }
  return wrong;
}

function routeCause(best: PolicyRoute, route: Route | undefined): Wrong {
  const text = formatPolicyRoute(best);
  const [length, wanted] = [best.destination.length, route?.destination.length ?? 0];
  if (length < wanted) return { what: `the route ${text} takes it, because the wanted route is not there` };
  const why = length > wanted ? 'is more specific than the wanted one' : 'comes before the wanted one';
  return { what: `the route ${text} ${why}`, remedy: `ip route del ${text}` };
}

function ruleCause(ip: Ip, network: Prefix, decision: RouteDecision, rules: readonly IpRule[]): Wrong {
  const table = decision.outcome === 'way' ? decision.table : 0;
  const way = decision.outcome === 'way' ? wayText(decision) : '';
  const suspects = rules.filter(
    (rule) =>
      rule.table !== undefined &&
      !KERNELS_OWN.includes(rule.table) &&
      (rule.not || rule.to === undefined || containsAddress(rule.to, ip)),
  );
  // A table may have a name in /etc/iproute2/rt_tables.
  const exact = suspects.filter((rule) => rule.table === String(table));
  const [first, ...more] = exact.length > 0 ? exact : suspects;
  if (first === undefined || more.length > 0) {
    const named = [...(first === undefined ? [] : [first]), ...more].map((rule) => `"${formatRule(rule)}"`);
    const which = named.length === 0 ? '' : `, one of ${named.join(', ')}`;
    const what = `a rule of policy routing sends it to table ${table}${which}: there it goes ${way}`;
    return { what, remedy: '"ip rule show" lists the rules' };
  }
  const before = Math.max(1, first.priority - 1);
  return {
    what: `the rule "${formatRule(first)}" sends it to table ${table}: there it goes ${way}`,
    remedy: `ip rule del pref ${first.priority}; or except the network: ip rule add pref ${before} to ${formatPrefix(network)} lookup main`,
  };
}

/** The tables of the kernel's own three rules. */
const KERNELS_OWN = ['local', 'main', 'default'];

const wayText = ({ device, via }: Extract<RouteDecision, { outcome: 'way' }>): string =>
  via === undefined ? `by ${device}` : `by ${device} via ${formatIp(via)}`;

const isSame = (best: PolicyRoute, route: Route): boolean =>
  equalPrefix(best.destination, route.destination) && best.device === route.device && best.via === route.via;

/** The route of the main table that wins: the longest prefix, then the lowest metric. */
export const bestRoute = (ip: Ip, routes: readonly PolicyRoute[]): PolicyRoute | undefined =>
  routes
    .filter(({ table, destination }) => table === 'main' && containsAddress(destination, ip))
    .sort((a, b) => b.destination.length - a.destination.length || a.metric - b.metric)[0];

/** As `ip route` takes it. */
export function formatPolicyRoute({ type, destination, device, via, metric }: PolicyRoute): string {
  const words = [
    ...(type === 'unicast' ? [] : [type]),
    destination.length === 0 ? 'default' : formatPrefix(destination),
    ...(via === undefined ? [] : ['via', formatIp(via)]),
    ...(device === undefined ? [] : ['dev', device]),
    ...(metric === 0 ? [] : ['metric', String(metric)]),
  ];
  return words.join(' ');
}

/** As `ip rule show` prints it. */
function formatRule({ priority, not, from, to, by, out, mark, table, action }: IpRule): string {
  const words = [
    `${priority}:`,
    ...(not ? ['not'] : []),
    `from ${from === undefined ? 'all' : formatPrefix(from)}`,
    ...(to === undefined ? [] : [`to ${formatPrefix(to)}`]),
    ...(by === undefined ? [] : [`iif ${by}`]),
    ...(out === undefined ? [] : [`oif ${out}`]),
    ...(mark === undefined ? [] : [`fwmark ${mark}`]),
    table === undefined ? action : `lookup ${table}`,
  ];
  return words.join(' ');
}
