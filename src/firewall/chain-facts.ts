import {
  isUnconditional,
  type SavedChain,
  type SavedRule,
  type SavedTable,
} from '#src/firewall/iptables-save.ts';

const FINAL = new Set(['ACCEPT', 'DROP', 'REJECT', 'RETURN', 'MASQUERADE', 'SNAT', 'QUEUE', 'NFQUEUE']);

/**
 * What is asked of a chain again and again, found once: a host with 1,000 networks has as many jumps in it, and each network asks.
 * Kept for as long as the listing is.
 */
export class ChainFacts {
  static readonly #known = new WeakMap<SavedChain, ChainFacts>();
  readonly #name: string;
  readonly #chain: SavedChain;
  readonly #places = new Map<SavedRule, number>();
  #byTarget: Map<string | undefined, SavedRule[]> | undefined;
  #byText: Map<string, SavedRule[]> | undefined;
  #end: number | undefined;

  private constructor(name: string, chain: SavedChain) {
    this.#name = name;
    this.#chain = chain;
  }

  static of(table: SavedTable, name: string): ChainFacts | undefined {
    const chain = table.get(name);
    if (chain === undefined) return undefined;
    const facts = ChainFacts.#known.get(chain) ?? new ChainFacts(name, chain);
    ChainFacts.#known.set(chain, facts);
    return facts;
  }

  /** Rules with this target that can be named to iptables-restore, which reads a line as a rule. */
  withTarget(target: string): readonly SavedRule[] {
    if (this.#byTarget === undefined) this.#index();
    return this.#byTarget?.get(target) ?? [];
  }

  /** Those with the same options, comments and random ports left out. */
  like(text: string): readonly SavedRule[] {
    if (this.#byText === undefined) this.#index();
    return this.#byText?.get(text) ?? [];
  }

  /** The rule's place in the chain. */
  placeOf(rule: SavedRule): number {
    if (this.#byText === undefined) this.#index();
    return this.#places.get(rule) ?? -1;
  }

  /** Where the first rule stands after which no packet goes on; -1 when there is none. */
  endIn(table: SavedTable): number {
    this.#end ??= endOf(table, this.#chain.rules, this.#name);
    return this.#end;
  }

  #index(): void {
    this.#byTarget = new Map();
    this.#byText = new Map();
    for (const [place, rule] of this.#chain.rules.entries()) {
      this.#places.set(rule, place);
      if (rule.text.includes('\n')) continue;
      put(this.#byTarget, rule.target, rule);
      put(this.#byText, plainText(rule), rule);
    }
  }
}

function put<K>(map: Map<K, SavedRule[]>, key: K, rule: SavedRule): void {
  const rules = map.get(key);
  if (rules === undefined) map.set(key, [rule]);
  else rules.push(rule);
}

/** A rule without what later versions of flannel have added to it. */
export const plainText = ({ options }: SavedRule): string =>
  options.filter((option) => !/^(-m comment|--comment|--random-fully)/.test(option)).join(' ');

/** Docker's chain for the rules of its users. What they drop there is dropped, and all of the overlay may be what they mean. */
const USERS = 'DOCKER-USER';

/**
 * Where the first of some rules of a chain stands after which no packet goes on, and which is not for its users to say; -1 when there
 * is none.
 */
export function endOf(table: SavedTable, rules: readonly SavedRule[], chain: string): number {
  const isEnd = (target: string): boolean => (chain === USERS ? target === 'RETURN' : ends(table, target));
  return rules.findIndex((rule) => isUnconditional(rule) && isEnd(rule.target ?? ''));
}

function ends(table: SavedTable, target: string): boolean {
  if (FINAL.has(target)) return true;
  if (target === USERS) return false;
  const facts = ChainFacts.of(table, target);
  const last = facts && table.get(target)?.rules[facts.endIn(table)];
  return last !== undefined && last.target !== 'RETURN';
}
