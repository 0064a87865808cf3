import type { Codecs } from '#src/kernel/codecs.ts';
import { DeviceLookup, type DeviceNames, type OtherNamespaces } from '#src/kernel/device-names.ts';
import { DeviceIndexes, findBy } from '#src/kernel/find-device.ts';
import { type Request, sizeOf } from '#src/kernel/message.ts';
import type { Batch, RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import type { KernelError, Operation, OperationResult } from '#src/state/operation.ts';
import type { Clock } from '#src/sys/clock.ts';
import { SystemError } from '#src/sys/errno.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/** Messages of one send: more gain nothing, fewer hold up less (docs/performance.md). */
const BATCH_MIN = 8;
const BATCH_MAX = 512;
/** On another thread, where nothing is held up and each send costs a change of threads. */
const BATCH_ASIDE = 1_020;
/** Bytes of one send: well below any net.core.wmem_default. */
const BATCH_BYTES = 64 << 10;
/** Milliseconds that one send should take: the batch grows below the one and shrinks above the other. */
const BATCH_MS_LOW = 1;
const BATCH_MS_HIGH = 3;
/**
 * From this number of operations on, another thread sends them. For fewer, waking it would take
 * longer than the work.
 */
const ASIDE_FROM = 64;
/** A send that found no memory has changed nothing: it is tried again, smaller. */
const SEND_AGAIN: readonly string[] = ['ENOBUFS', 'EAGAIN', 'EINTR', 'EMSGSIZE'];

export interface ChangeSenderComponents {
  /** Nothing else may use it. */
  readonly changes: RtnetlinkClient;
  readonly questions: RtnetlinkClient;
  readonly clock: Clock;
  readonly codecs: Codecs;
  readonly namespaces?: OtherNamespaces | undefined;
}

/** What goes into one send. */
interface Load {
  readonly batch: Batch;
  /** One for each operation: why it could not be made into a message. */
  readonly refusals: readonly (KernelError | undefined)[];
  /** What the messages name. Closed when they are done. */
  readonly names: DeviceLookup;
}

type Way = 'here' | 'aside';
type Answers = readonly (KernelError | undefined)[];

/** Applies operations in order, many to one send. */
export class ChangeSender {
  readonly #changes: RtnetlinkClient;
  readonly #questions: RtnetlinkClient;
  readonly #indexes: DeviceIndexes;
  readonly #clock: Clock;
  readonly #codecs: Codecs;
  readonly #namespaces: OtherNamespaces | undefined;
  /** Messages of the next send. */
  readonly #sizes: Record<Way, number> = { here: 64, aside: BATCH_ASIDE };

  constructor({ changes, questions, clock, codecs, namespaces }: ChangeSenderComponents) {
    this.#codecs = codecs;
    this.#namespaces = namespaces;
    this.#changes = changes;
    this.#questions = questions;
    this.#indexes = new DeviceIndexes(questions);
    this.#clock = clock;
  }

  /** One result each, in the same order. To be called when the call before has ended. */
  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    const way: Way = operations.length < ASIDE_FROM ? 'here' : 'aside';
    const budget = new TurnBudget(this.#clock);
    const results: OperationResult[] = [];
    let load = await this.#load(operations, 0, way, budget);
    while (results.length < operations.length) {
      const next = results.length + load.refusals.length;
      const [sent, loaded] = await Promise.allSettled([
        this.#send(load, way),
        this.#loadAhead(operations, next, way, budget),
      ]);
      load.names.close();
      const ahead = loaded.status === 'fulfilled' ? loaded.value : undefined;
      if (sent.status === 'rejected' || loaded.status === 'rejected') {
        ahead?.names.close();
        throw sent.status === 'rejected' ? sent.reason : (loaded as PromiseRejectedResult).reason;
      }
      const answers = sent.value;
      if (answers !== undefined) addResults(results, operations, load, answers);
      if (results.length === operations.length) break;
      await budget.turn();
      if (answers === undefined) ahead?.names.close();
      load = (answers && ahead) ?? (await this.#load(operations, results.length, way, budget));
    }
    return results;
  }

  /** Made while the kernel works, unless it has to see what that changes. */
  async #loadAhead(
    operations: readonly Operation[],
    start: number,
    way: Way,
    budget: TurnBudget,
  ): Promise<Load | undefined> {
    const [before, next] = [operations[start - 1], operations[start]];
    return next === undefined || this.#startsBatch(next, before)
      ? undefined
      : this.#load(operations, start, way, budget);
  }

  async #load(operations: readonly Operation[], start: number, way: Way, budget: TurnBudget): Promise<Load> {
    const names = new DeviceLookup(findBy(this.#questions), this.#namespaces, (name) =>
      this.#indexes.of(name),
    );
    const requests: Request[] = [];
    const refusals: (KernelError | undefined)[] = [];
    let bytes = 0;
    for (let at = start; at < operations.length && requests.length < this.#sizes[way]; at++) {
      const operation = operations[at];
      if (operation === undefined || (at > start && this.#startsBatch(operation, operations[at - 1]))) break;
      const made = this.#prepare(operation, names);
      if ('request' in made) {
        bytes += sizeOf(made.request);
        if (bytes > BATCH_BYTES && requests.length > 0) break;
        requests.push(made.request);
      }
      refusals.push('error' in made ? made.error : undefined);
      if (budget.isSpent) await budget.turn();
    }
    return { batch: this.#changes.prepare(requests), refusals, names };
  }

  /** What the kernel answers, or `undefined` when nothing was sent and a smaller load should be tried. */
  async #send({ batch }: Load, way: Way): Promise<Answers | undefined> {
    if (batch.count === 0) return [];
    const began = this.#clock.monotonic();
    try {
      if (way === 'aside') return await this.#changes.sendAside(batch);
      const answers = this.#changes.send(batch);
      this.#adapt(batch.count, this.#clock.monotonic() - began);
      return answers;
    } catch (error) {
      if (!(error instanceof SystemError) || !SEND_AGAIN.includes(error.code)) throw error;
      if (batch.count === 1) return [{ errno: error.code, message: error.message }];
      this.#sizes[way] = Math.ceil(batch.count / 2);
      return undefined;
    }
  }

  /**
   * Whether it may not go out together with the operation before it: a device's index is known only once it is made, and
   * {@link KindCodec.refuse} must see what was done before.
   */
  #startsBatch(operation: Operation, before: Operation | undefined): boolean {
    if (before === undefined) return false;
    if (this.#codecs.of(before.object.kind).endsBatch) return true;
    return (before.verb === 'remove') !== (operation.verb === 'remove');
  }

  #prepare(operation: Operation, names: DeviceNames) {
    const error = this.#codecs.of(operation.object.kind).refuse?.(operation, this.#questions);
    return error === undefined ? this.#codecs.requestOf(operation, names) : { error };
  }

  /** A route may cost a hundred times what another does: with thousands that differ by gateway only, each add walks them all. */
  #adapt(count: number, ms: number): void {
    let size = this.#sizes.here;
    if (ms > BATCH_MS_HIGH) size = Math.floor(size / 2);
    else if (ms < BATCH_MS_LOW && count >= size) size *= 2;
    this.#sizes.here = Math.min(BATCH_MAX, Math.max(BATCH_MIN, size));
  }
}

function addResults(
  results: OperationResult[],
  operations: readonly Operation[],
  { refusals }: Load,
  answers: Answers,
): void {
  let next = 0;
  for (const refused of refusals) {
    const operation = operations[results.length] as Operation;
    const error = refused ?? answers[next++];
    results.push(error === undefined ? { operation, done: true } : { operation, done: false, error });
  }
}
