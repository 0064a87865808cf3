import type { ContainerApi } from '#src/docker/container-api.ts';
import type { Checkpoints } from '#src/driver/moves/checkpoints.ts';
import type { MoveBook, OutgoingMove } from '#src/driver/moves/move-book.ts';
import type { KnownMove, MoveLedger } from '#src/driver/moves/move-ledger.ts';
import { retiredName } from '#src/driver/moves/move-plan.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';

export interface OutgoingMovesComponents {
  readonly ledger: MoveLedger;
  readonly book: MoveBook;
  readonly containers: ContainerApi;
  readonly checkpoints: Checkpoints;
  /** The hosts there are, by identity. */
  readonly hosts: () => ReadonlyMap<string, { readonly hostName: string }>;
  /** The host that has published an address, as the registry has it now. */
  readonly holderOf: (tenant: string, ip: string, signal: AbortSignal) => Promise<string | undefined>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** How far a move is. */
export interface MoveProgress {
  /** What has been done, in words; more are added. */
  readonly steps: readonly string[];
  /** `undone`: the container is where it was. */
  readonly end?: 'moved' | 'undone';
}

const CREATE_MS = 30_000;
/** Longer than the other host tries. */
const START_MS = 45_000;
/** The same where memory comes from a disk. */
const RESTORE_MS = 300_000;
const RELEASE_MS = 10_000;
const LOOK_MS = 50;
const PAUSES = { baseMs: 500, capMs: 5_000 };
/** Docker's own, where the container has none. */
const GRACE_SECONDS = 10;
/** Moves whose ends are remembered. */
const MOST_REMEMBERED = 100;

/**
 * Containers that leave this host. A move that fails leaves the container where it was: it is started here again, and this
 * is tried until it runs, also by a later process.
 */
export class OutgoingMoves {
  readonly #components: OutgoingMovesComponents;
  readonly #progress = new Map<string, MoveProgress>();

  constructor(components: OutgoingMovesComponents) {
    this.#components = components;
  }

  /** Of a move that was begun; `undefined` for any other. */
  progress(id: string): MoveProgress | undefined {
    const isUnderWay = this.#components.book.state.outgoing[id] !== undefined;
    return this.#progress.get(id) ?? (isUnderWay ? { steps: [] } : undefined);
  }

  /** Takes a move of the book to its end. */
  async run(id: string, signal: AbortSignal): Promise<void> {
    const { ledger, book, clock, log } = this.#components;
    const backoff = new Backoff(this.#components, PAUSES);
    let last = '';
    for (;;) {
      const move = book.state.outgoing[id];
      if (move === undefined) return;
      const known = ledger.get(id);
      try {
        await this.#step(id, move, known, signal);
        backoff.reset();
      } catch (error) {
        signal.throwIfAborted();
        const why = messageOf(error);
        if (why !== last) log.warning(`The move of container ${move.name} waits: ${why}`);
        last = why;
        await clock.sleep(backoff.next(), signal);
      }
    }
  }

  async #step(
    id: string,
    move: OutgoingMove,
    known: KnownMove | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    switch (known?.state) {
      case 'wanted':
        return this.#await(known, CREATE_MS, signal);
      case 'created':
        return this.#stop(id, move, known, signal);
      case 'stopped':
        return this.#await(known, known.container.checkpoint === undefined ? START_MS : RESTORE_MS, signal);
      case 'running':
        return this.#finish(id, move, known, signal);
      case 'asked':
      case 'accepted':
        return this.#takeBack(known, 'it was not begun', signal);
      case 'refused':
      case 'failed':
      case 'taken-back':
        return this.#restore(id, move, known, signal);
      case undefined:
        return this.#settleLost(id, move, signal);
    }
  }

  async #await(known: KnownMove, ms: number, signal: AbortSignal): Promise<void> {
    if (await this.#components.ledger.changed(known.id, known, ms, signal)) return;
    await this.#takeBack(known, `host ${this.#nameOf(known.to)} did not go on in ${ms / 1_000} s`, signal);
  }

  async #stop(id: string, move: OutgoingMove, known: KnownMove, signal: AbortSignal): Promise<void> {
    const { containers, checkpoints, book, ledger } = this.#components;
    const { container, checkpoint } = move;
    this.#say(id, `made on host ${this.#nameOf(move.to)}`);
    await book.setOutgoing(id, { ...move, isStopping: true });
    const { StopTimeout: grace } = known.container.config;
    try {
      if (checkpoint === undefined)
        await containers.stop(container, typeof grace === 'number' ? grace : GRACE_SECONDS, signal);
      else if ((await containers.describe(container, signal))?.running)
        await checkpoints.freeze(container, checkpoint, signal);
      await this.#untilReleased(move, known, signal);
    } catch (error) {
      signal.throwIfAborted();
      return this.#takeBack(known, messageOf(error), signal);
    }
    this.#say(id, checkpoint === undefined ? 'stopped here' : 'frozen here');
    await ledger.advance(known, { state: 'stopped' }, signal);
  }

