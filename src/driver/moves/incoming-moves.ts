import type { ContainerApi } from '#src/docker/container-api.ts';
import type { Checkpoints } from '#src/driver/moves/checkpoints.ts';
import {
  ContainerMaker,
  type ContainerMakerComponents,
  type ContainerMakerOptions,
} from '#src/driver/moves/container-maker.ts';
import type { MoveBook } from '#src/driver/moves/move-book.ts';
import type { KnownMove, MoveLedger } from '#src/driver/moves/move-ledger.ts';
import type { MovedAttachment, MovedContainer } from '#src/driver/moves/move-record.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';

export interface IncomingMovesComponents extends ContainerMakerComponents {
  readonly ledger: MoveLedger;
  readonly book: MoveBook;
  readonly containers: ContainerApi;
  readonly checkpoints: Checkpoints;
  /** The identity of the host that has published the address, as far as this one knows. */
  readonly holderOf: (tenant: string, ip: string) => string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface IncomingMovesOptions extends ContainerMakerOptions {
  /** The identity of this host. */
  readonly self: string;
}

const PAUSES = { baseMs: 500, capMs: 5_000 };
/** A container that started is in use by its addresses soon; after that the move is given up. */
const PUBLISH_MS = 20_000;
/** The former host has given them back, which is heard here a moment later. */
const RELEASE_MS = 5_000;
const LOOK_MS = 100;

/** Containers that come to this host. */
export class IncomingMoves {
  readonly #components: IncomingMovesComponents;
  readonly #options: IncomingMovesOptions;
  readonly #maker: ContainerMaker;
  /** Moves that a step is being taken of. */
  readonly #busy = new Set<string>();

  constructor(components: IncomingMovesComponents, options: IncomingMovesOptions) {
    this.#components = components;
    this.#options = options;
    this.#maker = new ContainerMaker(components, options);
  }

  /** A move may have got to a step of this host's. */
  async look(id: string, signal: AbortSignal): Promise<void> {
    const { ledger, book, clock, log } = this.#components;
    const isOurs = ledger.get(id)?.to === this.#options.self || book.state.incoming[id] !== undefined;
    if (!isOurs || this.#busy.has(id)) return;
    this.#busy.add(id);
    const backoff = new Backoff(this.#components, PAUSES);
    try {
      for (;;) {
        const known = ledger.get(id);
        try {
          await this.#step(id, known, signal);
          if (ledger.get(id) === known) return;
        } catch (error) {
          signal.throwIfAborted();
          log.warning(`Move ${id} waits: ${messageOf(error)}`);
          await clock.sleep(backoff.next(), signal);
        }
      }
    } finally {
      this.#busy.delete(id);
    }
  }

  async #step(id: string, known: KnownMove | undefined, signal: AbortSignal): Promise<void> {
    const { book, ledger } = this.#components;
    switch (known?.state) {
      case 'asked': {
        const reason = await this.#maker.faultOf(known.container, signal);
        await ledger.advance(
          known,
          reason === undefined ? { state: 'accepted' } : { state: 'refused', reason },
          signal,
        );
        return;
      }
      case 'wanted':
        return this.#make(known, signal);
      case 'stopped':
        return this.#start(known, signal);
      case 'taken-back':
        await this.#undo(id, signal);
        return ledger.remove(known, signal);
      case 'running':
        if (book.state.incoming[id] !== undefined) await book.setIncoming(id, undefined);
        return;
      case undefined:
        return this.#settleLost(id, signal);
    }
  }

  async #make(known: KnownMove, signal: AbortSignal): Promise<void> {
    const { book, ledger, log } = this.#components;
    const { id, container, from } = known;
    const { name } = container;
    await this.#attempt(known, signal, async () => {
      // Made before this process ended.
      const [made] = await this.#maker.madeFor(id, signal);
      if (made === undefined) await book.setIncoming(id, { isStarting: false });
      const dockerId = made ?? (await this.#maker.make(id, container, signal));
      await book.setIncoming(id, { container: dockerId, isStarting: false });
      if (!(await ledger.advance(known, { state: 'created' }, signal))) return;
      log.info(`Made container ${name}, which comes from host ${from}`);
    });
  }

