import type { DumpQuery } from '#src/kernel/kernel.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Kinds } from '#src/state/kinds.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

interface Claim {
  readonly holding: Holding;
  readonly scope: Scope;
}

type KindName = KernelObject['kind'];

/** The scopes of all owners: which part of the kernel is looked at, and whose it is. */
export class Territory {
  readonly #kinds: Kinds<KernelObject>;
  readonly #holdings = new Map<Holding, readonly Scope[] | undefined>();
  /** By kind, then by device; `undefined` for scopes without one. */
  readonly #claims = new Map<KindName, Map<string | undefined, Claim[]>>();
  /** The scopes were asked for in this stretch of work, in which no owner has changed its own. */
  #isCurrent = false;

  constructor(kinds: Kinds<KernelObject> = KINDS) {
    this.#kinds = kinds;
  }

  get holdings(): Iterable<Holding> {
    return this.#holdings.keys();
  }

  add(holding: Holding): void {
    this.#holdings.set(holding, undefined);
    this.#isCurrent = false;
  }

  remove(holding: Holding): void {
    this.#unclaim(holding, this.#holdings.get(holding));
    this.#holdings.delete(holding);
  }

  /** An owner may have other scopes now. */
  mayHaveChanged(): void {
    this.#isCurrent = false;
  }

  /** Whether it is kept though nobody wants it: an owner made it, or it is a device that matters to one. */
  isFollowed(object: KernelObject): boolean {
    for (const { scope } of this.#claimsOn(object))
      if (this.#kinds.of(object).isDevice || scope.owns(object)) return true;
    return false;
  }

  /**
   * For which owner an object that nobody wants is removed; `undefined` when it stays. Where several owners might have
   * made it, each of them must allow it.
   */
  remover(object: KernelObject): Holding | undefined {
    if (!this.#kinds.of(object).isRemovable) return undefined;
    let remover: Holding | undefined;
    for (const { holding, scope } of this.#claimsOn(object)) {
      if (!scope.owns(object)) continue;
      if (!holding.mayRemove) return undefined;
      remover ??= holding;
    }
    return remover;
  }

  /** What has to be listed to see all scopes, each part once; links come as one list of all of them. */
  queries(): DumpQuery[] {
    this.#refresh();
    const queries = new Map<string, DumpQuery>();
    for (const [kind, byDevice] of this.#claims) {
      if (kind === 'link') {
        queries.set(kind, { kinds: [kind] });
        continue;
      }
      // A list of all is one walk of the kernel over its table, and one for each device as many walks.
      if (byDevice.size > LISTED_ONE_BY_ONE) {
        queries.set(`${kind} undefined undefined`, { kinds: [kind] });
        continue;
      }
      for (const { scope } of [...byDevice.values()].flat()) {
        const query: DumpQuery = { kinds: [kind], ...scope.filter };
        queries.set(`${kind} ${query.device} ${query.protocol}`, query);
      }
    }
    return withoutCovered(queries);
  }

  /** The same for the scopes of some owners; of links only those of their devices. */
  queriesOf(holdings: readonly Holding[]): DumpQuery[] {
    const queries = new Map<string, DumpQuery>();
    for (const holding of holdings) {
      for (const { kinds, filter } of holding.scopes()) {
        for (const kind of kinds) {
          const query: DumpQuery = { kinds: [kind], ...filter };
          queries.set(`${kind} ${query.device} ${query.protocol}`, query);
        }
      }
    }
    return withoutCovered(queries);
  }

  /** Devices of which this owner alone follows the entries of these kinds. */
  devicesOf(holding: Holding, kinds: readonly KindName[]): string[] {
    this.#refresh();
    const devices = new Set<string>();
    for (const scope of holding.scopes()) {
      const device = deviceIn(scope);
      if (device !== undefined && kinds.some((kind) => scope.kinds.includes(kind))) devices.add(device);
    }
    const isAlone = (device: string) =>
      kinds.every((kind) =>
        [device, undefined]
          .flatMap((name) => this.#claims.get(kind)?.get(name) ?? [])
          .every((claim) => claim.holding === holding),
      );
    return [...devices].filter(isAlone);
  }

  *#claimsOn(object: KernelObject): Generator<Claim> {
    this.#refresh();
    const byDevice = this.#claims.get(object.kind);
    if (byDevice === undefined) return;
    const device = this.#kinds.of(object).deviceOf(object);
    for (const claim of byDevice.get(device) ?? []) if (hasProtocol(object, claim.scope)) yield claim;
    if (device === undefined) return;
    for (const claim of byDevice.get(undefined) ?? []) if (hasProtocol(object, claim.scope)) yield claim;
  }

  /**
   * Owners hand out the same list as long as it has not changed. They are asked once in a stretch of work: there may be 1,000,
   * and a stretch may be a list of 100,000 objects.
   */
  #refresh(): void {
    if (this.#isCurrent) return;
    for (const [holding, known] of this.#holdings) {
      const scopes = holding.scopes();
      if (scopes === known) continue;
      this.#unclaim(holding, known);
      this.#holdings.set(holding, scopes);
      this.#claim(holding, scopes);
    }
    this.#isCurrent = true;
    queueMicrotask(() => this.mayHaveChanged());
  }

  #claim(holding: Holding, scopes: readonly Scope[]): void {
    for (const scope of scopes) {
      for (const kind of scope.kinds) {
        const byDevice = this.#claims.get(kind) ?? new Map<string | undefined, Claim[]>();
        this.#claims.set(kind, byDevice);
        const device = deviceIn(scope);
        const claims = byDevice.get(device);
        if (claims === undefined) byDevice.set(device, [{ holding, scope }]);
        else claims.push({ holding, scope });
      }
    }
  }

  #unclaim(holding: Holding, scopes: readonly Scope[] = []): void {
    for (const scope of scopes) {
      for (const kind of scope.kinds) {
        const byDevice = this.#claims.get(kind);
        const device = deviceIn(scope);
        const rest = byDevice?.get(device)?.filter((claim) => claim.holding !== holding) ?? [];
        if (rest.length > 0) byDevice?.set(device, rest);
        else byDevice?.delete(device);
        if (byDevice?.size === 0) this.#claims.delete(kind);
      }
    }
  }
}

/** Devices of which each has a list of its own. */
const LISTED_ONE_BY_ONE = 32;

/** An unfiltered list holds what the filtered ones do. */
const withoutCovered = (queries: ReadonlyMap<string, DumpQuery>): DumpQuery[] =>
  [...queries.values()].filter(
    ({ kinds: [kind], device, protocol }) =>
      (device === undefined && protocol === undefined) || !queries.has(`${kind} undefined undefined`),
  );

/** Scopes are found by kind and device; what remains to be asked is the protocol. */
const hasProtocol = (object: KernelObject, { filter }: Scope): boolean =>
  filter === undefined ||
  !('protocol' in filter) ||
  (object.kind === 'route' && object.protocol === filter.protocol);

const deviceIn = ({ filter }: Scope): string | undefined =>
  filter !== undefined && 'device' in filter ? filter.device : undefined;
