import type { Check, Finding } from '#src/diagnose/check.ts';
import { NoFact } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';

/** What a diagnosis of one network says. */
export interface Diagnosis {
  readonly checks: number;
  /** The most important first: causes before what is unrelated to them, in the order of the catalogue. */
  readonly findings: readonly CheckFinding[];
  /** Found, and left out because another finding causes it. */
  readonly consequences: readonly { readonly id: string; readonly of: string }[];
  /** Checks that could not look, with the reason. Those with nothing to look at are not among them. */
  readonly unknown: readonly { readonly id: string; readonly why: string }[];
}

export interface CheckFinding extends Finding {
  readonly id: string;
  readonly why: string;
}

/** {@link judge} of a network on this host. */
export function runChecks(facts: HostFacts, checks: readonly Check[]): Diagnosis {
  // A host that is no node of the network has no faults of it.
  if (facts.network.kind === 'unknown' && facts.daemon.state === 'stopped') {
    const { why } = facts.network;
    const unknown = checks.map(({ id }) => ({ id, why }));
    return { checks: checks.length, findings: [], consequences: [], unknown };
  }
  return judge(facts, checks);
}

/** Runs checks on facts. One cause is one finding: what it causes is left out. */
export function judge<Facts>(facts: Facts, checks: readonly Check<Facts>[]): Diagnosis {
  const found: CheckFinding[] = [];
  const unknown: Diagnosis['unknown'][number][] = [];
  for (const { id, why, look } of checks) {
    try {
      const finding = look(facts);
      if (finding !== undefined) found.push({ id, why, ...finding });
    } catch (error) {
      if (!(error instanceof NoFact)) throw error;
      if (error.kind === 'unknown') unknown.push({ id, why: error.message });
    }
  }
  const consequences = consequencesIn(found, checks);
  const left = new Set(consequences.map(({ id }) => id));
  return {
    checks: checks.length,
    findings: found.filter(({ id }) => !left.has(id)),
    consequences,
    unknown,
  };
}

/** What a check says of others. */
type Causes = Pick<Check, 'id' | 'causes' | 'lastResort'>;

/** Which findings are caused by which others, through checks in between as well. */
function consequencesIn(
  found: readonly CheckFinding[],
  checks: readonly Causes[],
): Diagnosis['consequences'] {
  const isLast = ({ id }: CheckFinding): boolean => checks.some((it) => it.id === id && it.lastResort);
  const exact = found.find((finding) => !isLast(finding));
  return found.flatMap((finding) => {
    const cause =
      found.find((other) => other !== finding && explains(other, finding, checks)) ??
      (isLast(finding) ? exact : undefined);
    return cause === undefined ? [] : [{ id: finding.id, of: cause.id }];
  });
}

/** A cause that is about some leases explains what is about these, and nothing that is about others too. */
function explains(cause: CheckFinding, { id, leases }: CheckFinding, checks: readonly Causes[]): boolean {
  if (!causedBy(cause.id, checks).has(id)) return false;
  if (cause.leases === undefined || leases === undefined) return true;
  return leases.every((lease) => cause.leases?.includes(lease));
}

/** All that a check's finding can cause, at first hand or further on. */
export function causedBy(id: string, checks: readonly Causes[]): ReadonlySet<string> {
  const all = new Set<string>();
  const visit = (from: string): void => {
    for (const next of checks.find((check) => check.id === from)?.causes ?? []) {
      if (all.has(next)) continue;
      all.add(next);
      visit(next);
    }
  };
  visit(id);
  return all;
}
