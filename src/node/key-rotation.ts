import type { BackendSecrets } from '#src/backend/backend.ts';
import type { KeyRole } from '#src/backend/key-pairs.ts';
import { type HeldUp, Rotation } from '#src/backend/rotation.ts';
import {
  KEY_ROLES,
  type KeySide,
  type KeyRotation as KnownKeys,
  otherSide,
  ownNumbers,
  type PlacedPlan,
  peerKeysOf,
} from '#src/backend/rotation-keys.ts';
import { RotationSchedule } from '#src/backend/rotation-schedule.ts';
import type { WireguardKey } from '#src/backend/wireguard-key.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { InOrder } from '#src/lib/in-order.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import { untilAborted } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { type PeerFigures, TunnelFigures } from '#src/node/tunnel-figures.ts';
import type { RotationStatus } from '#src/observe/node-status.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

/** The node's key, and the one that takes its place. */
export interface RotatedKeys {
  current(): Promise<WireguardKey>;
  /** `undefined` when no rotation is under way. */
  next(): Promise<WireguardKey | undefined>;
  makeNext(): Promise<WireguardKey>;
  /** The next key is the node's own from now on. */
  promote(): Promise<void>;
  /** Milliseconds since the current one was made, by the wall clock. */
  ageMs(now: number): Promise<number>;
}

export interface KeyRotationComponents {
  readonly keys: RotatedKeys;
  /** The peers of a WireGuard device, as the kernel has them now; none where there is no such device. */
  readonly figures: (device: string) => Promise<readonly PeerFigures[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: HostEvents;
}

export interface KeyRotationOptions {
  /** Milliseconds; 0: this node begins none and takes no part in others', but ends one that is under way. */
  readonly intervalMs: number;
  readonly patienceMs: number;
}

/** What a rotation asks of its network. */
export interface RotatedNetwork {
  /** The names of the devices with a key of ours, by its role. */
  devicesOf(role: KeyRole): readonly string[];
  /** Accepted leases of the other nodes. */
  leases(): Iterable<Lease>;
  /** Devices, rules and lease as {@link KeyRotation.secrets} has it now. Rejects with what could not be done. */
  apply(): Promise<void>;
  /** The kernel gets what these peers need now. */
  replan(names: readonly string[]): Promise<void>;
  /** Whether the registry has our lease with this key in flannel's fields. */
  isPublished(publicKey: string): boolean;
  /** Why no rotation can begin, for reasons of the network; `undefined` when one can. */
  obstacle?(): string | undefined;
}

type SideOf = (current: string, next: string | undefined) => Promise<KeySide>;
type KnownSecrets = Pick<BackendSecrets, 'wireguardKey' | 'keyRotation'>;

const IDLE_MS = 5_000;
const BUSY_MS = 1_000;
/** From the new key in the registry to the end of the old device: others hear of it meanwhile. */
const LINGER_MS = 5_000;

/**
 * Drives a {@link Rotation}: looks at the tunnels, and does what it says. What it knows after a start is in the key files, in
 * the node's own lease and in the kernel.
 */
export class KeyRotation {
  readonly #components: KeyRotationComponents;
  readonly #options: KeyRotationOptions;
  readonly #figures = new TunnelFigures();
  /** A change of the files counts together with what is known of it: nobody reads one without the other. */
  readonly #files = new InOrder();
  /** Over which devices routes went at the start, by their destination. */
  #found: ReadonlyMap<string, string> = new Map();
  /** What the kernel said of the peers of our devices at the start, by our key's role. */
  readonly #first: Record<KeyRole, readonly (readonly PeerFigures[])[]> = { current: [], next: [] };
  #side: KeySide = 'a';
  #rotation: Rotation | undefined;
  #schedule: RotationSchedule | undefined;
  #network: RotatedNetwork | undefined;
  #isAsked = false;
  /** When the registry first had the next key as ours. */
  #publishedAt: number | undefined;
  #heldUp: readonly HeldUp[] = [];
  #reason: string | undefined;

