import type { KeyRole } from '#src/backend/key-pairs.ts';
import { Rotation } from '#src/backend/rotation.ts';
import type { PeerKeys } from '#src/backend/rotation-peer.ts';

/** Milliseconds of one tick of the model: a node looks at its kernel once in it. */
export const TICK_MS = 1_000;
const REKEY_AFTER_TICKS = 120;
/** Between the lease that names the new key, and the end of the old device. */
const LINGER_TICKS = 5;
export const PATIENCE_MS = 240_000;

/** A peer of a device: WireGuard lets a source address in from one peer of a device only. */
interface KernelPeer {
  key: string;
  awake: boolean;
  shakenAt: number | undefined;
  received: number;
}

interface OwnKey {
  readonly key: string;
  readonly number: number;
}

/** A host with a kernel that forwards without its daemon, key files, and a daemon that may be dead. */
export class RotatingNode {
  readonly name: string;
  isUp = true;
  /** Hears nothing of the registry, and writes nothing. */
  isCutOff = false;
  /** Since when other hosts may lose packets to it or from it: it was down, or let go. */
  excused: boolean = false;
  keys: { current: OwnKey; next?: OwnKey };
  readonly devices = new Map<string, Map<string, KernelPeer>>();
  readonly routes = new Map<string, string>();
  rotation: Rotation | undefined;
  lease: PeerKeys;
  endsAt: number | undefined;
  readonly seen = new Map<string, PeerKeys>();
  #made = 0;

  constructor(name: string) {
    this.name = name;
    this.keys = { current: this.newKey(1) };
    this.lease = { current: this.keys.current.key, numbers: { current: 1 }, takesPart: true };
  }

  newKey(number: number): OwnKey {
    this.#made += 1;
    return { key: `${this.name}${this.#made}`, number };
  }
}

/** A network of such hosts, with a registry whose news come late and in any order. */
export class RotatingNetwork {
  readonly nodes: RotatingNode[];
  readonly #random: () => number;
  now = 0;
  /** Packets that did not arrive though both hosts were there, and are not excused. */
  readonly lost: string[] = [];
  /** Routes that were put on a tunnel without a handshake while there was one with. */
  readonly unsafe: string[] = [];

  constructor(names: readonly string[], random: () => number) {
    this.#random = random;
    this.nodes = names.map((name) => new RotatingNode(name));
    for (const node of this.nodes) this.startDaemon(node);
  }

  get isIdle(): boolean {
    return this.nodes.every(({ keys, rotation }) => keys.next === undefined && rotation?.phase === 'idle');
  }

  /** A daemon's start: what it knows is in its key files, its lease and the kernel. */
  startDaemon(node: RotatingNode): void {
    const { current, next } = node.keys;
    const isEnding = next !== undefined && node.lease.current === next.key;
    const numbers = { current: current.number, ...(next !== undefined && { next: next.number }) };
    node.rotation = new Rotation({ patienceMs: PATIENCE_MS }, numbers, isEnding);
    node.endsAt = isEnding ? this.now + LINGER_TICKS : undefined;
    node.seen.clear();
  }

  killDaemon(node: RotatingNode): void {
    node.rotation = undefined;
  }

  /** The host loses its kernel's state, and its keys where they are in memory. */
  kill(node: RotatingNode): void {
    node.isUp = false;
    node.excused = true;
    node.rotation = undefined;
    node.devices.clear();
    node.routes.clear();
  }

  boot(node: RotatingNode, areKeysLost: boolean): void {
    node.isUp = true;
    if (areKeysLost) node.keys = { current: node.newKey(node.lease.numbers.current) };
    this.startDaemon(node);
    this.#writeLease(node);
  }

  /** The operator, or the clock, asks for a rotation. True when it begins. */
  begin(node: RotatingNode): boolean {
    const { rotation } = node;
    if (rotation?.phase !== 'idle' || rotation.strangers.length > 0 || rotation.areOthersBusy) return false;
    this.#begin(node, rotation, rotation.following);
    return true;
  }

