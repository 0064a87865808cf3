import { WeftError } from '#src/lib/errors.ts';
import { type BackendConfig, readBackendOf } from '#src/network/backend-config.ts';
import type { GoObject } from '#src/network/go-json.ts';
import { type JsonMember, membersOf } from '#src/network/json-members.ts';

/**
 * Where a change of the network's path stands, for all of its hosts. `prepare`: they bring up the new path beside the old.
 * `moving`: they move the ways to their peers. `settling`: the config names the new backend, and leases follow. `aborted`:
 * all go back to the old path.
 */
export type ChangePhase = 'prepare' | 'moving' | 'settling' | 'aborted';

/**
 * A change that is under way. It is a member of the network config, which flannel ignores, so that plan and backend change in
 * one write, and every host sees both at once.
 */
export interface ChangePlan {
  readonly id: string;
  readonly phase: ChangePhase;
  /** The path beside `Backend`: the new one, and in phase `settling` the old one. */
  readonly other: BackendConfig;
  /** The host on which the change was begun, and when (ISO 8601). */
  readonly by: string;
  readonly at: string;
}

export const CHANGE_MEMBER = 'WeftChange';
const PHASES: readonly ChangePhase[] = ['prepare', 'moving', 'settling', 'aborted'];

/** Whether hosts publish the new path as their own in this phase, and the network config names it. */
export const isSwitched = (phase: ChangePhase): boolean => phase === 'settling';

/** Whether packets go, or are to go, by the new path in this phase. */
export const movesForward = (phase: ChangePhase): boolean => phase === 'moving' || phase === 'settling';

/** The plan in a network config; `undefined` when there is none. Throws WeftError `config` for one that can't be read. */
export function readChangePlan(config: GoObject): ChangePlan | undefined {
  const plan = config.object(CHANGE_MEMBER);
  if (plan === undefined) return undefined;
  const id = plan.string('Id');
  const phase = PHASES.find((one) => one === plan.string('Phase'));
  if (id === undefined || !/^[\w-]{1,40}$/.test(id)) throw plan.error('Id', 'a change needs an id');
  if (phase === undefined) throw plan.error('Phase', 'there is no such phase of a change');
  const name = nameOfOther(phase);
  if (plan.object(name) === undefined) throw plan.error(name, 'a change needs a second backend');
  return {
    id,
    phase,
    other: readBackendOf(plan, name),
    by: plan.string('By') ?? '',
    at: plan.string('At') ?? '',
  };
}

const nameOfOther = (phase: ChangePhase): 'From' | 'To' => (isSwitched(phase) ? 'From' : 'To');

/** Who begins a change. */
export interface ChangeOrigin {
  readonly id: string;
  readonly by: string;
  readonly at: string;
}

/** The config's text with a plan to another backend, given as JSON, beside what the operator wrote. */
export function withPlan(text: string, to: string, { id, by, at }: ChangeOrigin): string {
  const plan = `{"Id":${json(id)},"Phase":"prepare","To":${to},"By":${json(by)},"At":${json(at)}}`;
  return written([...without(text, CHANGE_MEMBER), { name: CHANGE_MEMBER, text: plan }]);
}

/** The text with the plan in another phase. With `settling`, and with the way back from there, the backends change places. */
export function withPhase(text: string, phase: ChangePhase): string {
  const plan = membersOf(lastText(text, CHANGE_MEMBER) ?? '{}') ?? [];
  const known = PHASES.find((one) => json(one) === textOf(plan, 'Phase')) ?? 'prepare';
  const backend = lastText(text, 'Backend') ?? UDP;
  const other = textOf(plan, nameOfOther(known)) ?? UDP;
  const isSwap = isSwitched(phase) !== isSwitched(known);
  const next = plan.map((member): JsonMember => {
    if (isNamed(member, 'Phase')) return { ...member, text: json(phase) };
    if (!isNamed(member, nameOfOther(known))) return member;
    return { name: nameOfOther(phase), text: isSwap ? backend : other };
  });
  const members = membersOf(text) ?? [];
  const rest = isSwap ? replaced(members, 'Backend', other) : members;
  return written(replaced(rest, CHANGE_MEMBER, written(next)));
}

/** The text without a plan. */
export const withoutPlan = (text: string): string => written(without(text, CHANGE_MEMBER));

/** The text with another backend. What else the operator wrote stays, whether or not somebody reads it. */
export const withBackend = (text: string, backend: string): string =>
  written(replaced(membersOf(text) ?? [], 'Backend', backend));

/** The text of `Backend`, as it stands there; flannel takes none for udp. */
export const backendText = (text: string): string => lastText(text, 'Backend') ?? UDP;

/** The text of the plan's other backend. */
export function otherText(text: string): string | undefined {
  const plan = membersOf(lastText(text, CHANGE_MEMBER) ?? '{}') ?? [];
  return textOf(plan, 'To') ?? textOf(plan, 'From');
}

const UDP = '{"Type":"udp"}';

function replaced(members: readonly JsonMember[], name: string, text: string): readonly JsonMember[] {
  const at = members.findLastIndex((member) => isNamed(member, name));
  if (at < 0) return [...members, { name, text }];
  // Go reads the last of several spellings.
  return members
    .map((member, index) => (index === at ? { ...member, text } : member))
    .filter((member, index) => index === at || !isNamed(member, name));
}

const without = (text: string, name: string): readonly JsonMember[] =>
  (membersOf(text) ?? []).filter((member) => !isNamed(member, name));

const lastText = (text: string, name: string): string | undefined => textOf(membersOf(text) ?? [], name);

const textOf = (members: readonly JsonMember[], name: string): string | undefined =>
  members.findLast((member) => isNamed(member, name))?.text;

const isNamed = (member: JsonMember, name: string): boolean =>
  member.name.toLowerCase() === name.toLowerCase();

const written = (members: readonly JsonMember[]): string =>
  `{${members.map(({ name, text }) => `${json(name)}:${text}`).join(',')}}`;

const json = (value: string): string => JSON.stringify(value);

/** A plan that was begun elsewhere. */
export const underWay = ({ id, phase, by, at }: ChangePlan): WeftError =>
  new WeftError(
    'change-under-way',
    `a change of this network is under way already: ${id}, phase ${phase}, begun on ${by} at ${at}`,
    { remedy: 'look at it with "weft network change --status", or end it with --abort' },
  );
