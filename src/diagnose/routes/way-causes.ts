import { knownOr } from '#src/diagnose/facts/fact.ts';
import type { IpRule } from '#src/diagnose/facts/ip-rules.ts';
import type { RouteReader } from '#src/diagnose/routes/route-reader.ts';
import type { KernelAnswer, Wrong } from '#src/diagnose/routes/way-report.ts';
import { isFromOtherTable } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { containsAddress, formatPrefix, type Ip } from '#src/lib/ip.ts';
import { formatObject, type KernelObject, keyOf, type Route } from '#src/state/object.ts';

/** A question to the kernel, and its decision. */
export interface Asked {
  readonly decision: RouteDecision;
  readonly answer: KernelAnswer;
}

/** Why the kernel decides otherwise. */
export async function causesOf(
  ip: Ip,
  {
    route,
    found,
    asked,
  }: {
    readonly route: Route | undefined;
    readonly found: readonly KernelObject[];
    readonly asked: readonly Asked[];
  },
  reader: RouteReader,
): Promise<Wrong[]> {
  const others = asked.filter(({ answer }) => !answer.isWanted);
  const wrong: Wrong[] = [];
  const byRule = others.find(({ decision }) => isFromOtherTable(decision));
  if (byRule !== undefined) wrong.push(...ruleTexts(ip, byRule, knownOr(await reader.rules(), [])));
  const best = bestRoute(ip, found);
  const inMain = others.find(({ decision }) => decision.outcome === 'way' && !isFromOtherTable(decision));
  if (inMain !== undefined && route !== undefined && best !== undefined && keyOf(best) !== keyOf(route)) {
    const why =
      best.destination.length > route.destination.length
        ? 'is more specific than the wanted one'
        : best.destination.length === route.destination.length
          ? 'has a lower metric than the wanted one'
          : 'takes it, because the wanted route is not there';
    wrong.push({
      what: `the route ${formatObject(best)} ${why}`,
      ...(best.destination.length >= route.destination.length && {
        remedy: `ip route del ${formatObject(best)}`,
      }),
    });
  }
  const refused = others.find(({ decision }) => decision.outcome === 'refused');
  if (refused !== undefined) {
    wrong.push({
      what: `"${refused.answer.command}": ${refused.answer.answer}`,
      remedy: '"weft doctor" says which setting refuses it',
    });
  }
  return wrong;
}

function ruleTexts(ip: Ip, { decision, answer }: Asked, rules: readonly IpRule[]): Wrong[] {
  if (decision.outcome !== 'way') return [];
  const suspects = rules.filter(
    ({ table, to, not }) =>
      table !== undefined &&
      !['local', 'main', 'default'].includes(table) &&
      (not || to === undefined || containsAddress(to, ip)),
  );
  // A table may have a name in /etc/iproute2/rt_tables.
  const exact = suspects.filter(({ table }) => table === String(decision.table));
  const named = exact.length > 0 ? exact : suspects;
  const list = named.map(ruleText).join('; ');
  return [
    {
      what: `a rule of policy routing sends it to table ${decision.table}, whose way is ${answer.answer}${list === '' ? '' : `: ${list}`}`,
      remedy:
        named.length === 1
          ? `ip rule del pref ${named[0]?.priority}, or let the network's range through before it: ip rule add pref ${Math.max(0, (named[0]?.priority ?? 1) - 1)} to RANGE lookup main`
          : '"ip rule show" lists the rules',
    },
  ];
}

/** As `ip rule show` prints it. */
function ruleText({ priority, not, from, to, by, out, mark, table }: IpRule): string {
  const words = [
    `${priority}:`,
    ...(not ? ['not'] : []),
    `from ${from === undefined ? 'all' : formatPrefix(from)}`,
    ...(to === undefined ? [] : [`to ${formatPrefix(to)}`]),
    ...(by === undefined ? [] : [`iif ${by}`]),
    ...(out === undefined ? [] : [`oif ${out}`]),
    ...(mark === undefined ? [] : [`fwmark ${mark}`]),
    `lookup ${table}`,
  ];
  return words.join(' ');
}

/** The route of the main table that wins: the longest prefix, then the lowest metric. */
export const bestRoute = (ip: Ip, found: readonly KernelObject[]): Route | undefined =>
  found
    .filter((object): object is Route => object.kind === 'route' && containsAddress(object.destination, ip))
    .sort((a, b) => b.destination.length - a.destination.length || a.metric - b.metric)[0];