  tick(): void {
    this.now += 1;
    const order = [...this.nodes].sort(() => this.#random() - 0.5);
    for (const node of order) if (node.rotation !== undefined) this.#work(node, node.rotation);
    for (const node of order) if (node.isUp) this.#send(node);
    if (this.isIdle && this.nodes.every(({ isUp }) => isUp)) this.#excuseNobody();
  }

  run(ticks: number, each: () => void = () => {}): void {
    for (let count = 0; count < ticks; count++) {
      each();
      this.tick();
    }
  }

  #excuseNobody(): void {
    const passes = this.nodes.every((from) =>
      this.nodes.every((to) => from === to || this.#arrives(from, from.routes.get(to.name), to)),
    );
    if (passes) for (const node of this.nodes) node.excused = false;
  }

  #work(node: RotatingNode, rotation: Rotation): void {
    this.#hear(node, rotation);
    const monotonic = this.now * TICK_MS;
    for (const peer of this.nodes) {
      if (peer === node) continue;
      for (const own of ['current', 'next'] as const) {
        const key = node.keys[own]?.key;
        const found = key === undefined ? undefined : node.devices.get(key)?.get(peer.name);
        const seen = found && { shaken: found.shakenAt !== undefined, received: found.received };
        rotation.see(peer.name, own, seen, monotonic);
      }
    }
    rotation.decide(monotonic);
    // The kernel may be busy, and get what is wanted a look later.
    if (this.#random() < 0.8) this.#program(node, rotation);
    this.#drive(node, rotation, monotonic);
  }

  #hear(node: RotatingNode, rotation: Rotation): void {
    for (const peer of this.nodes) {
      if (peer === node) continue;
      const known = node.seen.get(peer.name);
      const isNews = known !== peer.lease && !node.isCutOff && (known === undefined || this.#random() < 0.5);
      if (!isNews) continue;
      node.seen.set(peer.name, peer.lease);
      const isOnNext = node.keys.next !== undefined && node.routes.get(peer.name) === node.keys.next.key;
      rotation.setPeer(peer.name, peer.lease, this.now * TICK_MS, isOnNext ? 'next' : 'current');
    }
  }

  #program(node: RotatingNode, rotation: Rotation): void {
    const own = (role: KeyRole): string | undefined => node.keys[role]?.key;
    const wanted = [own('current'), own('next')].filter((key) => key !== undefined);
    for (const key of node.devices.keys()) if (!wanted.includes(key)) node.devices.delete(key);
    for (const key of wanted) if (!node.devices.has(key)) node.devices.set(key, new Map());
    for (const [name, lease] of node.seen) {
      const plan = rotation.planOf(name);
      if (plan === undefined) continue;
      for (const role of ['current', 'next'] as const) {
        const device = node.devices.get(own(role) ?? '');
        const theirs = plan.tunnels[role];
        const key = theirs === undefined ? undefined : lease[theirs];
        if (key === undefined) device?.delete(name);
        else if (device?.get(name)?.key !== key)
          device?.set(name, { key, awake: false, shakenAt: undefined, received: 0 });
        const peer = device?.get(name);
        if (peer !== undefined) peer.awake = plan.awake.includes(role);
      }
      this.#setRoute(node, name, own(plan.route));
    }
  }

  #setRoute(node: RotatingNode, name: string, key: string | undefined): void {
    if (key === undefined || node.routes.get(name) === key) return;
    const shaken = (device: string): boolean => node.devices.get(device)?.get(name)?.shakenAt !== undefined;
    const other = [...node.devices.keys()].find((device) => device !== key && shaken(device));
    if (!shaken(key) && other !== undefined && !node.excused && !this.#isExcused(name))
      this.unsafe.push(`${this.now}: ${node.name} to ${name} on ${key}, and ${other} has a handshake`);
    node.routes.set(name, key);
  }

