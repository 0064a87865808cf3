import type { ContainerApi, NewAttachment, NewContainer } from '#src/docker/container-api.ts';
import type { DockerApi } from '#src/docker/docker-api.ts';
import { NETWORK_OPTION } from '#src/driver/address-requests.ts';
import { DRIVER } from '#src/driver/docker-comparison.ts';
import type { MoveBook } from '#src/driver/moves/move-book.ts';
import type { KnownMove, MoveLedger } from '#src/driver/moves/move-ledger.ts';
import type { MovedAttachment, MovedContainer, MovedPort } from '#src/driver/moves/move-record.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';

export interface IncomingMovesComponents {
  readonly ledger: MoveLedger;
  readonly book: MoveBook;
  readonly containers: ContainerApi;
  readonly docker: Pick<DockerApi, 'networks'>;
  /** This host has published the address. */
  readonly isPublished: (tenant: string, ip: string) => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface IncomingMovesOptions {
  /** The identity of this host. */
  readonly self: string;
  readonly hostName: string;
  /** Containers are made here for other hosts: `--accept-moves`. */
  readonly accepts: boolean;
}

const PAUSES = { baseMs: 500, capMs: 5_000 };
/** A container that started is in use by its addresses soon; after that the move is given up. */
const PUBLISH_MS = 20_000;
const LOOK_MS = 100;
const LABEL = 'weft.move';

/** Containers that come to this host. */
export class IncomingMoves {
  readonly #components: IncomingMovesComponents;
  readonly #options: IncomingMovesOptions;
  /** Moves that a step is being taken of. */
  readonly #busy = new Set<string>();

  constructor(components: IncomingMovesComponents, options: IncomingMovesOptions) {
    this.#components = components;
    this.#options = options;
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
        const reason = await this.#faultOf(known.container, signal);
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

  /** Why the container can't be here; `undefined` when it can. */
  async #faultOf(container: MovedContainer, signal: AbortSignal): Promise<string | undefined> {
    const { containers } = this.#components;
    const { hostName, accepts } = this.#options;
    const { name, image, ports } = container;
    if (!accepts)
      return `host ${hostName} takes no containers of other hosts: its flanneld runs without --accept-moves`;
    if ((await containers.describe(name, signal)) !== undefined)
      return `there is a container ${name} on host ${hostName} already`;
    if ((await this.#imageFor(container, signal)) === undefined) {
      const other = (await containers.image(image, signal)) !== undefined;
      return other
        ? `image ${image} is another one on host ${hostName}: bring the same one ("docker save ${image} | ssh ${hostName} docker load"), or add --any-image`
        : `image ${image} is not on host ${hostName}: "docker pull ${image}" there, or "docker save ${image} | ssh ${hostName} docker load"`;
    }
    for (const { tenant } of container.networks)
      if (tenant !== undefined && (await this.#networkOf(tenant, signal)) === undefined)
        return `network ${tenant} is not on host ${hostName}: a user removed it there`;
    const taken = await this.#takenPort(ports, signal);
    if (taken !== undefined)
      return `port ${taken.port}/${taken.protocol} of host ${hostName} is that of container ${taken.container}`;
    return undefined;
  }

  async #make(known: KnownMove, signal: AbortSignal): Promise<void> {
    const { containers, book, ledger, log } = this.#components;
    const { id, container, from } = known;
    const { name } = container;
    await this.#attempt(known, signal, async () => {
      const fault = this.#options.accepts ? undefined : await this.#faultOf(container, signal);
      if (fault !== undefined) throw new WeftError('move', fault);
      // Made before this process ended.
      const [made] = await containers.withLabel(`${LABEL}=${id}`, signal);
      if (made === undefined) await book.setIncoming(id, { isStarting: false });
      const dockerId = made ?? (await containers.create(await this.#describe(known, signal), signal));
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
      await containers.start(dockerId, signal);
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

  async #untilInUse(
    dockerId: string,
    { name, networks }: MovedContainer,
    signal: AbortSignal,
  ): Promise<void> {
    const { containers, clock, isPublished } = this.#components;
    const addresses = networks.flatMap(({ tenant, ipv4, ipv6 }) =>
      tenant === undefined ? [] : [ipv4, ipv6].filter(Boolean).map((ip) => ({ tenant, ip })),
    );
    const isInUse = async (): Promise<boolean> => {
      const now = await containers.describe(dockerId, signal);
      if (now?.running !== true) {
        const why = now?.fault ? now.fault : `its process ended with exit code ${now?.exitCode ?? 'unknown'}`;
        throw new WeftError(
          'move',
          `container ${name} did not stay up on host ${this.#options.hostName}: ${why}`,
        );
      }
      return addresses.every(({ tenant, ip }) => isPublished(tenant, ip));
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
    const made =
      booked.container === undefined
        ? await containers.withLabel(`${LABEL}=${id}`, signal)
        : [booked.container];
    for (const container of made) await containers.remove(container, signal);
    await book.setIncoming(id, undefined);
  }

  async #describe({ id, container }: KnownMove, signal: AbortSignal): Promise<NewContainer> {
    const { name, config, hostConfig, networks } = container;
    const attachments = await Promise.all(networks.map((attachment) => this.#attachment(attachment, signal)));
    const [first, ...further] = attachments;
    const labels = { ...(config.Labels as object | undefined), [LABEL]: id };
    const isOnBridge = first === undefined || networks[0]?.tenant === undefined;
    return {
      name,
      config: {
        ...config,
        Image: (await this.#imageFor(container, signal)) ?? container.image,
        Labels: labels,
      },
      hostConfig: { ...hostConfig, NetworkMode: isOnBridge ? 'default' : first.network },
      ...(!isOnBridge && { network: first }),
      further,
    };
  }

  async #attachment({ tenant, ...rest }: MovedAttachment, signal: AbortSignal): Promise<NewAttachment> {
    if (tenant === undefined) return { network: 'bridge', ...rest };
    const network = await this.#networkOf(tenant, signal);
    if (network === undefined)
      throw new WeftError('move', `network ${tenant} is not on host ${this.#options.hostName}`);
    return { network, ...rest };
  }

  /** The name of Docker's network of a tenant here. */
  async #networkOf(tenant: string, signal: AbortSignal): Promise<string | undefined> {
    const networks = await this.#components.docker.networks(DRIVER, signal);
    return networks.find(({ options }) => options[NETWORK_OPTION] === tenant)?.name;
  }

  /** By its name where that means the same files, else by its ID. */
  async #imageFor(container: MovedContainer, signal: AbortSignal): Promise<string | undefined> {
    const { containers } = this.#components;
    const { image, imageId, layers, anyImage } = container;
    const named = await containers.image(image, signal);
    const isSame = named?.id === imageId || (layers.length > 0 && named?.layers.join() === layers.join());
    if (named !== undefined && (anyImage || isSame)) return image;
    return (await containers.image(imageId, signal))?.id;
  }

  async #takenPort(ports: readonly MovedPort[], signal: AbortSignal) {
    if (ports.length === 0) return undefined;
    const taken = await this.#components.containers.publishedPorts(signal);
    return taken.find((it) =>
      ports.some(
        ({ ip, port, protocol }) =>
          port === it.port && protocol === it.protocol && (isAny(ip) || isAny(it.ip) || ip === it.ip),
      ),
    );
  }
}

const isAny = (ip: string): boolean => ip === '' || ip === '0.0.0.0' || ip === '::';
