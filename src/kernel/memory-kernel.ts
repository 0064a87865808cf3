import { RTNETLINK_CODECS } from '#src/kernel/codecs.ts';
import { RT_TABLE_MAIN } from '#src/kernel/constants.ts';
import type { DumpQuery, Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import type { RouteDecision, RouteQuestion } from '#src/kernel/route-question.ts';
import { containsAddress, type Ip } from '#src/lib/ip.ts';
import type { Kind } from '#src/state/kind.ts';
import { metricOf } from '#src/state/kinds/route.ts';
import type { Kinds } from '#src/state/kinds.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

/**
 * A network namespace in memory, for tests, with the habits of the kernel that matter to a reconciler. A device that
 * goes takes along what is on it. One that goes down loses its routes and neighbours, and no event reports that. One that
 * comes into a bridge gets the kernel's flags there, and loses them and its entries when it leaves.
 */
export class MemoryKernel implements Kernel {
  readonly #kinds: Kinds<KernelObject>;
  readonly #objects = new Map<string, KernelObject>();
  readonly #listeners = new Set<(event: KernelEvent) => void>();
  #nextIndex = 1;
  readonly #muffled = new Set<readonly string[]>();
  /** Every operation that was applied, as its command. */
  readonly history: string[] = [];
  /** Operations to refuse, by command; each is used up. */
  readonly refusals = new Map<string, string>();
  /** The errno with which a command is refused, for as long as this is set. */
  refuseAlways: ((command: string) => string | undefined) | undefined;
  /** Turns of the event loop until a change is reported; 0 reports it at once. */
  reportsAfter = 0;

  constructor(kinds: Kinds<KernelObject> = RTNETLINK_CODECS.kinds) {
    this.#kinds = kinds;
  }

  get kinds(): readonly Kind<KernelObject>[] {
    return this.#kinds.all;
  }

  /** The whole state as sorted text, in iproute2's words. */
  get text(): string[] {
    return [...this.#objects.values()]
      .map((object) => `${object.kind} ${this.#kinds.of(object).format(object)}`)
      .sort();
  }

  /** Another program's change, with its event. */
  interfere({ verb, object }: Operation): void {
    this.#change(verb, object);
  }

  /** Loses what is in a slot, without an event. */
  loseSilently(key: string): void {
    this.#objects.delete(key);
  }

  emit(event: KernelEvent): void {
    if ('object' in event && this.#isMuffled(event.object)) return;
    if (this.reportsAfter === 0) this.#report(event);
    else void this.#reportLater(event);
  }

  async #reportLater(event: KernelEvent): Promise<void> {
    for (let turn = 0; turn < this.reportsAfter; turn++) await nextTurn();
    this.#report(event);
  }

  #report(event: KernelEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  has(key: string): boolean {
    return this.#objects.has(key);
  }

  async links(): Promise<readonly Link[]> {
    return [...this.#objects.values()].filter((object) => object.kind === 'link');
  }

  async dump({ kinds, device, protocol }: DumpQuery): Promise<KernelObject[]> {
    await Promise.resolve();
    return [...this.#objects.values()].filter(
      (object) =>
        kinds.includes(object.kind) &&
        (device === undefined || this.#kinds.of(object).deviceOf(object) === device) &&
        (protocol === undefined || object.kind !== 'route' || object.protocol === protocol),
    );
  }

  async scan(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    for (const object of await this.dump(query)) visit(object);
  }

  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    await Promise.resolve();
    return operations.map((operation) => {
      const { verb, object } = operation;
      const command = this.#kinds.of(object).command(verb, object);
      this.history.push(command);
      const errno = this.refuseAlways?.(command) ?? this.refusals.get(command) ?? this.#refuse(operation);
      this.refusals.delete(command);
      if (errno !== undefined) return { operation, done: false, error: { errno, message: errno } };
      this.#change(verb, object);
      return { operation, done: true };
    });
  }

  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
  }

  async muffle(devices: readonly string[]): Promise<() => void> {
    const muffled = [...devices];
    this.#muffled.add(muffled);
    return () => void this.#muffled.delete(muffled);
  }

  #isMuffled(object: KernelObject): boolean {
    const device = this.#kinds.of(object).deviceOf(object);
    if (device === undefined || !MUFFLED.includes(object.kind)) return false;
    return [...this.#muffled].some((devices) => devices.includes(device));
  }

  async routeTo(ip: Ip): Promise<RouteLookup | undefined> {
    const routes = [...this.#objects.values()].filter((object) => object.kind === 'route');
    const best = routes
      .filter(({ destination }) => containsAddress(destination, ip))
      .sort((a, b) => b.destination.length - a.destination.length)[0];
    if (best?.device === undefined) return undefined;
    return { device: best.device, ...(best.via !== undefined && { via: best.via }) };
  }

  async decide({ to }: RouteQuestion): Promise<RouteDecision> {
    const way = await this.routeTo(to);
    if (way === undefined) return { outcome: 'refused', errno: 'ENETUNREACH', message: 'no route' };
    return { outcome: 'way', type: 'unicast', table: RT_TABLE_MAIN, ...way };
  }

  close(): void {
    this.#listeners.clear();
  }

  #refuse({ verb, object }: Operation): string | undefined {
    if (verb === 'remove' && !this.#kinds.of(object).isRemovable) return 'EOPNOTSUPP';
    const there = this.#objects.get(this.#kinds.of(object).key(object));
    const exists = there !== undefined;
    if (verb === 'remove') {
      if (exists && sameTarget(there, object)) return undefined;
      return object.kind === 'neighbour' ? 'ENOENT' : 'ESRCH';
    }
    // A VLAN gets another VNI only after it was removed.
    const takesVni = there?.kind === 'bridge-vlan' && there.vni === undefined;
    if (verb === 'add' && exists && !takesVni) return 'EEXIST';
    if (verb === 'set' && !exists) return 'ENODEV';
    if (object.kind === 'link')
      return typeof object.master === 'string' ? this.#refuseIn(object.master) : undefined;
    const device = this.#kinds.of(object).deviceOf(object);
    if (device === undefined) return undefined;
    const link = this.#objects.get(`link ${device}`);
    if (link?.kind !== 'link') return 'ENODEV';
    if (object.kind === 'bridge-port' || object.kind === 'bridge-fdb')
      return typeof link.master === 'string' ? undefined : 'EOPNOTSUPP';
    return object.kind === 'route' && !link.up ? 'ENETDOWN' : undefined;
  }

  #refuseIn(bridge: string): string | undefined {
    return this.#objects.has(`link ${bridge}`) ? undefined : 'ENODEV';
  }

  #change(verb: Operation['verb'], object: KernelObject): void {
    const key = this.#kinds.of(object).key(object);
    if (object.kind === 'link') {
      this.#changeLink(verb, object);
    } else if (verb === 'remove') {
      const gone = this.#objects.get(key);
      this.#objects.delete(key);
      if (gone !== undefined) this.emit({ type: 'removed', object: gone });
    } else {
      const stored = asStored(object, this.#objects.get(key));
      this.#objects.set(key, stored);
      this.emit({ type: 'changed', object: stored });
    }
  }

  #changeLink(verb: Operation['verb'], link: Link): void {
    const key = `link ${link.name}`;
    const before = this.#objects.get(key);
    if (verb === 'remove') {
      this.#objects.delete(key);
      this.#leaveBridge(link.name);
      for (const other of [...this.#objects.values()])
        if (other.kind === 'link' && other.master === link.name)
          this.#changeLink('set', { kind: 'link', name: other.name, master: null });
      for (const other of [...this.#objects.values()])
        if (other.kind === 'link' && other.vlan?.parent === link.name) this.#changeLink('remove', other);
      this.#dropFrom(link.name, ['address', 'fdb', 'neighbour', 'route', 'bridge-vlan', 'vni']);
      if (before !== undefined) this.emit({ type: 'removed', object: before });
      return;
    }
    const base: Partial<Link> =
      before?.kind === 'link' ? before : { index: this.#nextIndex++, up: false, mtu: 1500 };
    const { veth: _, ...after }: Link = { ...base, ...link };
    const [was, is] = [base.master ?? undefined, after.master ?? undefined];
    if (was !== is && was !== undefined) this.#leaveBridge(link.name);
    this.#objects.set(key, after);
    if (was !== is && is !== undefined) this.#change('replace', { ...NEW_PORT, device: link.name });
    if (!after.up) this.#dropFrom(link.name, ['neighbour', 'route']);
    this.emit({ type: 'changed', object: after });
  }

  /** What the bridge had for the device goes, and is reported. */
  #leaveBridge(device: string): void {
    for (const [key, object] of this.#objects) {
      if (!BRIDGED.includes(object.kind) || this.#kinds.of(object).deviceOf(object) !== device) continue;
      this.#objects.delete(key);
      this.emit({ type: 'removed', object });
    }
  }

  #dropFrom(device: string, kinds: readonly KernelObject['kind'][]): void {
    for (const [key, object] of this.#objects) {
      if (kinds.includes(object.kind) && this.#kinds.of(object).deviceOf(object) === device)
        this.#objects.delete(key);
    }
  }
}

/** What a device has in its bridge only. */
const BRIDGED: readonly KernelObject['kind'][] = ['bridge-port', 'bridge-fdb', 'bridge-vlan'];

/** What a device has when it comes into a bridge. */
const NEW_PORT = {
  kind: 'bridge-port',
  learning: true,
  neighSuppress: false,
  flood: true,
  mcastFlood: true,
  bcastFlood: true,
  locked: false,
  hairpin: false,
  isolated: false,
} as const;

/** IPv6 routes have a metric in any case, and no scope. A bridge changes only the flags that are given. */
function asStored(object: KernelObject, before: KernelObject | undefined): KernelObject {
  if (object.kind === 'bridge-port') return { ...before, ...object };
  if (object.kind !== 'route' || object.destination.family === 4) return object;
  return { ...object, metric: metricOf(object), scope: 0 };
}

const MUFFLED: readonly KernelObject['kind'][] = ['neighbour', 'fdb', 'bridge-fdb'];

/** Routes and forwarding entries are removed by what they lead to as well. */
function sameTarget(there: KernelObject, named: KernelObject): boolean {
  if (there.kind === 'fdb' && named.kind === 'fdb') return there.destination === named.destination;
  if (there.kind === 'bridge-fdb' && named.kind === 'bridge-fdb') return there.device === named.device;
  if (there.kind === 'route' && named.kind === 'route')
    return there.via === named.via && there.protocol === named.protocol;
  return true;
}
