import type { Backend, PeerPath } from '#src/backend/backend.ts';
import { type FastWay, readFastPathWish } from '#src/backend/fast-way.ts';
import type { FastCounts } from '#src/fast-path/map-layouts.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import type { CrossingPlace } from '#src/firewall/what-counts.ts';
import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import { equalPrefix, type Prefix4 } from '#src/lib/ip.ts';
import type { Lease } from '#src/network/lease.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import { ClaimedDevices } from '#src/node/fast-path/claimed-devices.ts';
import { FastPathJudge } from '#src/node/fast-path/fast-path-judge.ts';
import { type FastPathMode, FastPathReport } from '#src/node/fast-path/fast-path-report.ts';
import type { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { FollowedContainers } from '#src/node/fast-path/followed-containers.ts';
import { Pauses } from '#src/node/fast-path/pauses.ts';
import { WantedFastPath } from '#src/node/fast-path/wanted-fast-path.ts';
import { type WatchedWire, type WatchWireComponents, watchWire } from '#src/node/fast-path/watch-wire.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { Operation } from '#src/state/operation.ts';

export interface FastPathComponents extends WatchWireComponents {
  readonly reconciler: Pick<Reconciler, 'own' | 'observe' | 'check'>;
  readonly kernel: Pick<Kernel, 'dump' | 'links'>;
  /** Calls back for every change of the host's packet filter; returns how to stop. */
  readonly observeRules: (listener: () => void) => () => void;
  /** All rules of the host. */
  readonly readFilters: () => Promise<SeenFilters>;
  readonly users: FastPathUsers;
  /** What the programs on a VXLAN device's way have counted; `undefined` where there are none. */
  readonly counts: (device: string) => FastCounts | undefined;
  /** Makes a device ready for programs to come. */
  readonly prepare: (ifindex: number) => void;
}

export interface FastPathOptions {
  /** The network's prefix. */
  readonly name: string;
  /** The node's own wish, for networks that have none. */
  readonly flag: 'on' | 'off';
}

/** A flow goes fast for so long after a packet of it went through the host's rules. Milliseconds. */
const FRESH_MS = 1_000;
/** The counters and the setting of TCP are looked at so often. */
const LOOK_MS = 1_000;
/** Rules that change many times a second are one change. */
const RULES_SETTLE_MS = 20;

/**
 * The fast path of one network: says which flows may go past bridge, rules and tunnel device. What it says is wanted state like all
 * others. It is off unless the network's config or the node's flag asks for it, the backend has such a way, and no rule or queue
 * of the host needs every packet.
 */
export class NetworkFastPath {
  readonly #components: FastPathComponents;
  readonly #options: FastPathOptions;
  readonly #owner: Owner;
  readonly #judge: FastPathJudge;
  readonly #wanted: WantedFastPath;
  readonly #containers: FollowedContainers;
  readonly #pauses: Pauses;
  readonly #claimed: ClaimedDevices;
  readonly #report: FastPathReport;
  #subnet: Prefix4 | undefined;
  #network: Prefix4 | undefined;
  #wish: 'on' | 'off' = 'off';
  /** Absent where there is none; the reason where the backend has none now. */
  #way: FastWay | string | undefined;
  #mode: FastPathMode = 'untouched';
  #generation = 0;
  #tcp = false;
  /** The device that packets are counted on; `undefined` while there are no programs, also until they are in the kernel. */
  #countedOn: string | undefined;
  #rulesChanged = false;
  #dirty = true;
  #wake: (() => void) | undefined;
  #isFollowing = false;
  #mayRemove = false;

  constructor(components: FastPathComponents, options: FastPathOptions) {
    this.#components = components;
    this.#options = options;
    this.#claimed = new ClaimedDevices(components, options.name);
    this.#owner = components.reconciler.own({
      name: `${options.name} fast path`,
      scopes: () => this.#claimed.scopes,
    });
    this.#wanted = new WantedFastPath(this.#owner);
    this.#pauses = new Pauses(components.clock, () => this.#poke());
    this.#containers = new FollowedContainers(components, {
      withdrawn: (ip) => this.#wanted.setContainer(ip, undefined),
      came: (ifindex) => {
        if (this.#isMade) components.prepare(ifindex);
      },
      waiting: () => this.#poke({ look: false }),
      replaced: () => this.#judge.poke(),
    });
    this.#judge = new FastPathJudge(components, {
      places: () => this.#places(),
      onVerdict: () => this.#poke(),
    });
    this.#report = new FastPathReport({
      ...{ owner: this.#owner, judge: this.#judge, pauses: this.#pauses, wanted: this.#wanted },
      ...{ containers: this.#containers, counts: components.counts, log: components.log },
    });
  }

  /** Another intent: another wish, another way. Peers are said again after it. */
  use({ config, backend, subnets }: Pick<NetworkIntent, 'config' | 'backend' | 'subnets'>): void {
    this.#wish = readFastPathWish(config.backend.options) ?? this.#options.flag;
    this.#network = networksOf(config.ranges).v4;
    if (subnets.v4 === undefined || this.#subnet === undefined || !equalPrefix(this.#subnet, subnets.v4))
      this.#containers.forget();
    this.#subnet = subnets.v4;
    this.#way = backend.fastWay ?? `the backend ${backend.type} has none`;
    this.#poke();
  }

  #claim(): Promise<void> {
    return this.#claimed.claim(typeof this.#way === 'object' ? this.#way.device : undefined, this.#asked);
  }

  /** A peer that packets go to. */
  peer(lease: Lease, backend: Pick<Backend, 'fastWay'>, path: PeerPath): void {
    const { fastWay } = backend;
    const hasWay = fastWay !== undefined && typeof fastWay !== 'string';
    this.#wanted.setPeer(lease.name, hasWay ? fastWay.peer(lease, path) : undefined);
  }

  /** A peer that there is no more. */
  gone(name: string): void {
    this.#wanted.setPeer(name, undefined);
  }

  /** All peers are known: what belongs to others may go. */
  allowRemoval(): void {
    this.#mayRemove = true;
    this.#poke();
  }

  /**
   * Lets all packets take the slow way for `ms`, or until `ms` is 0 for the same `by`: somebody has to see them. Resolves when it
   * is in force, and without doing anything where there is no fast path.
   */
  async pause(by: string, why: string, ms: number): Promise<void> {
    this.#pauses.set(by, why, ms);
    if (!this.#isMade) return;
    await this.#pauses.taken();
  }

  /** Makes it so, and keeps it so, until the signal aborts. What is in the kernel stays. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components;
    try {
      while (!signal.aborted) {
        await this.#sleep(signal);
        try {
          await this.#step(signal);
        } catch (error) {
          signal.throwIfAborted();
          log.error(`The fast path could not be set: ${messageOf(error)}; trying again`);
          this.#dirty = true;
          await clock.sleep(LOOK_MS, signal);
        }
      }
    } finally {
      this.#pauses.take();
      await this.#owner.release();
    }
  }

  /** What a start would do. */
  async plan(): Promise<Operation[]> {
    await this.#claim();
    if (this.#asked && this.#isPossible) await this.#judge.ensure();
    await this.#readContainers();
    this.#mode = this.#nextMode();
    if (this.#isMade) this.#set();
    else if (this.#mode === 'off') this.#owner.allowRemoval();
    return this.#owner.plan();
  }

  /** Absent where nobody has asked for it. */
  get status(): FastPathStatus | undefined {
    if (!this.#asked) return undefined;
    const [mode, way, countedOn, tcp] = [this.#mode, this.#way, this.#countedOn, this.#tcp];
    return this.#report.status({ mode, way, countedOn, tcp });
  }

  get #asked(): boolean {
    return this.#wish === 'on';
  }

  get #isPossible(): boolean {
    return this.#way !== undefined && typeof this.#way !== 'string' && this.#subnet !== undefined;
  }

  /** There are objects in the kernel, or there shall be. */
  get #isMade(): boolean {
    return this.#mode === 'paused' || this.#mode === 'fast';
  }

  #nextMode(): FastPathMode {
    if (this.#way === undefined) return 'untouched';
    if (!this.#asked || !this.#isPossible) return 'off';
    const { reasons } = this.#judge;
    // A daemon that was killed may have left it on, and its rules are not known yet.
    if (reasons === undefined) return 'untouched';
    if (reasons.length > 0) return this.#isMade ? 'paused' : 'off';
    return this.#pauses.isAny ? 'paused' : 'fast';
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { users } = this.#components;
    await this.#claim();
    if (this.#asked && this.#isPossible) await this.#follow(signal);
    const before = this.#mode;
    this.#mode = this.#nextMode();
    if (this.#mode === 'off' && before !== 'off') await this.#withdraw();
    if (!this.#isMade) {
      this.#pauses.take();
      return;
    }
    const way = this.#way;
    // While it is made, there is one.
    if (typeof way !== 'object') return;
    await users.use(this.#options.name, way.device);
    if (this.#rulesChanged) this.#generation = (this.#generation + 1) % 2 ** 32;
    this.#rulesChanged = false;
    this.#tcp = await users.isTcpLiberal();
    this.#set();
    if (this.#mayRemove) this.#owner.allowRemoval();
    for (const local of this.#containers.due()) this.#wanted.setContainer(local.ip, local);
    await this.#owner.settled();
    if (this.#tcp !== (await users.isTcpLiberal())) {
      this.#tcp = !this.#tcp;
      this.#set();
      await this.#owner.settled();
    }
    if (this.#mayRemove && this.#owner.status.failing.length === 0) await this.#claimed.keepOnly(way.device);
    this.#countedOn = way.device;
    this.#pauses.take();
    this.#report.say(this.status);
  }

  /** Takes all of it away, and puts back what was set for it. */
  async #withdraw(): Promise<void> {
    const { users, log } = this.#components;
    this.#wanted.withdraw(this.#containers.admitted);
    this.#countedOn = undefined;
    this.#owner.allowRemoval();
    await this.#owner.settled();
    const done = await users.leave(this.#options.name);
    if (done !== undefined) log.info(`The fast path is off: ${done}`);
    this.#report.say(this.status);
  }

  #set(): void {
    if (typeof this.#way !== 'object') return;
    const moment = {
      freshMs: this.#mode === 'fast' ? FRESH_MS : 0,
      tcp: this.#tcp,
      generation: this.#generation,
    };
    this.#wanted.set(this.#way, moment, this.#containers.admitted);
  }

  /** Begins to look at containers, rules and queues. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { reconciler, observeRules } = this.#components;
    if (!this.#isFollowing) {
      this.#isFollowing = true;
      const stops = [
        reconciler.observe((event) => this.#take(event)),
        observeRules(() => {
          this.#rulesChanged = true;
          this.#judge.poke();
          this.#poke();
        }),
      ];
      const stopAll = (): void => {
        for (const stop of stops) stop();
      };
      signal.addEventListener('abort', stopAll, { once: true });
      watchWire(this.#components, this.#wire, signal).catch(() => {});
    }
    await this.#readContainers();
    if (this.#judge.reasons === undefined) await this.#judge.start(signal);
  }

  get #wire(): WatchedWire {
    return {
      ends: () => this.#wanted.ends,
      source: () => {
        const [way, subnet] = [this.#way, this.#subnet];
        return typeof way === 'object' && subnet !== undefined && this.#mode === 'fast'
          ? { way, address: subnet.address }
          : undefined;
      },
      judged: (name, reason) => {
        if (!this.#wanted.refusePeer(name, reason)) return;
        const { log } = this.#components;
        if (reason === undefined) log.info(`Packets to ${name} may go fast again`);
        else log.warning(`Packets to ${name} stay slow: ${reason}`);
      },
    };
  }

  async #readContainers(): Promise<void> {
    if (this.#subnet === undefined || !(await this.#containers.begin(this.#subnet))) return;
    for (const [ip, local] of this.#containers.admitted) this.#wanted.setContainer(ip, local);
  }

  #take(event: KernelEvent): void {
    if (event.type === 'qdisc') this.#judge.poke();
    this.#containers.take(event);
  }

  #places(): CrossingPlace[] {
    const [way, network, subnet] = [this.#way, this.#network, this.#subnet];
    if (typeof way !== 'object' || network === undefined || subnet === undefined) return [];
    const { device, settings } = way;
    const { bridges } = this.#containers;
    return (bridges.length === 0 ? [DOCKER_BRIDGE] : bridges).map((bridge) => ({
      ...{ network, subnet, device, bridge, underlay: settings.underlay, port: settings.port },
    }));
  }

  #poke({ look = true } = {}): void {
    if (look) this.#dirty = true;
    this.#wake?.();
  }

  /** Until there is something to do. */
  async #sleep(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    if (this.#dirty) {
      this.#dirty = false;
      if (this.#rulesChanged) await clock.sleep(RULES_SETTLE_MS, signal);
      return;
    }
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    const admitMs = this.#containers.waitMs() ?? LOOK_MS;
    const waits = this.#isMade ? Math.min(admitMs, LOOK_MS) : LONGEST_MS;
    await clock.sleep(waits, AbortSignal.any([signal, wake.signal])).catch(() => {});
    this.#wake = undefined;
    signal.throwIfAborted();
  }
}

const LONGEST_MS = 60_000;
/** Until there is a bridge. */
const DOCKER_BRIDGE = 'docker0';
