import type { ContainerApi, DescribedContainer } from '#src/docker/container-api.ts';
import { type Checkpoints, checkpointFolder } from '#src/driver/moves/checkpoints.ts';
import type { MoveBook } from '#src/driver/moves/move-book.ts';
import type { MoveLedger } from '#src/driver/moves/move-ledger.ts';
import { planMove, retiredName } from '#src/driver/moves/move-plan.ts';
import type { MovedContainer } from '#src/driver/moves/move-record.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { RegistryError } from '#src/registry/errors.ts';

export interface MoveOffersComponents {
  readonly ledger: MoveLedger;
  readonly book: MoveBook;
  readonly containers: ContainerApi;
  readonly checkpoints: Checkpoints;
  /** The tenant of one of Docker's networks here. */
  readonly tenantOf: (networkId: string) => string | undefined;
  /** The hosts there are, by identity. */
  readonly hosts: () => ReadonlyMap<string, { readonly hostName: string }>;
  readonly newId: () => string;
}

export interface MoveOffersOptions {
  /** The identity of this host. */
  readonly self: string;
}

export interface MoveWish {
  /** By name or ID. */
  readonly container: string;
  /** A host by name or identity. */
  readonly to: string;
  readonly keep: boolean;
  readonly anyImage: boolean;
  /** A folder that both hosts see, for a checkpoint of its processes; empty for none. */
  readonly checkpointDir: string;
}

export interface MoveOffer {
  readonly id: string;
  /** What moves and what does not; one line each. */
  readonly lines: readonly string[];
}

/** Who is asked looks at its Docker. */
const ANSWER_MS = 10_000;
/** Offers that may still be begun. */
const MOST_OFFERS = 100;

/** Containers of this host that other hosts are asked to take. Nothing is touched before an offer is begun. */
export class MoveOffers {
  readonly #components: MoveOffersComponents;
  readonly #options: MoveOffersOptions;
  readonly #offers = new Map<string, { readonly wish: MoveWish; readonly container: DescribedContainer }>();

  constructor(components: MoveOffersComponents, options: MoveOffersOptions) {
    this.#components = components;
    this.#options = options;
  }

  /**
   * Asks the other host, and says what would be done. Nothing has been touched then. Throws WeftError `move` with the reason
   * why it can't be moved, or why the other host does not take it.
   */
  async offer(wish: MoveWish, signal: AbortSignal): Promise<MoveOffer> {
    const { ledger, containers, tenantOf, newId, book } = this.#components;
    const { self } = this.#options;
    const { id: to, hostName } = this.#hostCalled(wish.to);
    const container = await containers.describe(wish.container, signal);
    if (container === undefined)
      throw refused(`there is no container ${wish.container} on this host`, '"docker ps" lists them');
    const { name } = container;
    if (Object.values(book.state.outgoing).some((move) => move.container === container.id))
      throw refused(`container ${name} is being moved already`, 'wait for its end');
    if (wish.keep && (await containers.describe(retiredName(name), signal)) !== undefined)
      throw refused(
        `there is a container ${retiredName(name)} on this host already`,
        'remove it, or move without --keep',
      );
    const changedFiles = container.running ? await containers.changedFiles(container.id, signal) : 0;
    const layers = (await containers.image(container.imageId, signal))?.layers ?? [];
    const id = newId();
    const { checkpointDir } = wish;
    const checkpoint = checkpointDir === '' ? undefined : checkpointFolder(checkpointDir, id);
    const facts = { ...wish, container, tenantOf, changedFiles, layers, checkpoint, to: hostName };
    const plan = planMove(facts);
    if (plan.kind === 'refuse') throw refused(plan.reason, plan.remedy);
    if (checkpoint !== undefined) await this.#prepare(checkpoint, signal);
    await ledger.create({ id, from: self, to, state: 'asked', container: plan.container }, signal);
    const asked = ledger.get(id);
    if (asked?.state === 'asked') await ledger.changed(id, asked, ANSWER_MS, signal);
    const answer = ledger.get(id);
    if (answer?.state !== 'accepted') {
      if (answer !== undefined) await ledger.remove(answer, signal);
      if (checkpoint !== undefined) await this.#components.checkpoints.remove(checkpoint);
      const silent = `host ${hostName} gave no answer in ${ANSWER_MS / 1_000} s: see that flanneld and Docker run there`;
      throw refused(answer?.reason ?? silent);
    }
    this.#remember(id, { wish, container });
    const title = `container ${name} (${container.id.slice(0, SHORT_ID)}, image ${container.image}) to host ${hostName}:`;
    return { id, lines: [title, ...plan.lines.map((line) => `  ${line}`)] };
  }