  constructor(components: KeyRotationComponents, options: KeyRotationOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** What a backend needs to know of the keys. Absent where none of it is wanted, and nothing is under way. */
  secrets(sideOf: SideOf): Promise<KnownSecrets> {
    return this.#files.run(() => this.#readSecrets(sideOf));
  }

  async #readSecrets(sideOf: SideOf): Promise<KnownSecrets> {
    const { keys } = this.#components;
    const [wireguardKey, nextKey] = [await keys.current(), await keys.next()];
    if (this.#rotation === undefined) this.#side = await sideOf(wireguardKey.publicKey, nextKey?.publicKey);
    const takesPart = this.#options.intervalMs > 0 || nextKey !== undefined;
    if (!takesPart && this.#side === 'a') return { wireguardKey };
    const numbers = this.#rotation?.numbers;
    const keyRotation: KnownKeys = {
      side: this.#side,
      takesPart,
      ...(nextKey !== undefined && { nextKey }),
      ...(numbers !== undefined && { numbers, isEnding: this.#rotation?.phase === 'ending' }),
    };
    return { wireguardKey, keyRotation };
  }

  /**
   * The node has its lease. `found`: devices by the destinations of the kernel's routes. To be called before the first peer is
   * planned.
   */
  async settle(own: LeaseAttributes, found: ReadonlyMap<string, string>): Promise<void> {
    const { keys, clock, random, figures } = this.#components;
    const { intervalMs, patienceMs } = this.#options;
    const network = this.#network;
    if (this.#rotation !== undefined || network === undefined) return;
    const next = await keys.next();
    if (intervalMs === 0 && next === undefined) return;
    const { numbers, isEnding } = ownNumbers(own, next?.publicKey);
    this.#rotation = new Rotation({ patienceMs }, numbers, isEnding);
    this.#found = found;
    for (const role of KEY_ROLES)
      this.#first[role] = await Promise.all(network.devicesOf(role).map((device) => figures(device)));
    const now = clock.monotonic();
    if (intervalMs > 0)
      this.#schedule = new RotationSchedule({ intervalMs, random }, await keys.ageMs(clock.now()), now);
  }

  /** Between which keys packets to this peer go; `undefined` where there is one of each. */
  planFor(lease: Lease): PlacedPlan | undefined {
    const rotation = this.#rotation;
    if (rotation === undefined) return undefined;
    const now = this.#components.clock.monotonic();
    const isNew = rotation.planOf(lease.name) === undefined;
    const [subnet] = valuesOf(lease.subnets);
    const device = isNew && subnet !== undefined ? this.#found.get(formatPrefix(subnet)) : undefined;
    const isOnNext = device !== undefined && this.#network?.devicesOf('next').includes(device);
    rotation.setPeer(lease.name, peerKeysOf(lease.attributes), now, isOnNext ? 'next' : 'current');
    // What the kernel has from before counts when the route is chosen for the first time.
    if (isNew) for (const role of KEY_ROLES) this.#see(rotation, lease, role, this.#first[role], now);
    rotation.decideOn(lease.name, now);
    const plan = rotation.planOf(lease.name);
    return plan && { ...plan, side: this.#side };
  }

  #see(
    rotation: Rotation,
    { name, attributes }: Lease,
    role: KeyRole,
    reports: readonly (readonly PeerFigures[])[],
    now: number,
  ): void {
    const theirs = rotation.planOf(name)?.tunnels[role];
    const key = theirs && peerKeysOf(attributes)[theirs];
    if (key === undefined) return;
    const seen = this.#figures.of(`${role} ${name} ${key}`, reports, key, role === 'next');
    rotation.see(name, role, seen, now);
  }

  /** The network's backend has no keys any more: what comes later begins as after a start. */
  leave(): void {
    if (this.#network === undefined) return;
    this.#network = undefined;
    this.#rotation = undefined;
    this.#schedule = undefined;
    this.#isAsked = false;
    this.#publishedAt = undefined;
    this.#heldUp = [];
    this.#reason = undefined;
  }

  /** A peer that has no lease any more, or one that is not accepted. */
  forget(name: string): void {
    this.#rotation?.removePeer(name);
    this.#figures.forget(name);
  }

  /** Begins one soon, whatever the interval says. Returns why that can't be. */
  request(): string | undefined {
    if (this.#rotation === undefined)
      return 'its flanneld runs without --wireguard-rotate, or with another backend than wireguard';
    const obstacle = this.#obstacle(this.#rotation);
    if (obstacle === undefined) this.#isAsked = true;
    return obstacle;
  }

  get status(): RotationStatus | undefined {
    const rotation = this.#rotation;
    if (rotation === undefined) return undefined;
    const { peers, moved } = rotation.progress;
    const dueMs = this.#schedule && this.#schedule.dueAt - this.#components.clock.monotonic();
    return {
      generation: rotation.published.current,
      phase: rotation.phase,
      ...(rotation.phase === 'moving' && { peers, moved }),
      ...(rotation.phase === 'idle' &&
        dueMs !== undefined && { nextSeconds: Math.max(0, Math.round(dueMs / 1000)) }),
      heldUp: this.#heldUp.map(({ name, reason }) => ({ lease: name, reason })),
      ...(this.#reason !== undefined && { reason: this.#reason }),
    };
  }

  /** To be called before the first peer is planned. */
  use(network: RotatedNetwork): void {
    this.#network = network;
  }

  /** Until the signal aborts, and rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, log } = this.#components;
    if (this.#rotation === undefined && this.#options.intervalMs === 0) {
      await untilAborted(signal);
      throw signal.reason;
    }
    for (;;) {
      await untilBeat(clock, this.#isBusy ? BUSY_MS : IDLE_MS, signal);
      // That of a start from memory gives way to the one that runs. A change of the backend takes both away, or brings them.
      const [rotation, network] = [this.#rotation, this.#network];
      if (rotation === undefined || network === undefined) continue;
      try {
        await this.#step(rotation, network);
      } catch (error) {
        signal.throwIfAborted();
        log.warning(`The rotation of WireGuard keys could not go on: ${messageOf(error)}; it is tried again`);
      }
    }
  }

  get #isBusy(): boolean {
    const rotation = this.#rotation;
    return rotation !== undefined && (rotation.phase !== 'idle' || rotation.areOthersBusy || this.#isAsked);
  }

  async #step(rotation: Rotation, network: RotatedNetwork): Promise<void> {
    const { clock } = this.#components;
    const now = clock.monotonic();
    if (this.#isBusy) await this.#look(rotation, network);
    const changed = rotation.decide(now);
    if (changed.length > 0) await network.replan(changed);
    this.#heldUp = rotation.heldUp(now);
    if (rotation.phase === 'moving' && this.#heldUp.length === 0) await this.#publish(rotation, network);
    else if (rotation.phase === 'ending') await this.#endWhenHeard(rotation, network);
    else if (rotation.phase === 'idle') await this.#beginWhenDue(rotation, network);
  }

  /** What came through the tunnels since the last look. */
  async #look(rotation: Rotation, network: RotatedNetwork): Promise<void> {
    const { figures, clock } = this.#components;
    for (const role of KEY_ROLES) {
      const devices = network.devicesOf(role);
      if (devices.length === 0) continue;
      const reports = await Promise.all(devices.map((device) => figures(device)));
      const now = clock.monotonic();
      for (const lease of network.leases()) this.#see(rotation, lease, role, reports, now);
      this.#first[role] = [];
    }
  }

  /** Why no rotation can begin here; `undefined` when one can. */
  #obstacle(rotation: Rotation): string | undefined {
    const [stranger] = rotation.strangers;
    if (stranger !== undefined)
      return `${stranger} takes no part in it: it is flannel, or a weft without --wireguard-rotate`;
    if (rotation.phase !== 'idle' || rotation.areOthersBusy) return 'one is under way';
    return this.#network?.obstacle?.();
  }

  async #beginWhenDue(rotation: Rotation, network: RotatedNetwork): Promise<void> {
    const { clock } = this.#components;
    const { asked } = rotation;
    if (this.#options.intervalMs === 0) return;
    if (asked !== undefined) {
      const why = rotation.strangers.length === 0 ? network.obstacle?.() : this.#obstacle(rotation);
      this.#say(why);
      if (why === undefined) await this.#begin(rotation, network, asked, 'another node has begun');
      return;
    }
    const now = clock.monotonic();
    const isDue = this.#schedule !== undefined && now >= this.#schedule.dueAt;
    if (!isDue && !this.#isAsked) {
      if (rotation.strangers.length > 0) this.#say(this.#obstacle(rotation));
      else this.#say(undefined);
      return;
    }
    const obstacle = this.#obstacle(rotation);
    this.#say(obstacle);
    this.#schedule?.postpone(now);
    this.#isAsked = false;
    if (obstacle === undefined) await this.#begin(rotation, network, rotation.following, 'it is time');
  }

  async #begin(rotation: Rotation, network: RotatedNetwork, number: number, why: string): Promise<void> {
    const { keys, clock, log } = this.#components;
    // It is what was asked for, also when another node began it.
    this.#isAsked = false;
    await this.#files.run(async () => {
      await keys.makeNext();
      rotation.begin(number, clock.monotonic());
      rotation.decide(clock.monotonic());
    });
    this.#found = new Map();
    log.info(
      `Rotating the WireGuard key (${why}): the next one is ready, and peers shake hands with it first`,
    );
    this.#note('info', 'The WireGuard key is rotated: the next one is announced');
    await network.apply();
  }

  async #publish(rotation: Rotation, network: RotatedNetwork): Promise<void> {
    const { clock, log } = this.#components;
    rotation.publish(clock.monotonic());
    rotation.decide(clock.monotonic());
    this.#publishedAt = undefined;
    log.info('Nobody uses the old WireGuard key any more: the lease names the next one');
    await network.apply();
  }

  async #endWhenHeard(rotation: Rotation, network: RotatedNetwork): Promise<void> {
    const { keys, clock, log } = this.#components;
    const next = await keys.next();
    if (next === undefined) throw new Error('the file of the next key is gone');
    const now = clock.monotonic();
    if (!network.isPublished(next.publicKey)) return;
    this.#publishedAt ??= now;
    if (now - this.#publishedAt < LINGER_MS) return;
    await this.#files.run(async () => {
      await keys.promote();
      rotation.end(now);
      rotation.decide(now);
      this.#side = otherSide(this.#side);
    });
    this.#publishedAt = undefined;
    this.#found = new Map();
    this.#schedule?.renewed(now);
    log.info(`The WireGuard key is rotated: ${next.publicKey} is in force, and the old one is gone`);
    this.#note('info', 'The WireGuard key is rotated: the old one is gone');
    await network.apply();
  }

  /** Once for each reason. */
  #say(reason: string | undefined): void {
    if (this.#reason === reason) return;
    this.#reason = reason;
    if (reason === undefined) return;
    this.#components.log.warning(`WireGuard keys are not rotated: ${reason}`);
    this.#note('warning', `WireGuard keys are not rotated: ${reason}`);
  }

  #note(severity: 'info' | 'warning', text: string): void {
    this.#components.events.note({ type: 'rotation', severity, subject: 'wireguard', text });
  }
}
