import { sysctlCommand } from '#src/diagnose/facts/sysctls.ts';
import { RT_TABLE_MAIN } from '#src/kernel/constants.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { RouteDecision, RouteQuestion } from '#src/kernel/route-question.ts';
import {
  formatIp,
  formatPrefix,
  type Ip,
  ipv4,
  ipv6,
  isIpv4,
  lastAddress,
  masked,
  type Prefix,
} from '#src/lib/ip.ts';
import type { Files } from '#src/sys/files.ts';

/** The ways that packets of one overlay should take through this host. */
export interface WantedWays {
  /** All in one address family. */
  readonly subnet: Prefix;
  /** The subnets of peers. */
  readonly peers: readonly Prefix[];
  /** The devices that lead to peers, and from them. */
  readonly devices: readonly string[];
  /** Other devices of the overlay, with addresses in our subnet: no bridge of containers. */
  readonly beside?: readonly string[];
  /** The containers' bridge and its address in our subnet; absent until there is one. */
  readonly bridge?: { readonly name: string; readonly address: Ip };
}

export interface WaysComponents {
  readonly kernel: Pick<Kernel, 'decide'>;
  /** Of /proc/sys. */
  readonly files: Pick<Files, 'read'>;
}

/** What leads packets elsewhere, by what it does: the peers that it was seen at. */
type Findings = Map<string, { readonly remedy: string; readonly peers: Prefix[] }>;

/**
 * What keeps the kernel from forwarding the overlay's packets as they should go, one clause each: rules of policy routing, foreign
 * routes, forwarding that is off, the source check. The kernel itself is asked, so all of these count as they would for a packet.
 */
export async function findWrongWays(components: WaysComponents, ways: WantedWays): Promise<string[]> {
  const findings: Findings = new Map();
  for (const peer of ways.peers) await lookAt(components, ways, peer, findings);
  return Array.from(
    findings,
    ([what, { remedy, peers }]) => `${what.replace(PEERS, wordsFor(peers))}; ${remedy}`,
  );
}

/** Stands for the peers' subnets until all are known. */
const PEERS = '{peers}';

const wordsFor = ([first, ...others]: readonly Prefix[]): string =>
  [
    first === undefined ? '' : formatPrefix(first),
    ...(others.length > 0 ? [`${others.length} more`] : []),
  ].join(' and ');

async function lookAt(
  { kernel, files }: WaysComponents,
  ways: WantedWays,
  peer: Prefix,
  findings: Findings,
): Promise<void> {
  const { subnet, devices, bridge } = ways;
  const [here, there] = [hostIn(subnet, bridge?.address), hostIn(peer)];
  const add = ({ what, remedy }: Finding): void => {
    const known = findings.get(what);
    if (known === undefined) findings.set(what, { remedy, peers: [peer] });
    else known.peers.push(peer);
  };
  const out: RouteQuestion =
    bridge === undefined ? { to: there } : { to: there, from: here, by: bridge.name };
  const decision = await kernel.decide(out);
  const wanted = devices.join(' or ');
  if (!isWay(decision, devices)) {
    add(await explain(files, { decision, question: out, wanted, from: bridge?.name, to: PEERS }));
    return;
  }
  if (bridge === undefined) return;
  const back: RouteQuestion = { to: here, from: there, by: decision.device };
  const inward = await kernel.decide(back);
  if (!isWay(inward, [bridge.name])) {
    const to = formatPrefix(masked(subnet));
    add(
      await explain(files, {
        decision: inward,
        question: back,
        wanted: bridge.name,
        from: `${PEERS} on ${decision.device}`,
        to,
      }),
    );
  }
}

function isWay(
  decision: RouteDecision,
  devices: readonly string[],
): decision is RouteDecision & { readonly outcome: 'way' } {
  return decision.outcome === 'way' && decision.type === 'unicast' && devices.includes(decision.device);
}

interface Finding {
  readonly what: string;
  readonly remedy: string;
}

interface Seen {
  readonly decision: RouteDecision;
  readonly question: RouteQuestion;
  /** The device that the packet should leave by. */
  readonly wanted: string;
  /** In words; absent for the host's own packets. */
  readonly from: string | undefined;
  readonly to: string;
}

async function explain(files: Pick<Files, 'read'>, seen: Seen): Promise<Finding> {
  const { decision, question, wanted, from } = seen;
  const what = `packets ${from === undefined ? '' : `from ${from} `}to ${seen.to}`;
  const look = `"${commandOf(question)}" shows it`;
  if (decision.outcome === 'way') {
    const table =
      decision.table === RT_TABLE_MAIN
        ? { why: 'another route takes them', remedy: look }
        : {
            why: `routing table ${decision.table} comes first`,
            remedy: '"ip rule" shows the rule that leads there',
          };
    const way =
      decision.type === 'unicast' ? `leave by ${decision.device}` : `end on this host (${decision.device})`;
    return { what: `${what} ${way} instead of ${wanted}: ${table.why}`, remedy: table.remedy };
  }
  const { errno, message } = decision;
  const { by } = question;
  if (errno === 'EHOSTUNREACH' && by !== undefined) {
    const path = `net/${isIpv4(question.to) ? 'ipv4' : 'ipv6'}/conf/${by}/forwarding`;
    const value = await files.read(`/proc/sys/${path}`).catch(() => undefined);
    if (value?.trim() === '0')
      return {
        what: `${by} forwards no packets: its forwarding is off`,
        remedy: `run "${sysctlCommand(path, 1)}"`,
      };
  }
  if (errno === 'EXDEV')
    return {
      what: `${what} are dropped by the source check of ${by ?? 'the host'} (rp_filter): the way back leads elsewhere`,
      remedy: look,
    };
  const why = REFUSALS[errno] ?? `${message} (${errno})`;
  return { what: `${what} are not forwarded: ${why}`, remedy: `${look}, and "ip rule" the rules` };
}

/** What fib_lookup answers for a route or rule of that type (net/ipv4/fib_semantics.c, fib_props). */
const REFUSALS: Readonly<Record<string, string>> = {
  ENETUNREACH: 'there is no route',
  EHOSTUNREACH: 'a route or rule makes them unreachable',
  EACCES: 'a route or rule prohibits them',
  EINVAL: 'a route or rule throws them away',
};

const commandOf = ({ to, from, by }: RouteQuestion): string =>
  [
    `ip route get ${formatIp(to)}`,
    ...(from === undefined ? [] : [`from ${formatIp(from)}`]),
    ...(by === undefined ? [] : [`iif ${by}`]),
  ].join(' ');

/** An address of a container in the subnet: the last one, or the one before where the bridge has that. */
function hostIn(subnet: Prefix, bridge?: Ip): Ip {
  if (subnet.family === 6) {
    const last = lastAddress(subnet);
    return last === bridge ? ipv6(last - 1n) : last;
  }
  const last = ipv4(lastAddress(subnet) - 1);
  return last === bridge ? ipv4(last - 1) : last;
}
