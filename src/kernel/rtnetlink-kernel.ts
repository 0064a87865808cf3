import { DeviceLookup, type DeviceNames, DeviceTable, type FindDevice } from '#src/kernel/device-names.ts';
import { dumpsOf } from '#src/kernel/dump-request.ts';
import type { DumpQuery, Kernel, KernelEvent, RouteLookup } from '#src/kernel/kernel.ts';
import { ECHO_TYPES, EVENT_GROUPS, readEvent } from '#src/kernel/kernel-event.ts';
import { linkQuery, readLink } from '#src/kernel/links.ts';
import { type Request, sizeOf } from '#src/kernel/message.ts';
import { subscribe } from '#src/kernel/netlink-subscription.ts';
import type { KernelObject, Link, Route } from '#src/kernel/object.ts';
import type { KernelError, Operation, OperationResult } from '#src/kernel/operation.ts';
import { requestOf } from '#src/kernel/operation-request.ts';
import { meansAnyMetric, readLookup, readRoute, routeQuery } from '#src/kernel/routes.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { TurnBudget } from '#src/kernel/turn-budget.ts';
import { WeftError } from '#src/lib/errors.ts';
import { equalPrefix, type Ip } from '#src/lib/ip.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { SystemError } from '#src/sys/errno.ts';
import { NETLINK_ROUTE, type Netlink } from '#src/sys/netlink-socket.ts';

export interface RtnetlinkKernelComponents {
  readonly netlink: Netlink;
  readonly clock?: Clock;
}

export interface RtnetlinkKernelOptions {
  /** The network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string;
  /** Bytes of events the kernel may hold for a monitor before it drops some (SO_RCVBUFFORCE). Default 8 MiB. */
  readonly eventBuffer?: number;
}

/** Messages of one send. More gain nothing (docs: 300,000 messages a second from 64 on), fewer hold up less. */
const BATCH_MIN = 8;
const BATCH_MAX = 512;
/** Bytes of one send: well below any net.core.wmem_default. */
const BATCH_BYTES = 64 << 10;
/** Milliseconds that one send should take: the batch grows below the one and shrinks above the other. */
const BATCH_MS_LOW = 1;
const BATCH_MS_HIGH = 3;
/** A send that found no memory has changed nothing: it is tried again, smaller. */
const SEND_AGAIN: readonly string[] = ['ENOBUFS', 'EAGAIN', 'EINTR', 'EMSGSIZE'];
/** `ip route get` without a route: none, all unreachable, a blackhole, prohibited. */
const NO_ROUTE: readonly string[] = ['ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES'];

/** Linux's rtnetlink in one network namespace. Sockets are opened when first needed. */
export class RtnetlinkKernel implements Kernel {
  readonly #netlink: Netlink;
  readonly #clock: Clock;
  readonly #options: RtnetlinkKernelOptions;
  /** For changes and single questions: synchronous, and so never in each other's way. */
  #requests: Promise<RtnetlinkClient> | undefined;
  /** For dumps, which take turns: the kernel runs one at a time on a socket. */
  #dumps: Promise<RtnetlinkClient> | undefined;
  #lastDump: Promise<unknown> = Promise.resolve();
  #batchSize = 64;
  readonly #closing = new AbortController();

  constructor(
    { netlink, clock = systemClock }: RtnetlinkKernelComponents,
    options: RtnetlinkKernelOptions = {},
  ) {
    this.#netlink = netlink;
    this.#clock = clock;
    this.#options = options;
  }

  async links(): Promise<readonly Link[]> {
    const found = await this.dump({ kinds: ['link'] });
    return found.filter((object) => object.kind === 'link');
  }

  dump(query: DumpQuery): Promise<KernelObject[]> {
    const dump = this.#lastDump.then(() => this.#dump(query));
    this.#lastDump = dump.catch(() => {});
    return dump;
  }

  async #dump({ kinds, device, protocol }: DumpQuery): Promise<KernelObject[]> {
    const names = new DeviceLookup(await this.#finder());
    const index = device === undefined ? undefined : names.indexOf(device);
    if (device !== undefined && index === undefined) return [];
    const client = await this.#dumpClient();
    const budget = new TurnBudget(this.#clock);
    const all: KernelObject[] = [];
    try {
      for (const { request, read } of kinds.flatMap((kind) => dumpsOf(kind, index, protocol))) {
        const start = all.length;
        await client.dump(
          request,
          budget,
          () => {
            all.length = start;
          },
          (message) => {
            const object = read(message, names);
            if (object !== undefined && (device === undefined || deviceOf(object) === device))
              all.push(object);
          },
        );
      }
    } catch (error) {
      // The kernel may still be in the middle of the dump on this socket.
      client.close();
      this.#dumps = undefined;
      throw error;
    }
    return all;
  }

  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    const client = await this.#requestClient();
    const budget = new TurnBudget(this.#clock);
    const results: OperationResult[] = [];
    while (results.length < operations.length) {
      results.push(...this.#applySome(client, operations, results.length));
      await budget.turn();
    }
    return results;
  }

  /** Applies what goes into one send, in one synchronous step: device names looked up here are true until it is done. */
  #applySome(client: RtnetlinkClient, operations: readonly Operation[], start: number): OperationResult[] {
    const names = new DeviceLookup(findBy(client));
    const requests: Request[] = [];
    const errors: (KernelError | undefined)[] = [];
    let bytes = 0;
    let end = start;
    for (; end < operations.length && requests.length < this.#batchSize; end++) {
      const operation = operations[end];
      if (operation === undefined || (end > start && startsBatch(operation, operations[end - 1]))) break;
      const made = prepare(client, operation, names);
      if ('request' in made) {
        bytes += sizeOf(made.request);
        if (bytes > BATCH_BYTES && requests.length > 0) break;
        requests.push(made.request);
      }
      errors.push('error' in made ? made.error : undefined);
    }
    const answers = this.#send(client, requests);
    if (answers === undefined) return [];
    let next = 0;
    return errors.map((refused, offset): OperationResult => {
      const operation = operations[start + offset] as Operation;
      const error = refused ?? answers[next++];
      return error === undefined ? { operation, done: true } : { operation, done: false, error };
    });
  }

  /** The refusals, or `undefined` when nothing was sent and a smaller batch should be tried. */
  #send(client: RtnetlinkClient, requests: readonly Request[]): (KernelError | undefined)[] | undefined {
    if (requests.length === 0) return [];
    const began = this.#clock.monotonic();
    try {
      const answers = client.batch(requests);
      this.#adapt(requests.length, this.#clock.monotonic() - began);
      return answers;
    } catch (error) {
      if (!(error instanceof SystemError) || !SEND_AGAIN.includes(error.code)) throw error;
      if (requests.length === 1) return [{ errno: error.code, message: error.message }];
      this.#batchSize = Math.ceil(requests.length / 2);
      return undefined;
    }
  }