  async #start(known: KnownMove, signal: AbortSignal): Promise<void> {
    const { containers, book, ledger, log } = this.#components;
    const { id, container } = known;
    const { container: dockerId } = book.state.incoming[id] ?? {};
    await this.#attempt(known, signal, async () => {
      if (dockerId === undefined) throw new WeftError('move', `host ${this.#options.hostName} has lost it`);
      await book.setIncoming(id, { container: dockerId, isStarting: true });
      const { checkpoint } = container;
      await this.#untilReleased(known, signal);
      if (checkpoint === undefined) await containers.start(dockerId, signal);
      else if (!(await containers.describe(dockerId, signal))?.running)
        await this.#components.checkpoints.restore(dockerId, checkpoint, signal);
      await this.#untilInUse(dockerId, container, signal);
      if (!(await ledger.advance(known, { state: 'running' }, signal))) return;
      log.info(`Container ${container.name} runs here now`);
    });
  }

  /** What Docker refuses ends the move; without an answer the step is taken again. */
  async #attempt(known: KnownMove, signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    const { ledger, log } = this.#components;
    try {
      await step();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RegistryError) throw error;
      const reason = messageOf(error);
      log.warning(`Could not take over container ${known.container.name}: ${reason}`);
      await this.#undo(known.id, signal);
      await ledger.advance(known, { state: 'failed', reason }, signal);
    }
  }

  async #untilReleased({ from, container }: KnownMove, signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const areReleased = (): boolean => !this.#holdersOf(container.networks).includes(from);
    const what = `release of container ${container.name}'s addresses`;
    await until(areReleased, { what, timeoutMs: RELEASE_MS, intervalMs: LOOK_MS, signal, clock });
  }

  #holdersOf(networks: readonly MovedAttachment[]): (string | undefined)[] {
    return networks.flatMap(({ tenant, ipv4, ipv6 }) =>
      tenant === undefined
        ? []
        : [ipv4, ipv6].filter(Boolean).map((ip) => this.#components.holderOf(tenant, ip)),
    );
  }

  async #untilInUse(
    dockerId: string,
    { name, networks }: MovedContainer,
    signal: AbortSignal,
  ): Promise<void> {
    const { containers, clock } = this.#components;
    const isInUse = async (): Promise<boolean> => {
      const now = await containers.describe(dockerId, signal);
      if (now?.running !== true) {
        const why = now?.fault ? now.fault : `its process ended with exit code ${now?.exitCode ?? 'unknown'}`;
        throw new WeftError(
          'move',
          `container ${name} did not stay up on host ${this.#options.hostName}: ${why}`,
        );
      }
      return this.#holdersOf(networks).every((holder) => holder === this.#options.self);
    };
    const what = `address of container ${name} in the registry`;
    await until(isInUse, { what, timeoutMs: PUBLISH_MS, intervalMs: LOOK_MS, signal, clock });
  }

  /** The record ended before the move did. */
  async #settleLost(id: string, signal: AbortSignal): Promise<void> {
    const { containers, book, log } = this.#components;
    const booked = book.state.incoming[id];
    if (booked === undefined) return;
    const there =
      booked.container === undefined ? undefined : await containers.describe(booked.container, signal);
    // Its former host can't have it: the addresses are here.
    if (booked.isStarting && there?.running) return book.setIncoming(id, undefined);
    log.warning(`Move ${id} has ended without an outcome: its container is removed here`);
    await this.#undo(id, signal);
  }

  /** Removes what was made here. */
  async #undo(id: string, signal: AbortSignal): Promise<void> {
    const { containers, book } = this.#components;
    const booked = book.state.incoming[id];
    if (booked === undefined) return;
    // One that was made and could not be booked has the label.
    const made = booked.container === undefined ? await this.#maker.madeFor(id, signal) : [booked.container];
    for (const container of made) await containers.remove(container, signal);
    await book.setIncoming(id, undefined);
  }
}