  #drive(node: RotatingNode, rotation: Rotation, monotonic: number): void {
    if (node.isCutOff) return;
    const { asked } = rotation;
    if (asked !== undefined && rotation.strangers.length === 0) this.#begin(node, rotation, asked);
    else if (rotation.phase === 'moving' && rotation.heldUp(monotonic).length === 0) {
      rotation.publish(monotonic);
      for (const [name] of node.seen) {
        const plan = rotation.planOf(name);
        // Let go: it comes back by its lease.
        if (plan?.tunnels.next === 'current' || plan?.tunnels.next === undefined) this.#excuse(name);
      }
      this.#writeLease(node);
      node.endsAt = this.now + LINGER_TICKS;
    } else if (node.endsAt !== undefined && this.now >= node.endsAt && node.keys.next !== undefined) {
      rotation.end(monotonic);
      node.keys = { current: { ...node.keys.next, number: rotation.published.current } };
      node.endsAt = undefined;
      this.#program(node, rotation);
    }
  }

  /** The kernel has the second device, and keeps the old tunnels awake, before the lease says so. */
  #begin(node: RotatingNode, rotation: Rotation, number: number): void {
    node.keys = { ...node.keys, next: node.newKey(number) };
    rotation.begin(number, this.now * TICK_MS);
    rotation.decide(this.now * TICK_MS);
    this.#program(node, rotation);
    this.#writeLease(node);
  }

  #writeLease(node: RotatingNode): void {
    const { keys, rotation } = node;
    if (rotation === undefined) return;
    const numbers = rotation.published;
    const { current, next } = keys;
    node.lease =
      rotation.phase === 'ending' && next !== undefined
        ? { current: next.key, numbers, takesPart: true }
        : { current: current.key, ...(next !== undefined && { next: next.key }), numbers, takesPart: true };
  }

  #excuse(name: string): void {
    const node = this.nodes.find((candidate) => candidate.name === name);
    if (node !== undefined && (!node.isUp || node.isCutOff)) node.excused = true;
  }

  #isExcused(name: string): boolean {
    return this.nodes.find((candidate) => candidate.name === name)?.excused ?? true;
  }

  /** Data, keepalives, and the handshakes that they ask for. */
  #send(node: RotatingNode): void {
    for (const [device, peers] of node.devices) {
      for (const [name, peer] of peers) {
        const other = this.#endOf(node, device, name);
        if (other === undefined) continue;
        const isRoute = node.routes.get(name) === device;
        const sends = peer.awake || (isRoute && this.#random() < 0.3);
        if (!sends) continue;
        if (peer.shakenAt === undefined || this.now - peer.shakenAt >= REKEY_AFTER_TICKS) {
          for (const end of [peer, other])
            Object.assign(end, { shakenAt: this.now, received: end.received + 92 });
        }
        other.received += 32;
      }
    }
    for (const to of this.nodes) {
      const key = node.routes.get(to.name);
      if (to === node || key === undefined || node.excused || to.excused || !to.isUp) continue;
      if (!this.#arrives(node, key, to)) this.lost.push(`${this.now}: ${node.name} to ${to.name} by ${key}`);
    }
  }

  #arrives(from: RotatingNode, key: string | undefined, to: RotatingNode): boolean {
    return key !== undefined && this.#endOf(from, key, to.name) !== undefined;
  }

  /** The peer at the other end of a tunnel, when both ends are as they must be. */
  #endOf(node: RotatingNode, device: string, name: string): KernelPeer | undefined {
    const to = this.nodes.find((candidate) => candidate.name === name);
    const peer = node.devices.get(device)?.get(name);
    if (!node.isUp || !to?.isUp || peer === undefined) return undefined;
    const end = to.devices.get(peer.key)?.get(node.name);
    return end?.key === device ? end : undefined;
  }
}
