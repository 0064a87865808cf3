import { ChangeSender } from '#src/kernel/change-sender.ts';
import { type Codecs, RTNETLINK_CODECS } from '#src/kernel/codecs.ts';
import { RTM_DELNEIGH, RTM_NEWNEIGH } from '#src/kernel/constants.ts';
import { DeviceLookup, DeviceTable, type FindDevice } from '#src/kernel/device-names.ts';
import { DeviceIndexes, findBy } from '#src/kernel/find-device.ts';
import type { DumpQuery, Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { isList } from '#src/kernel/kind-codec.ts';
import { readLookup, routeQuery } from '#src/kernel/kinds/route.ts';
import { NamespaceNumbers } from '#src/kernel/namespace-numbers.ts';
import { NETCONF_GROUPS, readNetconf } from '#src/kernel/netconf.ts';
import { type Subscription, subscribe } from '#src/kernel/netlink-subscription.ts';
import { POLICY_GROUPS, readPolicy } from '#src/kernel/policy-events.ts';
import { QUEUE_GROUPS, readQueue } from '#src/kernel/queue-events.ts';
import { askRoute, type RouteDecision, type RouteQuestion } from '#src/kernel/route-question.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Ip } from '#src/lib/ip.ts';
import type { Kind } from '#src/state/kind.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import type { Mute } from '#src/sys/mute-filter.ts';
import { NETLINK_ROUTE, type Netlink } from '#src/sys/netlink-socket.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface RtnetlinkKernelComponents {
  readonly netlink: Netlink;
  readonly clock?: Clock;
  /** The kinds that it carries. Default: all. */
  readonly codecs?: Codecs;
}

export interface RtnetlinkKernelOptions {
  /** The network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string;
  /**
   * The host's network namespace, as a path, where it is another one: sockets of tenants' VXLAN devices and the far ends of
   * veth pairs are there. Default: the process's own.
   */
  readonly hostNamespace?: string;
  /** Bytes of events the kernel may hold for a monitor before it drops some (SO_RCVBUFFORCE). Default 8 MiB. */
  readonly eventBuffer?: number;
}

/** `ip route get` without a route: none, all unreachable, a blackhole, prohibited. */
const NO_ROUTE: readonly string[] = ['ENETUNREACH', 'EHOSTUNREACH', 'EINVAL', 'EACCES'];

/** Linux's rtnetlink in one network namespace. Sockets are opened when first needed. */
export class RtnetlinkKernel implements Kernel {
  readonly #netlink: Netlink;
  readonly #clock: Clock;
  readonly #options: RtnetlinkKernelOptions;
  readonly #codecs: Codecs;
  /** For single questions: synchronous, and so never in each other's way. */
  #requests: Promise<RtnetlinkClient> | undefined;
  #indexes: DeviceIndexes | undefined;
  #numbers: NamespaceNumbers | undefined;
  /** For changes, which take turns: another thread may be sending some. */
  #changes: Promise<RtnetlinkClient> | undefined;
  #sender: ChangeSender | undefined;
  #lastApply: Promise<unknown> = Promise.resolve();
  /** For dumps, which take turns: the kernel runs one at a time on a socket. */
  #dumps: Promise<RtnetlinkClient> | undefined;
  #lastDump: Promise<unknown> = Promise.resolve();
  readonly #subscriptions = new Set<Subscription>();
  /** The ifindexes that each call of {@link muffle} gave. */
  readonly #muffled = new Set<readonly number[]>();
  readonly #closing = new AbortController();

  constructor(
    { netlink, clock = systemClock, codecs = RTNETLINK_CODECS }: RtnetlinkKernelComponents,
    options: RtnetlinkKernelOptions = {},
  ) {
    this.#netlink = netlink;
    this.#clock = clock;
    this.#options = options;
    this.#codecs = codecs;
  }

  get kinds(): readonly Kind<KernelObject>[] {
    return this.#codecs.kinds.all;
  }

  async links(): Promise<readonly Link[]> {
    const found = await this.dump({ kinds: ['link'] });
    return found.filter((object) => object.kind === 'link');
  }

