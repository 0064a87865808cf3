import type { Backend, PeerPath } from '#src/backend/backend.ts';
import { type FastEnd, type FastWay, readFastPathWish } from '#src/backend/fast-way.ts';
import {
  fastPathObjects,
  fastPathScope,
  localObjects,
  peerObjects,
} from '#src/fast-path/fast-path-objects.ts';
import type { FastCounts } from '#src/fast-path/map-layouts.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import type { CrossingPlace } from '#src/firewall/what-counts.ts';
import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import { equalPrefix, formatIpv4, type Ipv4, type Prefix4 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Lease } from '#src/network/lease.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import { Admission } from '#src/node/fast-path/admission.ts';
import { FastPathJudge } from '#src/node/fast-path/fast-path-judge.ts';
import { LOCAL_KINDS, LocalContainers } from '#src/node/fast-path/local-containers.ts';
import { Pauses } from '#src/node/fast-path/pauses.ts';
import type { TcpLiberal } from '#src/node/fast-path/tcp-liberal.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { FastPath, KernelObject } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface FastPathComponents {
  readonly reconciler: Pick<Reconciler, 'own' | 'observe' | 'check'>;
  readonly kernel: Pick<Kernel, 'dump' | 'links'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Calls back for every change of the host's packet filter; returns how to stop. */
  readonly observeRules: (listener: () => void) => () => void;
  /** All rules of the host. */
  readonly readFilters: () => Promise<SeenFilters>;
  readonly liberal: TcpLiberal;
  /** What the programs on a VXLAN device's way have counted; `undefined` where there are none. */
  readonly counts: (device: string) => FastCounts | undefined;
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