  /** A route may cost a hundred times what another does: with thousands that differ by gateway only, each add walks them all. */
  #adapt(count: number, ms: number): void {
    if (ms > BATCH_MS_HIGH) this.#batchSize = Math.floor(this.#batchSize / 2);
    else if (ms < BATCH_MS_LOW && count >= this.#batchSize) this.#batchSize *= 2;
    this.#batchSize = Math.min(BATCH_MAX, Math.max(BATCH_MIN, this.#batchSize));
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    const client = await this.#requestClient();
    const names = new DeviceTable(findBy(client));
    await subscribe(
      { netlink: this.#netlink, clock: this.#clock },
      {
        protocol: NETLINK_ROUTE,
        groups: EVENT_GROUPS,
        mute: { port: client.port, types: ECHO_TYPES },
        namespace: this.#options.namespace,
        ...(this.#options.eventBuffer !== undefined && { receiveBuffer: this.#options.eventBuffer }),
      },
      {
        message(message) {
          const event = readEvent(message, names);
          if (event === undefined) return;
          names.follow(event);
          listener(event);
        },
        overrun: () => listener({ type: 'overrun' }),
      },
      AbortSignal.any([signal, this.#closing.signal]),
    );
    // Subscribed first: no renaming is missed between the two.
    for (const link of await this.links()) names.follow({ type: 'changed', object: link });
  }

  async routeTo(ip: Ip): Promise<RouteLookup | undefined> {
    const client = await this.#requestClient();
    const answer = client.request(routeQuery(ip));
    if ('message' in answer) return readLookup(answer.message, new DeviceLookup(findBy(client)));
    if (NO_ROUTE.includes(answer.error.errno)) return undefined;
    throw new WeftError(
      'kernel-route',
      `cannot look up a route: ${answer.error.message} (${answer.error.errno})`,
    );
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closed());
    for (const client of [this.#requests, this.#dumps]) client?.then((open) => open.close()).catch(() => {});
  }

  #requestClient(): Promise<RtnetlinkClient> {
    this.#requests ??= this.#open().catch((error) => {
      this.#requests = undefined;
      throw error;
    });
    return this.#requests;
  }

  #dumpClient(): Promise<RtnetlinkClient> {
    this.#dumps ??= this.#open().catch((error) => {
      this.#dumps = undefined;
      throw error;
    });
    return this.#dumps;
  }

  async #open(): Promise<RtnetlinkClient> {
    this.#closing.signal.throwIfAborted();
    const socket = await this.#netlink.open({
      protocol: NETLINK_ROUTE,
      namespace: this.#options.namespace,
    });
    return new RtnetlinkClient(socket);
  }

  async #finder(): Promise<FindDevice> {
    return findBy(await this.#requestClient());
  }
}

const findBy =
  (client: RtnetlinkClient): FindDevice =>
  (device) => {
    const answer = client.request(linkQuery(device));
    if ('error' in answer) return undefined;
    const link = readLink(answer.message, { nameOf: () => undefined });
    return link?.index === undefined ? undefined : { name: link.name, index: link.index };
  };

/**
 * What may not go out together with the operation before it: a device's index is known only once it is made, and
 * {@link isTaken} must see what was done before.
 */
const startsBatch = (operation: Operation, before: Operation | undefined): boolean =>
  before?.object.kind === 'link' || (before?.verb === 'remove') !== (operation.verb === 'remove');

function prepare(client: RtnetlinkClient, operation: Operation, names: DeviceNames) {
  const { verb, object } = operation;
  if (verb === 'remove' && object.kind === 'route' && meansAnyMetric(object) && isTaken(client, object)) {
    return { error: { errno: 'ESRCH', message: 'there is no such route without a metric' } };
  }
  return requestOf(operation, names);
}

/** Whether another route to the destination, one with a metric, is what the kernel would remove in this one's place. */
function isTaken(client: RtnetlinkClient, route: Route): boolean {
  const answer = client.request(routeQuery(route.destination.address, true));
  if ('error' in answer) return false;
  const found = readRoute(answer.message, new DeviceLookup(findBy(client)));
  return found !== undefined && equalPrefix(found.destination, route.destination) && found.metric !== 0;
}

const deviceOf = (object: KernelObject): string | undefined =>
  object.kind === 'link' ? object.name : object.device;

const closed = (): WeftError => new WeftError('kernel-closed', 'the kernel connection is closed');
