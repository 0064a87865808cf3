/**
 * Something that was looked up on a host: what was found, or why nothing could be found. A fact that does not apply to
 * this host (Docker's options where there is no Docker) is `absent`, and no failure.
 */
export type Fact<T> =
  | { readonly kind: 'known'; readonly value: T }
  | { readonly kind: 'unknown'; readonly why: string }
  | { readonly kind: 'absent'; readonly why: string };

export const knownFact = <T>(value: T): Fact<T> => ({ kind: 'known', value });
export const unknownFact = (why: string): Fact<never> => ({ kind: 'unknown', why });
export const absentFact = (why: string): Fact<never> => ({ kind: 'absent', why });

/** Thrown by {@link known}: a check that needs the fact can't look, or has nothing to look at. */
export class NoFact extends Error {
  readonly kind: 'unknown' | 'absent';

  constructor({ kind, why }: Exclude<Fact<unknown>, { kind: 'known' }>) {
    super(why);
    this.name = 'NoFact';
    this.kind = kind;
  }
}

/** The value of a fact. Throws {@link NoFact} where there is none. */
export function known<T>(fact: Fact<T>): T {
  if (fact.kind === 'known') return fact.value;
  throw new NoFact(fact);
}

/** The value of a fact, or something in its place. */
export const knownOr = <T, U>(fact: Fact<T>, otherwise: U): T | U =>
  fact.kind === 'known' ? fact.value : otherwise;