  /** Docker gives the addresses back by itself, a moment after the processes have ended. */
  async #untilReleased(
    { name, addresses }: OutgoingMove,
    { from }: KnownMove,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, holderOf } = this.#components;
    const areReleased = async (): Promise<boolean> => {
      const holders = await Promise.all(addresses.map(({ tenant, ip }) => holderOf(tenant, ip, signal)));
      return !holders.includes(from);
    };
    const what = `end of container ${name}'s use of its addresses`;
    await until(areReleased, { what, timeoutMs: RELEASE_MS, intervalMs: LOOK_MS, signal, clock });
  }

  /** The other host's next step fails from now on, and it removes what it made. */
  async #takeBack(known: KnownMove, reason: string, signal: AbortSignal): Promise<void> {
    await this.#components.ledger.advance(known, { state: 'taken-back', reason }, signal);
  }

  async #finish(
    id: string,
    move: OutgoingMove,
    known: KnownMove | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { containers, checkpoints, book, ledger, log } = this.#components;
    const { name, container, checkpoint, keep, to } = move;
    this.#say(id, `runs on host ${this.#nameOf(to)}`);
    if (keep) await this.#retire(id, move, signal);
    else await containers.remove(container, signal);
    if (known !== undefined) await ledger.remove(known, signal);
    if (checkpoint !== undefined) await checkpoints.remove(checkpoint);
    await book.setOutgoing(id, undefined);
    log.info(`Container ${name} has moved to host ${this.#nameOf(to)}`);
    this.#end(id, 'moved', keep ? `left here, stopped, as ${retiredName(name)}` : 'removed here');
  }

  async #retire(id: string, { container, name }: OutgoingMove, signal: AbortSignal): Promise<void> {
    try {
      await this.#components.containers.retire(container, retiredName(name), signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof WeftError) || error.code !== 'docker-refused') throw error;
      this.#say(id, `it stays here under its name: ${messageOf(error)}`);
    }
  }

  /** The container runs here again, or never stopped. */
  async #restore(
    id: string,
    move: OutgoingMove,
    known: KnownMove | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { book, checkpoints, ledger, log } = this.#components;
    const { name, checkpoint, isStopping } = move;
    if (isStopping) await this.#startAgain(id, move, signal);
    // What was taken back is removed by the other host, when it has seen it.
    if (known !== undefined && known.state !== 'taken-back') await ledger.remove(known, signal);
    if (checkpoint !== undefined) await checkpoints.remove(checkpoint);
    await book.setOutgoing(id, undefined);
    const reason = known?.reason ?? 'its record in the registry was lost';
    log.warning(`Container ${name} was not moved: ${reason}`);
    this.#end(id, 'undone', `not moved: ${reason}`);
  }

  async #startAgain(id: string, { container, checkpoint }: OutgoingMove, signal: AbortSignal): Promise<void> {
    const { containers, checkpoints } = this.#components;
    const there = await containers.describe(container, signal);
    if (there === undefined || there.running) return;
    if (checkpoint !== undefined) {
      try {
        await checkpoints.restore(container, checkpoint, signal);
        this.#say(id, 'restored here');
        return;
      } catch (error) {
        signal.throwIfAborted();
        this.#say(id, `could not be restored here: ${messageOf(error)}`);
      }
    }
    await containers.start(container, signal);
    this.#say(id, 'started here again');
  }

  /** The record is gone: the addresses show who has the container. */
  async #settleLost(id: string, move: OutgoingMove, signal: AbortSignal): Promise<void> {
    const { holderOf } = this.#components;
    const holders = await Promise.all(move.addresses.map(({ tenant, ip }) => holderOf(tenant, ip, signal)));
    const isThere = move.isStopping && holders.length > 0 && holders.every((holder) => holder === move.to);
    return isThere ? this.#finish(id, move, undefined, signal) : this.#restore(id, move, undefined, signal);
  }

  #nameOf(id: string): string {
    return this.#components.hosts().get(id)?.hostName ?? id;
  }

  #say(id: string, step: string): void {
    const { steps } = this.#progress.get(id) ?? { steps: [] };
    if (steps.at(-1) !== step) this.#remember(id, { steps: [...steps, step] });
  }

  #end(id: string, end: 'moved' | 'undone', step: string): void {
    const { steps } = this.#progress.get(id) ?? { steps: [] };
    this.#remember(id, { steps: [...steps, step], end });
  }

  #remember(id: string, progress: MoveProgress): void {
    this.#progress.set(id, progress);
    const [oldest] = this.#progress.keys();
    if (this.#progress.size > MOST_REMEMBERED && oldest !== undefined) this.#progress.delete(oldest);
  }
}
