import { formatIp } from '#src/lib/ip.ts';
import { type ChangeMember, readChangeMember } from '#src/network/change-member.ts';
import type { ChangePhase, ChangePlan } from '#src/network/change-plan.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** One host of a network, as its lease shows it. */
export interface ChangeHost {
  /** The lease's name. */
  readonly lease: string;
  /** Its public address, or none. */
  readonly address: string;
  readonly kind: 'weft' | 'flannel';
  /** What it says of this change; absent where it says nothing. */
  readonly member?: ChangeMember;
  /** Why it holds the change up; absent where it does not. */
  readonly heldUpBy?: string;
}

/** Where a change stands, and who holds it up. */
export interface ChangeProgress {
  readonly hosts: readonly ChangeHost[];
  /** Hosts that hold it up and are not left out; without those that only wait for one of them. */
  readonly holders: readonly ChangeHost[];
  /** What is to be done: the phase that comes next, or the end of the plan. `undefined` while somebody holds it up. */
  readonly next: ChangePhase | 'end' | undefined;
}

export interface LeaseText {
  readonly name: string;
  readonly value: string;
}

const NEXT: Readonly<Record<ChangePhase, ChangePhase | 'end'>> = {
  prepare: 'moving',
  moving: 'settling',
  settling: 'end',
  aborted: 'end',
};

/**
 * Where a change stands by what all hosts say. A phase is over when each host is done in it with each of its peers. `without`:
 * hosts that are not waited for, by lease or address. Pure.
 */
export function progressOf(
  plan: Pick<ChangePlan, 'id' | 'phase'>,
  leases: readonly LeaseText[],
  without: readonly string[] = [],
): ChangeProgress {
  const hosts = hostsOf(leases).map(({ member, ...host }): ChangeHost => {
    // What is left of an earlier change says nothing of this one.
    return { ...host, ...(member?.id === plan.id && { member }) };
  });
  const isLeftOut = ({ lease, address }: Pick<ChangeHost, 'lease' | 'address'>): boolean =>
    without.includes(lease) || without.includes(address);
  const leftOut = new Set(hosts.filter(isLeftOut).map(({ lease }) => lease));
  // A host that has yet to hear of another one can't be done with it.
  const others = hosts.filter(({ kind, lease }) => kind === 'weft' && !leftOut.has(lease)).length - 1;
  const judged = hosts.map((host): ChangeHost => {
    const heldUpBy = whyNot(plan, host, { leftOut, others });
    return { ...host, ...(heldUpBy !== undefined && { heldUpBy }) };
  });
  const held = judged.filter(({ heldUpBy, lease }) => heldUpBy !== undefined && !leftOut.has(lease));
  // Those that wait for these alone have done their own part.
  const causes = new Set(held.filter(({ member }) => member?.phase !== plan.phase).map(({ lease }) => lease));
  const holders = held.filter(({ lease, member }) => {
    const names = Object.keys(member?.waits ?? {});
    return causes.has(lease) || names.length === 0 || !names.every((name) => causes.has(name));
  });
  return { hosts: judged, holders, next: held.length === 0 ? NEXT[plan.phase] : undefined };
}

/** The hosts that hold a lease, by its name. What nobody can read, and an operator's reservation that no host has taken, are none. */
export function hostsOf(leases: readonly LeaseText[]): readonly ChangeHost[] {
  // A store lists them in any order.
  const sorted = [...leases].sort((a, b) => (a.name < b.name ? -1 : 1));
  return sorted.flatMap(({ name, value }): ChangeHost[] => {
    const decoded = parseSubnetName(name) === undefined ? undefined : decodeAttributes(value);
    if (decoded?.ok !== true) return [];
    const { attributes } = decoded;
    const { node, backendType, backendData } = attributes;
    if (node === undefined && backendType === '' && backendData === undefined) return [];
    const member = readChangeMember(attributes);
    return [
      {
        lease: name,
        address: addressOf(attributes),
        kind: node === undefined ? 'flannel' : 'weft',
        ...(member !== undefined && { member }),
      },
    ];
  });
}

function whyNot(
  { phase }: Pick<ChangePlan, 'phase'>,
  { kind, member }: Omit<ChangeHost, 'heldUpBy'>,
  { leftOut, others }: { readonly leftOut: ReadonlySet<string>; readonly others: number },
): string | undefined {
  // At the end flannel has read the config that names the backend, or has gone on with the old one all the time.
  if (kind === 'flannel') {
    return phase === 'prepare' || phase === 'moving' ? 'it runs flannel, which takes no part' : undefined;
  }
  // Nobody has moved to a host that announced nothing, and it moves nobody before it did.
  if (phase === 'aborted' && member?.phase === undefined) return undefined;
  if (member === undefined)
    return 'it has said nothing yet: its flanneld is down, or of a version without changes';
  if (member.trouble !== undefined) return member.trouble;
  if (member.phase !== phase) return `it is in phase ${member.phase ?? 'none'} still`;
  if (member.other === undefined) return 'it has not announced both paths yet';
  const { done, of, waits } = member;
  if (of < others) return `it uses ${of} of ${others} other hosts: "weft leases" there says why`;
  const names = Object.keys(waits);
  const isOnlyLeftOut = of - done === names.length && names.every((name) => leftOut.has(name));
  if (done >= of || isOnlyLeftOut) return undefined;
  const named = Object.entries(waits).filter(([name]) => !leftOut.has(name));
  const [first] = named;
  const why = first === undefined ? '' : `: ${first[0]}: ${first[1]}`;
  return `it is done with ${done} of ${of} peers${why}`;
}

const addressOf = ({ publicIp, publicIpv6 }: LeaseAttributes): string => {
  const ip = publicIp === undefined || publicIp === 0 ? publicIpv6 : publicIp;
  return ip === undefined ? 'no address' : formatIp(ip);
};
