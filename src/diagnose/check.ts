import type { HostFacts } from '#src/diagnose/host-facts.ts';

/** One thing that may be wrong on a host, judged from facts: of a network here, or of what is installed. */
export interface Check<Facts = HostFacts> {
  /** Stable, in kebab case: `forward-policy`. */
  readonly id: string;
  /** What is looked at, a few words for `--list`. */
  readonly title: string;
  /** Why it matters, one sentence; also in docs/reference/checks.md. */
  readonly why: string;
  /**
   * Checks whose findings this one's finding causes: they are left out then. A relation without circles.
   */
  readonly causes: readonly string[];
  /** It repeats in general words what others say exactly: left out when any of them finds something. */
  readonly lastResort?: true;
  /**
   * Looks at facts and never at the machine. `undefined`: nothing is wrong. Throws NoFact (facts/fact.ts) where a fact is
   * missing.
   */
  look(facts: Facts): Finding | undefined;
}

/** What is wrong. */
export interface Finding {
  /** One sentence, with the names and numbers of this host. */
  readonly what: string;
  /** The command or the file that mends it, exactly. */
  readonly remedy: string;
  /** The leases that it is about; absent when it is about the whole host. */
  readonly leases?: readonly string[];
}

/** Where a check is explained. */
export const docsOf = (id: string): string => `docs/reference/checks.md#${id}`;

/** For a list in a sentence: the first few, and how many more. */
export function some(items: readonly string[], most = 3): string {
  const more = items.length - most;
  return more > 0 ? `${items.slice(0, most).join(', ')} and ${more} more` : items.join(', ');
}