  /** Takes back an offer that was not begun. */
  async cancel(id: string, signal: AbortSignal): Promise<void> {
    const { ledger } = this.#components;
    const known = ledger.get(id);
    if (!this.#offers.delete(id) || known === undefined) return;
    await ledger.remove(known, signal);
    const { checkpoint } = known.container;
    if (checkpoint !== undefined) await this.#components.checkpoints.remove(checkpoint);
  }

  /** Does what was offered: the book has it then, and OutgoingMoves.run takes it from there. Throws WeftError `move` when the offer is too old. */
  async begin(id: string, signal: AbortSignal): Promise<void> {
    const { ledger, book } = this.#components;
    const offer = this.#offers.get(id);
    const known = ledger.get(id);
    this.#offers.delete(id);
    if (offer === undefined || known?.state !== 'accepted')
      throw refused('what was said of this container is too old', 'repeat the command');
    const { wish, container } = offer;
    await book.setOutgoing(id, {
      container: container.id,
      name: container.name,
      to: known.to,
      keep: wish.keep,
      ...(known.container.checkpoint !== undefined && { checkpoint: known.container.checkpoint }),
      isStopping: false,
      addresses: addressesOf(known.container),
    });
    try {
      if (await ledger.advance(known, { state: 'wanted' }, signal)) return;
    } catch (error) {
      // It may have been written: who takes the move on finds out.
      if (error instanceof RegistryError) return;
      throw error;
    }
    await book.setOutgoing(id, undefined);
    throw refused('the other host has changed its mind', 'repeat the command');
  }

  async #prepare(checkpoint: string, signal: AbortSignal): Promise<void> {
    const { checkpoints } = this.#components;
    const fault = await checkpoints.fault(signal);
    if (fault !== undefined)
      throw refused(`its processes can't be frozen here: ${fault}`, 'move it without --checkpoint-dir');
    await checkpoints.prepare(checkpoint).catch((cause: unknown) => {
      throw refused(
        `its processes can't be frozen into ${checkpoint}: ${messageOf(cause)}`,
        'choose another folder',
      );
    });
  }

  #remember(id: string, offer: { readonly wish: MoveWish; readonly container: DescribedContainer }): void {
    this.#offers.set(id, offer);
    const [oldest] = this.#offers.keys();
    if (this.#offers.size > MOST_OFFERS && oldest !== undefined) this.#offers.delete(oldest);
  }

  #hostCalled(text: string): { id: string; hostName: string } {
    const { hosts } = this.#components;
    const { self } = this.#options;
    const all = Array.from(hosts(), ([id, { hostName }]) => ({ id, hostName }));
    const [first, second] = all.filter(({ id, hostName }) => id === text || hostName === text);
    if (second !== undefined) throw refused(`several hosts are called ${text}`, 'give the identity of one');
    if (first === undefined)
      throw refused(
        `there is no host ${text} with Docker networks of weft`,
        `there are ${all.map(({ hostName }) => hostName).join(', ')}`,
      );
    if (first.id === self) throw refused(`host ${text} is this one`, 'name another');
    return first;
  }
}

const SHORT_ID = 12;

const addressesOf = ({ networks }: MovedContainer) =>
  networks.flatMap(({ tenant, ipv4, ipv6 }) =>
    tenant === undefined ? [] : [ipv4, ipv6].filter(Boolean).map((ip) => ({ tenant, ip })),
  );

const refused = (why: string, remedy?: string): WeftError =>
  new WeftError('move', why, remedy === undefined ? {} : { remedy });
