import type { HostFacts } from '#src/diagnose/trace/host-facts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Link } from '#src/state/object.ts';

const RT_TABLE_MAIN = 254;

/** The kernel's decision in the words of `ip route get`. */
export function decisionText(decision: RouteDecision): string {
  if (decision.outcome === 'refused') return `the kernel refuses it: ${decision.message} (${decision.errno})`;
  const { type, device, via, source, table } = decision;
  const words = [
    ...(type === 'unicast' ? [] : [type]),
    ...(via === undefined ? [] : ['via', formatIp(via)]),
    ...(device === '' ? [] : ['dev', device]),
    ...(source === undefined ? [] : ['src', formatIp(source)]),
    ...(table === RT_TABLE_MAIN || table === 0 || table === 255 ? [] : ['table', String(table)]),
  ];
  return words.join(' ');
}

/** Whether the route came from a table that only a rule of somebody leads to. */
export const isFromOtherTable = (decision: RouteDecision): boolean =>
  decision.outcome === 'way' && ![RT_TABLE_MAIN, 0, 255].includes(decision.table);

/** As `ip -br link` prints it: name, whether it is on, whether it has a carrier. */
export const linkText = ({ name, up, running, master, mtu }: Link): string =>
  [
    name,
    up ? 'up' : 'DOWN',
    ...(up && !running ? ['NO-CARRIER'] : []),
    ...(master ? [`in ${master}`] : []),
    ...(mtu === undefined ? [] : [`mtu ${mtu}`]),
  ].join(' ');

export const carries = (link: Link | undefined): boolean => link?.up === true && link.running === true;

/** BR_STATE_FORWARDING and its neighbours in linux/if_bridge.h. */
const BR_STATES = ['disabled', 'listening', 'learning', 'forwarding', 'blocking'];

/** What a bridge does with one of its devices; `undefined` when it forwards, or that is not known. */
export function portFault({ ports }: HostFacts, device: string): string | undefined {
  const state = ports.find((port) => port.device === device)?.state;
  if (state === undefined || BR_STATES[state] === 'forwarding') return undefined;
  return `${device} is ${BR_STATES[state] ?? `in state ${state}`}`;
}

/** The device by which the packet goes. */
export const wayOut = (decision: RouteDecision): string | undefined =>
  decision.outcome === 'way' && decision.device !== '' ? decision.device : undefined;

export const linkCalled = (links: readonly Link[], name: string | undefined): Link | undefined =>
  links.find((link) => link.name === name);
