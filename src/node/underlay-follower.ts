import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import { type HostEvents, type NotedEvent, silentEvents } from '#src/lib/host-events.ts';
import { containsAddress, type Prefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Subnets } from '#src/network/lease.ts';
import {
  defaultRoutes,
  type HostFacts,
  readInterfaces,
  readRoutes,
  withoutSubnets,
} from '#src/node/underlay/host-facts.ts';
import { isRoutable, lossOf, type NextUnderlay, nextUnderlay } from '#src/node/underlay/next-underlay.ts';
import { describeUnderlay, formatAddresses, type Underlay } from '#src/node/underlay/underlay.ts';
import type { UnderlaySelection } from '#src/node/underlay/underlay-selection.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface UnderlayFollowerComponents {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  /** Kernel events as they come, until the function that it returns is called. */
  readonly observe: (listener: (event: KernelEvent) => void) => () => void;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: nobody. */
  readonly events?: HostEvents;
}

export interface UnderlayFollowerOptions {
  readonly selection: UnderlaySelection;
  /** In use when the follower starts. */
  readonly underlay: Underlay;
  /** This host's subnets: addresses in them are the overlay's own. */
  readonly subnets: Subnets;
  /** The network has to follow. The place is in use when the promise resolves; when it rejects, it is tried again. */
  readonly onMove: (to: Underlay) => Promise<void>;
  /** The underlay can't be used, and there is no other. */
  readonly onGone: (why: string) => void;
  /** Something happened to the underlay or to a default route, and the place is the same as before. */
  readonly onSame: () => Promise<void>;
}

/** Events come in groups: a device, its address, its routes. */
const SETTLE_MS = 200;
/** A DHCP client or a network manager that is restarted takes the address away for a few seconds. */
const LEAVE_AFTER_MS = 5_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

/**
 * Follows the underlay of one network: a new address, MTU or interface goes into the device, the lease and the peers'
 * entries in place, without a restart (flannel issues 408, 1052). {@link nextUnderlay} decides; this class says when. There
 * is one look at a time, and events that come during a look lead to one more look.
 */
export class UnderlayFollower {
  readonly #components: UnderlayFollowerComponents;
  readonly #options: UnderlayFollowerOptions;
  #underlay: Underlay;
  #trouble: string | undefined;
  #asked = Promise.withResolvers<void>();
  /** The default routes as of the last read; `undefined` when they may have changed since. */
  #routes: HostFacts['routes'] | undefined;
  /** Counts what may have changed them. */
  #routeEvents = 0;
  /** The interface's ifindex: its name may change. */
  #index: number | undefined;
  /** When a look first found the underlay lost, by the monotonic clock. */
  #lostAt: number | undefined;
  #failures = 0;

  constructor(components: UnderlayFollowerComponents, options: UnderlayFollowerOptions) {
    this.#components = components;
    this.#options = options;
    this.#underlay = options.underlay;
  }

  /** The place that the network uses. */
  get underlay(): Underlay {
    return this.#underlay;
  }

  /** Why the host can't send to its peers, as a clause; `undefined` while it can. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /**
   * Checks the underlay once, for changes since it was chosen, and then after each event. When the
   * signal aborts, it rejects with its reason, after a check and a move under way have ended.
   */
  async follow(signal: AbortSignal): Promise<never> {
    const { observe, clock } = this.#components;
    const stopListening = observe((event) => this.#hear(event));
    try {
      for (let isFirst = true; ; isFirst = false) {
        const pause = await this.#look(isFirst, signal);
        await this.#wait(pause, signal);
        await clock.sleep(SETTLE_MS, signal);
      }
    } finally {
      stopListening();
    }
  }

  #hear(event: KernelEvent): void {
    if (event.type !== 'overrun' && event.type !== 'changed' && event.type !== 'removed') return;
    if (event.type !== 'overrun' && !this.#concerns(event)) return;
    if (event.type === 'overrun' || event.object.kind === 'route') {
      this.#routes = undefined;
      this.#routeEvents++;
    }
    this.#asked.resolve();
  }

  /** While the underlay is there, its interface and the default routes; while it is lost, whatever may bring another. */
  #concerns({ object }: Extract<KernelEvent, { object: unknown }>): boolean {
    const isLost = this.#lostAt !== undefined;
    const { name } = this.#underlay;
    switch (object.kind) {
      case 'link':
        return isLost || object.name === name || (object.index !== undefined && object.index === this.#index);
      case 'address':
        return isLost || object.device === name;
      case 'route':
        return object.destination.length === 0 || (isLost && this.#leadsToTarget(object.destination));
      default:
        return false;
    }
  }

  #leadsToTarget(destination: Prefix): boolean {
    const { reach } = this.#options.selection;
    return reach !== undefined && containsAddress(destination, reach);
  }

  /** Resolves when a look was asked for, or after `pause` milliseconds. */
  async #wait(pause: number | undefined, signal: AbortSignal): Promise<void> {
    const end = new AbortController();
    const either = AbortSignal.any([signal, end.signal]);
    const aborted = Promise.withResolvers<never>();
    either.addEventListener('abort', () => aborted.reject(either.reason), { once: true });
    if (either.aborted) aborted.reject(either.reason);
    const timer = pause === undefined ? aborted.promise : this.#components.clock.sleep(pause, either);
    try {
      await Promise.race([this.#asked.promise, timer, aborted.promise]);
    } finally {
      end.abort();
    }
  }

  /** One look, and what follows from it. Returns when to look again without an event. */
  async #look(isFirst: boolean, signal: AbortSignal): Promise<number | undefined> {
    // Before anything is read: an event from here on may be later than what is read.
    this.#asked = Promise.withResolvers();
    try {
      const next = await this.#read();
      signal.throwIfAborted();
      const pause = await this.#act(next, isFirst);
      this.#failures = 0;
      return pause;
    } catch (error) {
      if (signal.aborted) throw error;
      const pause = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LONGEST_RETRY_MS);
      this.#complain(`the underlay could not be followed: ${messageOf(error)}`);
      return pause;
    }
  }