  async dump(query: DumpQuery): Promise<KernelObject[]> {
    const all: KernelObject[] = [];
    let start = 0;
    await this.#scanInTurn(
      query,
      (again) => {
        if (again) all.length = start;
        else start = all.length;
      },
      (object) => all.push(object),
    );
    return all;
  }

  scan(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    return this.#scanInTurn(query, () => {}, visit);
  }

  #scanInTurn(query: DumpQuery, begin: Begin, visit: (object: KernelObject) => void): Promise<void> {
    const scan = this.#lastDump.then(() => this.#scan(query, begin, visit));
    this.#lastDump = scan.catch(() => {});
    return scan;
  }

  async #scan(
    { kinds, device, protocol }: DumpQuery,
    begin: Begin,
    visit: (object: KernelObject) => void,
  ): Promise<void> {
    const questions = await this.#requestClient();
    const names = new DeviceLookup(findBy(questions), this.#others(questions));
    const index = device === undefined ? undefined : names.indexOf(device);
    if (device !== undefined && index === undefined) return;
    const client = await this.#dumpClient();
    const budget = new TurnBudget(this.#clock);
    try {
      const codecs = kinds.map((kind) => this.#codecs.of(kind));
      const dumps = codecs.flatMap((codec) =>
        codec.dumps({ index, protocol }).map((dump) => ({ ...dump, kind: codec.kind })),
      );
      for (const { kind, request, read } of dumps) {
        let again = false;
        await client.dump(
          request,
          budget,
          () => {
            begin(again);
            again = true;
          },
          (message) => {
            const found = read(message, names);
            if (found === undefined) return;
            for (const object of isList(found) ? found : [found])
              if (device === undefined || kind.deviceOf(object) === device) visit(object);
          },
        );
      }
    } catch (error) {
      // The kernel may still be in the middle of the dump on this socket.
      client.close();
      this.#dumps = undefined;
      throw error;
    }
  }

  apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    const apply = this.#lastApply.then(async () => {
      const [changes, questions] = await Promise.all([this.#changeClient(), this.#requestClient()]);
      this.#sender ??= new ChangeSender({
        changes,
        questions,
        clock: this.#clock,
        codecs: this.#codecs,
        namespaces: this.#others(questions),
      });
      return this.#sender.apply(operations);
    });
    this.#lastApply = apply.catch(() => {});
    return apply;
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    const [changes, client] = await Promise.all([this.#changeClient(), this.#requestClient()]);
    const names = new DeviceTable(findBy(client), this.#others(client));
    const all = AbortSignal.any([signal, this.#closing.signal]);
    const subscription = await subscribe(
      { netlink: this.#netlink, clock: this.#clock },
      {
        protocol: NETLINK_ROUTE,
        groups: [...this.#codecs.groups, ...NETCONF_GROUPS, ...POLICY_GROUPS, ...QUEUE_GROUPS],
        mute: this.#mute(changes.port),
        namespace: this.#options.namespace,
        ...(this.#options.eventBuffer !== undefined && { receiveBuffer: this.#options.eventBuffer }),
      },
      {
        message: (message) => {
          const read =
            readNetconf(message, names) ??
            this.#codecs.readEvent(message, names) ??
            readPolicy(message) ??
            readQueue(message);
          if (read === undefined) return;
          for (const event of isList(read) ? read : [read]) {
            names.follow(event);
            listener(event);
          }
        },
        overrun: () => listener({ type: 'overrun' }),
      },
      all,
    );
    this.#subscriptions.add(subscription);
    all.addEventListener('abort', () => this.#subscriptions.delete(subscription), { once: true });
    // Subscribed first: no renaming is missed between the two.
    for (const link of await this.links()) names.follow({ type: 'changed', object: link });
  }

  async muffle(devices: readonly string[]): Promise<() => void> {
    const [{ port }, find] = await Promise.all([this.#changeClient(), this.#finder()]);
    const indexes = devices.flatMap((device) => find(device)?.index ?? []);
    const refresh = () => {
      for (const subscription of this.#subscriptions) subscription.setMute(this.#mute(port));
    };
    this.#muffled.add(indexes);
    refresh();
    return () => {
      if (this.#muffled.delete(indexes)) refresh();
    };
  }

  #mute(port: number): Mute {
    const indexes = [...this.#muffled].flat();
    return { port, types: this.#codecs.echoTypes, devices: { types: [RTM_NEWNEIGH, RTM_DELNEIGH], indexes } };
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

  async decide(question: RouteQuestion): Promise<RouteDecision> {
    const client = await this.#requestClient();
    this.#indexes ??= new DeviceIndexes(client);
    return askRoute(client, this.#indexes, question);
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(closed());
    for (const client of [this.#requests, this.#changes, this.#dumps])
      client?.then((open) => open.close()).catch(() => {});
  }

  #requestClient(): Promise<RtnetlinkClient> {
    this.#requests ??= this.#open().catch((error) => {
      this.#requests = undefined;
      throw error;
    });
    return this.#requests;
  }

  #changeClient(): Promise<RtnetlinkClient> {
    this.#changes ??= this.#open().catch((error) => {
      this.#changes = undefined;
      throw error;
    });
    return this.#changes;
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

  /** There are none to one that is in the host's namespace itself. */
  #others(questions: RtnetlinkClient): NamespaceNumbers | undefined {
    if (this.#options.namespace === undefined) return undefined;
    this.#numbers ??= new NamespaceNumbers(questions, this.#options.hostNamespace);
    return this.#numbers;
  }

  async #finder(): Promise<FindDevice> {
    return findBy(await this.#requestClient());
  }
}

/** Called before each dump of a kind and family; `again` when the one before it did not count. */
type Begin = (again: boolean) => void;

const closed = (): WeftError => new WeftError('kernel-closed', 'the kernel connection is closed');
