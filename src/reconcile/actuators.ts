import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import type { Actuator, Stale } from '#src/reconcile/actuator.ts';
import { Kinds } from '#src/state/kinds.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';

/** All actuators as one: each kind goes to the actuator that carries it. */
export class Actuators {
  readonly kinds: Kinds<KernelObject>;
  readonly #all: readonly Actuator[];
  readonly #readers: readonly Actuator[];
  readonly #readerOf: ReadonlyMap<string, Actuator>;
  readonly #byKind: ReadonlyMap<string, Actuator>;

  /** Where two actuators carry a kind, the first has it. */
  constructor(all: readonly Actuator[]) {
    const byKind = new Map<string, Actuator>();
    const kinds = all.flatMap((actuator) =>
      actuator.kinds.filter(({ name }) => {
        if (byKind.has(name)) return false;
        byKind.set(name, actuator);
        return true;
      }),
    );
    this.#all = all;
    this.#readers = all.filter(({ read }) => read !== undefined);
    this.#readerOf = new Map([...byKind].filter(([, { read }]) => read !== undefined));
    this.#byKind = byKind;
    this.kinds = new Kinds(kinds);
  }

  /** Those whose objects can't be listed. */
  get readers(): readonly Actuator[] {
    return this.#readers;
  }

  /** Those of them that have to read before anything is done about these objects. */
  readersOf(objects: readonly KernelObject[]): Iterable<Actuator> {
    // Asked for each peer, whose objects can be listed: then nothing is made.
    let readers: Set<Actuator> | undefined;
    for (const { kind } of objects) {
      const reader = this.#readerOf.get(kind);
      if (reader !== undefined) readers = (readers ?? new Set()).add(reader);
    }
    return readers ?? NOBODY;
  }

  /** Which of {@link readers} has to read again after the event, and what. */
  *staleAfter(event: KernelEvent): Generator<readonly [Actuator, Stale]> {
    for (const actuator of this.#readers) {
      const stale = actuator.staleAfter?.(event);
      if (stale !== undefined) yield [actuator, stale];
    }
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    for (const actuator of this.#all) await actuator.monitor(listener, signal);
  }

  /** Applies operations in order. Those in a row that one actuator carries go to it in one call. */
  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    const find = (operation: Operation | undefined) => operation && this.#byKind.get(operation.object.kind);
    const results: OperationResult[][] = [];
    for (let start = 0; start < operations.length; ) {
      const actuator = find(operations[start]);
      let end = start + 1;
      while (end < operations.length && find(operations[end]) === actuator) end++;
      const run = start === 0 && end === operations.length ? operations : operations.slice(start, end);
      results.push(actuator === undefined ? run.map(refuse) : await actuator.apply(run));
      start = end;
    }
    return results.length === 1 ? (results[0] ?? []) : results.flat();
  }

  /** Calls back with every object of the query's kinds that can be listed. */
  async scan(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    for (const name of query.kinds) await this.#byKind.get(name)?.scan?.({ ...query, kinds: [name] }, visit);
  }

  /** All devices. */
  async links(): Promise<readonly Link[]> {
    const links: Link[] = [];
    await this.scan({ kinds: ['link'] }, (object) => {
      if (object.kind === 'link') links.push(object);
    });
    return links;
  }

  /** See {@link Actuator.muffle}. */
  async muffle(devices: readonly string[]): Promise<() => void> {
    const unmuffles: (() => void)[] = [];
    for (const actuator of this.#all) {
      const unmuffle = await actuator.muffle?.(devices);
      if (unmuffle !== undefined) unmuffles.push(unmuffle);
    }
    return () => {
      for (const unmuffle of unmuffles) unmuffle();
    };
  }
}

const NOBODY: readonly Actuator[] = [];

function refuse(operation: Operation): OperationResult {
  const message = `nothing here can change a ${operation.object.kind}`;
  return { operation, done: false, error: { errno: 'EOPNOTSUPP', message } };
}