  async #read(): Promise<NextUnderlay & { readonly lost?: string }> {
    const { kernel, clock } = this.#components;
    const { selection, subnets } = this.#options;
    const interfaces = withoutSubnets(await readInterfaces(kernel), subnets);
    const lost = lossOf(this.#underlay, interfaces);
    this.#lostAt = lost === undefined ? undefined : (this.#lostAt ?? clock.monotonic());
    const index = interfaces.links.find(({ name }) => name === this.#underlay.name)?.index;
    this.#index = index ?? this.#index;
    // A table may hold 50,000 routes. It is read when its answer is needed, and the default routes are kept.
    const known = this.#routes;
    const isEnough = known !== undefined && lost === undefined && isRoutable(this.#underlay);
    if (isEnough) return nextUnderlay(this.#underlay, selection, { ...interfaces, routes: known });
    const events = this.#routeEvents;
    const facts = { ...interfaces, ...(await readRoutes(kernel, selection)) };
    // The kernel removes the routes of a lost interface without an event.
    const isCurrent = lost === undefined && events === this.#routeEvents;
    this.#routes = isCurrent ? defaultRoutes(facts.routes) : undefined;
    return { ...nextUnderlay(this.#underlay, selection, facts), ...(lost !== undefined && { lost }) };
  }

  async #act(next: NextUnderlay & { readonly lost?: string }, isFirst: boolean): Promise<number | undefined> {
    const { onMove, onGone, onSame } = this.#options;
    if (next.kind === 'gone') {
      if (this.#complain(next.why)) onGone(next.why);
      return undefined;
    }
    if (next.kind === 'stay') {
      this.#recover();
      if (!isFirst) await onSame();
      return undefined;
    }
    const patience = this.#patienceFor(next.to);
    if (next.lost !== undefined && patience > 0) {
      if (this.#complain(next.lost)) onGone(next.lost);
      return patience;
    }
    const before = this.#underlay;
    const move = describeMove(before, next.to);
    this.#components.log.info(`${move}: following`);
    this.#note('info', move);
    await onMove(next.to);
    this.#underlay = next.to;
    this.#lostAt = undefined;
    this.#index = undefined;
    this.#trouble = undefined;
    // The events of the new interface were not listened to.
    if (next.to.name !== before.name) this.#asked.resolve();
    return undefined;
  }

  /**
   * Milliseconds to wait for the underlay in use before it is left. An address that moved is not lost, and neither is an
   * interface with a new address.
   */
  #patienceFor({ name, address }: Underlay): number {
    if (name === this.#underlay.name || formatAddresses(address) === formatAddresses(this.#underlay.address))
      return 0;
    const { clock } = this.#components;
    return (this.#lostAt ?? clock.monotonic()) + LEAVE_AFTER_MS - clock.monotonic();
  }

  /** True when this is another trouble than before. */
  #complain(trouble: string): boolean {
    if (this.#trouble === trouble) return false;
    this.#trouble = trouble;
    this.#components.log.warning(`The host can't send to its peers: ${trouble}`);
    this.#note('warning', `The host can't send to its peers: ${trouble}`);
    return true;
  }

  #recover(): void {
    if (this.#trouble === undefined) return;
    this.#trouble = undefined;
    const back = `The underlay is back: ${describeUnderlay(this.#underlay)}`;
    this.#components.log.info(back);
    this.#note('info', back);
  }

  #note(severity: NotedEvent['severity'], text: string): void {
    const { events = silentEvents } = this.#components;
    events.note({ type: 'underlay', severity, subject: this.#underlay.name, text });
  }
}

function describeMove(before: Underlay, to: Underlay): string {
  const [was, is] = [describeUnderlay(before), describeUnderlay(to)];
  if (was === is) return `The networks or gateways of the underlay ${to.name} changed`;
  return `The underlay is now ${is} (it was ${was})`;
}