type Mode = 'off' | 'untouched' | 'paused' | 'fast';

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
  readonly #peers = new Map<string, FastEnd | string>();
  readonly #admission = new Admission();
  readonly #pauses: Pauses;
  #locals: LocalContainers | undefined;
  #subnet: Prefix4 | undefined;
  #network: Prefix4 | undefined;
  #wish: 'on' | 'off' = 'off';
  /** Absent where there is none; the reason where the backend has none now. */
  #way: FastWay | string | undefined;
  #scopes: readonly Scope[] = [];
  #mode: Mode = 'untouched';
  #wanted: FastPath | undefined;
  #generation = 0;
  #tcp = false;
  #counts: FastCounts | undefined;
  #rulesChanged = false;
  #dirty = true;
  #wake: (() => void) | undefined;
  #isFollowing = false;
  #mayRemove = false;
  #said = '';

  constructor(components: FastPathComponents, options: FastPathOptions) {
    this.#components = components;
    this.#options = options;
    this.#owner = components.reconciler.own({
      name: `${options.name} fast path`,
      scopes: () => this.#scopes,
    });
    this.#pauses = new Pauses(components.clock, () => this.#poke());
    this.#judge = new FastPathJudge(components, {
      places: () => this.#places(),
      onVerdict: () => this.#poke(),
    });
  }

  /** Another intent: another wish, another way. Peers are said again after it. */
  use({ config, backend, subnets }: Pick<NetworkIntent, 'config' | 'backend' | 'subnets'>): void {
    this.#wish = readFastPathWish(config.backend.options) ?? this.#options.flag;
    this.#network = networksOf(config.ranges).v4;
    if (subnets.v4 === undefined || this.#subnet === undefined || !equalPrefix(this.#subnet, subnets.v4))
      this.#locals = undefined;
    this.#subnet = subnets.v4;
    this.#useWay(backend.fastWay ?? `the backend ${backend.type} has none`);
    this.#poke();
  }

  #useWay(way: FastWay | string): void {
    this.#way = way;
  }

  /** What was made for a device before this one is still there to be removed. */
  #claim(): void {
    const way = this.#way;
    if (typeof way !== 'object' || this.#scopes.some(({ owns }) => owns(settingsOf(way)))) return;
    this.#scopes = [...this.#scopes, fastPathScope(way.device)];
    this.#components.reconciler.check();
  }

  /** A peer that packets go to. */
  peer(lease: Lease, backend: Pick<Backend, 'fastWay'>, path: PeerPath): void {
    const { fastWay } = backend;
    if (fastWay === undefined || typeof fastWay === 'string') {
      this.gone(lease.name);
      return;
    }
    const end = fastWay.peer(lease, path);
    this.#peers.set(lease.name, end);
    this.#setPeer(lease.name, end);
  }

  /** A peer that there is no more. */
  gone(name: string): void {
    if (this.#peers.delete(name)) this.#setPeer(name, undefined);
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
    if (this.#asked || (await this.#components.liberal.isUser(this.#options.name))) this.#claim();
    if (this.#asked && this.#isPossible) await this.#judge.ensure();
    this.#readLocals(await this.#components.kernel.dump({ kinds: LOCAL_KINDS }));
    this.#mode = this.#nextMode();
    if (this.#isMade) this.#setAll();
    else if (this.#mode === 'off') this.#owner.allowRemoval();
    return this.#owner.plan();
  }

  /** Absent where nobody has asked for it. */
  get status(): FastPathStatus | undefined {
    if (!this.#asked) return undefined;
    const reasons = this.#reasons;
    const slow = Array.from(this.#peers).flatMap(([lease, end]) =>
      typeof end === 'string' ? [{ lease, reason: end }] : [],
    );
    return {
      state: this.#stateWord,
      reasons,
      containers: this.#isMade ? this.#admission.admitted.size : 0,
      peers: this.#peers.size - slow.length,
      slowPeers: slow,
      queues: Array.from(this.#locals?.queued ?? [], ([device, queue]) => ({ device, queue })),
      tcp: this.#tcp,
      ...(this.#counts !== undefined && { packets: this.#counts }),
    };
  }

  get #stateWord(): FastPathStatus['state'] {
    if (this.#reasons.length > 0) return this.#pauses.isAny && this.#mode === 'paused' ? 'paused' : 'refused';
    return this.#mode === 'fast' ? 'on' : 'starting';
  }

  get #reasons(): string[] {
    if (typeof this.#way === 'string') return [this.#way];
    const failure = this.#owner.status.failing.find(({ key }) => !key.startsWith('sysctl '));
    return [
      ...this.#pauses.reasons,
      ...(this.#judge.reasons ?? []),
      ...(failure === undefined ? [] : [`the kernel refuses ${failure.key}: ${failure.reason}`]),
    ];
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

  #nextMode(): Mode {
    if (this.#way === undefined) return 'untouched';
    if (!this.#asked || !this.#isPossible) return 'off';
    const { reasons } = this.#judge;
    // A daemon that was killed may have left it on, and its rules are not known yet.
    if (reasons === undefined) return 'untouched';
    if (reasons.length > 0) return this.#isMade ? 'paused' : 'off';
    return this.#pauses.isAny ? 'paused' : 'fast';
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { liberal, counts } = this.#components;
    // A network that never had a fast path does not look for what is left of one.
    if (this.#asked || (await liberal.isUser(this.#options.name))) this.#claim();
    if (this.#asked && this.#isPossible) await this.#follow(signal);
    const before = this.#mode;
    const device = this.#wanted?.set;
    this.#mode = this.#nextMode();
    if (this.#mode === 'off' && before !== 'off') await this.#withdraw();
    if (!this.#isMade) {
      this.#pauses.take();
      return;
    }
    await liberal.use(this.#options.name);
    if (this.#rulesChanged) this.#generation = (this.#generation + 1) % 2 ** 32;
    this.#rulesChanged = false;
    this.#tcp = await liberal.isSet();
    if (device === undefined || device !== this.#device) this.#setAll();
    else this.#setOwn();
    if (this.#mayRemove) this.#owner.allowRemoval();
    for (const local of this.#admission.due(this.#components.clock.monotonic()))
      this.#owner.set(containerSubject(local.ip), localObjects(this.#device, local));
    await this.#owner.settled();
    if (this.#tcp !== (await liberal.isSet())) {
      this.#tcp = !this.#tcp;
      this.#setOwn();
      await this.#owner.settled();
    }
    this.#counts = counts(this.#device);
    this.#pauses.take();
    this.#say();
  }

  /** Takes all of it away, and puts back what was set for it. */
  async #withdraw(): Promise<void> {
    const { liberal, log } = this.#components;
    for (const name of this.#peers.keys()) this.#owner.set(`peer ${name}`, []);
    for (const ip of this.#admission.admitted.keys()) this.#owner.set(containerSubject(ip), []);
    this.#owner.set('own', []);
    this.#wanted = undefined;
    this.#counts = undefined;
    this.#owner.allowRemoval();
    await this.#owner.settled();
    const done = await liberal.leave(this.#options.name);
    if (done !== undefined) log.info(`The fast path is off: ${done}`);
    this.#say();
  }

  get #device(): string {
    return typeof this.#way === 'object' ? this.#way.device : '';
  }

  #setAll(): void {
    this.#wanted = undefined;
    this.#setOwn();
    for (const [name, end] of this.#peers) this.#setPeer(name, end);
    for (const [ip, local] of this.#admission.admitted)
      this.#owner.set(containerSubject(ip), localObjects(this.#device, local));
  }

  #setOwn(): void {
    if (typeof this.#way !== 'object') return;
    const wanted: FastPath = {
      ...settingsOf(this.#way),
      freshMs: this.#mode === 'fast' ? FRESH_MS : 0,
      tcp: this.#tcp,
      generation: this.#generation,
    };
    if (JSON.stringify(wanted) === JSON.stringify(this.#wanted)) return;
    this.#wanted = wanted;
    const { kind: _, ...settings } = wanted;
    const objects = fastPathObjects({ ...settings, tcp: true, peers: [], locals: [] });
    this.#owner.set(
      'own',
      objects.map((object): KernelObject => (object.kind === 'fast-path' ? wanted : object)),
    );
  }

  #setPeer(name: string, end: FastEnd | string | undefined): void {
    if (!this.#isMade) return;
    this.#owner.set(`peer ${name}`, typeof end === 'object' ? peerObjects(this.#device, end) : []);
  }

  /** Begins to look at containers, rules and queues. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { reconciler, kernel, observeRules } = this.#components;
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
    }
    if (this.#locals === undefined) this.#readLocals(await kernel.dump({ kinds: LOCAL_KINDS }));
    if (this.#judge.reasons === undefined) await this.#judge.start(signal);
  }

  /** What is there at a start had its hooks before, or gets them now. */
  #readLocals(objects: readonly KernelObject[]): void {
    const subnet = this.#subnet;
    if (subnet === undefined) return;
    let isFirst = true;
    const { clock } = this.#components;
    this.#locals ??= new LocalContainers(subnet, (ip, local) => {
      if (isFirst && local !== undefined) this.#admission.admit(local);
      else this.#changeLocal(ip, this.#admission.change(ip, local, clock.monotonic()));
    });
    this.#locals.replace(objects);
    isFirst = false;
  }

  #changeLocal(ip: Ipv4, wasAdmitted: boolean): void {
    if (wasAdmitted && this.#isMade) this.#owner.set(containerSubject(ip), []);
    this.#poke({ look: false });
  }

  #take(event: KernelEvent): void {
    const { kernel, log } = this.#components;
    if (this.#locals === undefined) return;
    if (event.type === 'qdisc') this.#judge.poke();
    if (this.#locals.take(event) !== 'again') return;
    kernel.dump({ kinds: LOCAL_KINDS }).then(
      (objects) => {
        this.#locals?.replace(objects);
        this.#judge.poke();
      },
      (error) => log.warning(`Could not look for containers: ${messageOf(error)}`),
    );
  }

  #places(): CrossingPlace[] {
    const [way, network, subnet] = [this.#way, this.#network, this.#subnet];
    if (typeof way !== 'object' || network === undefined || subnet === undefined) return [];
    const { device, settings } = way;
    const bridges = [...(this.#locals?.bridges ?? [])];
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
    const waits = this.#isMade ? (this.#admission.waitMs(clock.monotonic()) ?? LOOK_MS) : LONGEST_MS;
    await clock
      .sleep(Math.min(waits, LOOK_MS, LONGEST_MS), AbortSignal.any([signal, wake.signal]))
      .catch(() => {});
    this.#wake = undefined;
    signal.throwIfAborted();
  }

  /** Each state once. */
  #say(): void {
    const { log } = this.#components;
    const status = this.status;
    const text =
      status === undefined
        ? 'The fast path is off'
        : status.state === 'on'
          ? `The fast path is on${status.tcp ? '' : ', but not for TCP: nf_conntrack_tcp_be_liberal can’t be set'}`
          : `The fast path is ${status.state}: ${status.reasons.join('; ')}`;
    if (text === this.#said) return;
    this.#said = text;
    log.info(text);
  }
}

const LONGEST_MS = 60_000;
/** Until there is a bridge. */
const DOCKER_BRIDGE = 'docker0';

const settingsOf = ({ device, settings }: FastWay): FastPath => ({
  ...{ kind: 'fast-path', set: device, freshMs: 0, tcp: false, generation: 0 },
  ...settings,
});

const containerSubject = (ip: Ipv4): string => `container ${formatIpv4(ip)}`;
