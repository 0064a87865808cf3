import type { FastEnd, FastWay } from '#src/backend/fast-way.ts';
import { wireOf } from '#src/fast-path/bare-echo.ts';
import { fastPathObjects, localObjects, peerObjects } from '#src/fast-path/fast-path-objects.ts';
import { formatIpv4, type Ipv4 } from '#src/lib/ip.ts';
import type { LocalContainer } from '#src/node/fast-path/local-containers.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { FastPath, KernelObject } from '#src/state/object.ts';

/** What is set beside what the backend's way says. */
export type FastPathMoment = Pick<FastPath, 'freshMs' | 'tcp' | 'generation'>;

/** What the fast path of one network wants of the kernel, by subject: its settings, each peer, each container. */
export class WantedFastPath {
  readonly #owner: Pick<Owner, 'set'>;
  readonly #peers = new Map<string, FastEnd | string>();
  /** Why peers stay slow that could go fast. */
  readonly #refused = new Map<string, string>();
  /** `undefined`: nothing is wanted. */
  #settings: FastPath | undefined;

  constructor(owner: Pick<Owner, 'set'>) {
    this.#owner = owner;
  }

  /** Why peers' packets stay slow, by lease. */
  get slow(): ReadonlyMap<string, string> {
    const backend = Array.from(this.#peers).filter(
      (peer): peer is [string, string] => typeof peer[1] === 'string',
    );
    return new Map([...this.#refused, ...backend]);
  }

  /** The peers with a fast way, also those that are refused, by lease. */
  get ends(): ReadonlyMap<string, FastEnd> {
    return new Map(
      Array.from(this.#peers).filter((peer): peer is [string, FastEnd] => typeof peer[1] === 'object'),
    );
  }

  get peerCount(): number {
    return this.#peers.size;
  }

  /** `end` is `undefined` for a peer that there is no more. */
  setPeer(name: string, end: FastEnd | string | undefined): void {
    if (end === undefined && !this.#peers.has(name)) return;
    const before = this.#peers.get(name);
    if (end === undefined) this.#peers.delete(name);
    else this.#peers.set(name, end);
    // Another end is another wire.
    if (typeof end !== 'object' || typeof before !== 'object' || wireOf(end) !== wireOf(before))
      this.#refused.delete(name);
    this.#wantPeer(name);
  }

  /** A reason why a peer's packets stay slow though they have a way, or none any more. True when that is news. */
  refusePeer(name: string, reason: string | undefined): boolean {
    if (typeof this.#peers.get(name) !== 'object' || this.#refused.get(name) === reason) return false;
    if (reason === undefined) this.#refused.delete(name);
    else this.#refused.set(name, reason);
    this.#wantPeer(name);
    return true;
  }

  /** `undefined`: none any more. */
  setContainer(ip: Ipv4, local: LocalContainer | undefined): void {
    if (this.#settings === undefined) return;
    const objects = local === undefined ? [] : localObjects(this.#settings.set, local);
    this.#owner.set(`container ${formatIpv4(ip)}`, objects);
  }

  /** Peers and containers come with the first settings of a device. */
  set(way: FastWay, moment: FastPathMoment, containers: ReadonlyMap<Ipv4, LocalContainer>): void {
    const wanted: FastPath = { ...settingsOf(way), ...moment };
    const isKnown = this.#settings?.set === wanted.set;
    if (JSON.stringify(wanted) === JSON.stringify(this.#settings)) return;
    this.#settings = wanted;
    const { kind: _, ...settings } = wanted;
    // The host's setting is wanted in any case: where it can't be written, only the packets of TCP are slow.
    const objects = fastPathObjects({ ...settings, tcp: true, peers: [], locals: [] });
    this.#owner.set(
      'own',
      objects.map((object): KernelObject => (object.kind === 'fast-path' ? wanted : object)),
    );
    if (isKnown) return;
    for (const name of this.#peers.keys()) this.#wantPeer(name);
    for (const [ip, local] of containers) this.setContainer(ip, local);
  }

  /** Nothing is wanted any more. The peers are remembered. */
  withdraw(containers: ReadonlyMap<Ipv4, LocalContainer>): void {
    for (const name of this.#peers.keys()) this.#owner.set(`peer ${name}`, []);
    for (const ip of containers.keys()) this.setContainer(ip, undefined);
    this.#owner.set('own', []);
    this.#settings = undefined;
  }

  #wantPeer(name: string): void {
    if (this.#settings === undefined) return;
    const end = this.#refused.has(name) ? undefined : this.#peers.get(name);
    this.#owner.set(`peer ${name}`, typeof end === 'object' ? peerObjects(this.#settings.set, end) : []);
  }
}

/** The settings of a way, while nothing goes it. */
export const settingsOf = ({ device, settings }: FastWay): FastPath => ({
  ...{ kind: 'fast-path', set: device, freshMs: 0, tcp: false, generation: 0 },
  ...settings,
});
