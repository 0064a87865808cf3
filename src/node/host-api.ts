import type { HostEvents } from '#src/lib/host-events.ts';
import { VERSION } from '#src/lib/version.ts';
import { driverHandlers, networkHandlers } from '#src/node/local-handlers.ts';
import type { Network } from '#src/node/network.ts';
import { type ServeComponents, serveDriver, serveLocally } from '#src/node/node-servers.ts';
import { EventRing } from '#src/observe/event-ring.ts';
import type { Family } from '#src/observe/metric.ts';
import type { HostStatus, NodeStatus } from '#src/observe/node-status.ts';
import type { SlotView } from '#src/reconcile/slot-view.ts';

type View = () => Iterable<SlotView>;

export interface HostApiComponents extends Omit<ServeComponents, 'handlers' | 'ring'> {
  /** The figures of the whole host. */
  readonly metrics: () => Promise<readonly Family[]>;
}

/** The sockets of a host's local API, and the events that all of them show. */
export class HostApi {
  readonly #components: HostApiComponents;
  readonly #ring: EventRing;

  constructor(components: HostApiComponents) {
    this.#components = components;
    this.#ring = new EventRing(components.clock);
    const text = `weft ${VERSION} started`;
    this.#ring.note({ type: 'start', severity: 'info', subject: 'flanneld', text });
  }

  /** Takes what happens in a network with a name, or with `undefined` in all others and on the host. */
  readonly eventsOf = (network: string | undefined): HostEvents => this.#ring.of(network);

  /** Answers for one network. Returns how to stop. */
  serveNetwork(network: Network, status: () => NodeStatus, view: View): Promise<() => Promise<void>> {
    const { clock, metrics } = this.#components;
    const handlers = networkHandlers({ network, status, metrics, view, ring: this.#ring, clock });
    return serveLocally({ ...this.#components, handlers, ring: this.#ring }, network.artefacts.socket);
  }

  /** Answers for Docker's driver. Returns how to stop. */
  serveDriver(socket: string, status: () => HostStatus, view: View): Promise<() => Promise<void>> {
    const handlers = driverHandlers({ status, view, ring: this.#ring });
    return serveDriver({ ...this.#components, handlers, ring: this.#ring }, socket);
  }
}
