import { familyQuery, type GenericFamily, readFamily } from '#src/kernel/generic-netlink.ts';
import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { WatchedWireguard } from '#src/kernel/watched-wireguard.ts';
import {
  deviceRequest,
  peerRemoval,
  peerRequest,
  type WireguardPeerReport,
  WireguardReader,
  wireguardDump,
} from '#src/kernel/wireguard-messages.ts';
import { InOrder } from '#src/lib/in-order.ts';
import { WIREGUARD_DEVICE } from '#src/state/kinds/wireguard-device.ts';
import { WIREGUARD_PEER } from '#src/state/kinds/wireguard-peer.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError, Operation, OperationResult } from '#src/state/operation.ts';
import type { Clock } from '#src/sys/clock.ts';
import { NETLINK_GENERIC, type Netlink } from '#src/sys/netlink-socket.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface WireguardKernelComponents {
  readonly netlink: Netlink;
  readonly clock: Clock;
}

export interface WireguardKernelOptions {
  /** The network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
}

/** Milliseconds between two looks at the watched devices: a look and the repair have to be done within 100 ms. */
const LOOK_MS = 60;
/** The share of the time that looks may take. With many peers there are fewer looks, and one each second in any case. */
const LOOK_SHARE = 0.02;
const LONGEST_PAUSE_MS = 1_000;
/** What a look costs is the least that one of the last few took: on a busy machine the others waited for a processor. */
const REMEMBERED_LOOKS = 8;
/** An endpoint that was learnt is judged so often, though nothing has changed. */
const JUDGE_MS = 5_000;
/** After a look that failed. */
const FAILED_MS = 1_000;
/** Changes of one send. Each new peer costs the kernel a multiplication on the curve, some 0.1 ms. */
const BATCH = 128;
/** From so many changes on another thread sends them. */
const ASIDE_FROM = 16;

/**
 * Linux's WireGuard in one network namespace, over generic netlink: what `wg` does. It reports no changes (its family has no
 * multicast group), so devices are looked at several times a second: those that were asked for or changed here.
 */
export class WireguardKernel {
  readonly kinds = [WIREGUARD_DEVICE, WIREGUARD_PEER];
  readonly #netlink: Netlink;
  readonly #clock: Clock;
  readonly #options: WireguardKernelOptions;
  /** Looks, reads and changes take turns on one socket. */
  readonly #order = new InOrder();
  readonly #watched = new Map<string, WatchedWireguard>();
  #client: RtnetlinkClient | undefined;
  #family: GenericFamily | undefined;
  #onWatched: (() => void) | undefined;
  #closed = false;

  constructor({ netlink, clock }: WireguardKernelComponents, options: WireguardKernelOptions = {}) {
    this.#netlink = netlink;
    this.#clock = clock;
    this.#options = options;
  }

  /** Calls back with a device and its peers. Without a device in the query there is nothing to list. */
  async scan({ kinds, device }: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    if (device === undefined) return;
    await this.#order.run(async () => {
      const watched = this.#watch(device);
      const reader = await this.#read(device);
      const peers = watched.peersOf(reader.peers, this.#clock.now(), watched.prints);
      for (const object of [reader.device, ...peers]) {
        if (object === undefined || !kinds.includes(object.kind)) continue;
        watched.mention(object);
        visit(object);
      }
    });
  }

  /** The peers of a device with their figures. Equals `wg show DEVICE dump`. */
  async reports(device: string): Promise<readonly WireguardPeerReport[]> {
    return this.#order.run(async () => (await this.#read(device)).peers);
  }

  /** The family as this kernel has it; `undefined` where it has no WireGuard. */
  async family(): Promise<GenericFamily | undefined> {
    return this.#order.run(() => this.#findFamily());
  }

  apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    return this.#order.run(async () => {
      const results: OperationResult[] = [];
      for (let start = 0; start < operations.length; start += BATCH)
        results.push(...(await this.#applySome(operations.slice(start, start + BATCH))));
      return results;
    });
  }

  /** At most one listener at a time: changes are found by comparing with what it last heard. */
  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#lookOn(listener, signal).catch(() => {});
  }

  close(): void {
    this.#closed = true;
    this.#forget();
  }

  async #lookOn(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    const costs: number[] = [];
    while (!signal.aborted && !this.#closed) {
      await this.#untilWatched(signal);
      let took = 0;
      let failed = false;
      for (const device of [...this.#watched.keys()]) {
        try {
          took += await this.#order.run(() => this.#look(device, listener));
        } catch {
          this.#forget();
          failed = true;
        }
      }
      costs.push(took);
      if (costs.length > REMEMBERED_LOOKS) costs.shift();
      const pause = Math.min(LONGEST_PAUSE_MS, Math.max(LOOK_MS, Math.min(...costs) / LOOK_SHARE));
      await this.#clock.sleep(failed ? FAILED_MS : pause, signal);
    }
  }

  /** Returns the milliseconds that the look took, without the work on what had changed. */
  async #look(name: string, listener: (event: KernelEvent) => void): Promise<number> {
    const watched = this.#watched.get(name);
    if (watched === undefined) return 0;
    const began = this.#clock.monotonic();
    const { fresh } = watched;
    await this.#dump(
      name,
      () => fresh.begin(),
      (message) => fresh.read(message),
    );
    const now = this.#clock.monotonic();
    const isDue = watched.endpoints.hasLearnt && now - watched.readAt >= JUDGE_MS;
    if (isDue || watched.isAwaited || !fresh.equals(watched.prints)) {
      watched.readAt = now;
      const reader = await this.#read(name);
      const peers = watched.peersOf(reader.peers, this.#clock.now(), watched.prints);
      for (const event of watched.changes(reader, peers)) listener(event);
      // A device that comes back is asked for again.
      if (reader.device === undefined) this.#watched.delete(name);
    }
    watched.turnOver();
    return now - began;
  }

  async #applySome(operations: readonly Operation[]): Promise<OperationResult[]> {
    const family = await this.#findFamily();
    if (family === undefined) return operations.map((operation) => refused(operation, NO_WIREGUARD));
    const requests = operations.map((operation) => this.#requestOf(operation, family.id));
    const client = await this.#open();
    const batch = client.prepare(requests.filter((request) => request !== undefined));
    try {
      const answers =
        batch.count === 0
          ? []
          : batch.count < ASIDE_FROM
            ? client.send(batch)
            : await client.sendAside(batch);
      let next = 0;
      return operations.map((operation, at) => {
        const error = requests[at] === undefined ? UNSUPPORTED : answers[next++];
        if (error === undefined) return { operation, done: true };
        this.#unlearn(operation);
        return refused(operation, error);
      });
    } finally {
      // There are keys in it.
      batch.bytes.fill(0);
    }
  }

  #requestOf({ verb, object }: Operation, family: number): Request | undefined {
    if (object.kind === 'wireguard-device') {
      if (verb === 'remove') return undefined;
      this.#watch(object.device).mention(object);
      return deviceRequest(family, object);
    }
    if (object.kind !== 'wireguard-peer') return undefined;
    const watched = this.#watch(object.device);
    const { endpoints } = watched;
    const isWithin = watched.isWithin(object);
    watched.mention(object);
    if (verb === 'remove') {
      endpoints.forget(object.publicKey);
      return peerRemoval(family, object);
    }
    const { endpoint: wanted, ...peer } = object;
    const endpoint = wanted && endpoints.give(object.publicKey, wanted);
    return peerRequest(family, endpoint === undefined ? peer : { ...peer, endpoint }, isWithin);
  }

  /** What was refused has not been given. */
  #unlearn({ object }: Operation): void {
    if (object.kind === 'wireguard-peer')
      this.#watched.get(object.device)?.endpoints.forget(object.publicKey);
  }

  async #read(device: string): Promise<WireguardReader> {
    const reader = new WireguardReader();
    await this.#dump(
      device,
      () => reader.begin(),
      (message) => reader.read(message),
    );
    return reader;
  }

  async #dump(device: string, begin: () => void, visit: (message: Message) => void): Promise<void> {
    begin();
    const family = await this.#findFamily();
    if (family === undefined) return;
    const client = await this.#open();
    try {
      await client.dump(wireguardDump(family.id, device), new TurnBudget(this.#clock), begin, visit);
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  async #findFamily(): Promise<GenericFamily | undefined> {
    if (this.#family !== undefined) return this.#family;
    const answer = (await this.#open()).request(familyQuery('wireguard'));
    this.#family = 'error' in answer ? undefined : readFamily(answer.message);
    return this.#family;
  }

  async #open(): Promise<RtnetlinkClient> {
    this.#client ??= new RtnetlinkClient(
      await this.#netlink.open({ protocol: NETLINK_GENERIC, namespace: this.#options.namespace }),
    );
    return this.#client;
  }

  #forget(): void {
    this.#client?.close();
    this.#client = undefined;
    this.#family = undefined;
  }

  #watch(device: string): WatchedWireguard {
    let watched = this.#watched.get(device);
    if (watched === undefined) {
      watched = new WatchedWireguard();
      this.#watched.set(device, watched);
      this.#onWatched?.();
    }
    return watched;
  }

  async #untilWatched(signal: AbortSignal): Promise<void> {
    if (this.#watched.size > 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = () => reject(signal.reason);
    this.#onWatched = resolve;
    signal.addEventListener('abort', end, { once: true });
    await promise.finally(() => signal.removeEventListener('abort', end));
    this.#onWatched = undefined;
  }
}

const UNSUPPORTED: KernelError = { errno: 'EOPNOTSUPP', message: 'a device’s key goes with the device' };
const NO_WIREGUARD: KernelError = {
  errno: 'EOPNOTSUPP',
  message: 'this kernel has no WireGuard; Linux has it from 5.6 on',
};

const refused = (operation: Operation, error: KernelError): OperationResult => ({
  operation,
  done: false,
  error,
});
