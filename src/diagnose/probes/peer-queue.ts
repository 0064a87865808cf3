import type { PeerEnds } from '#src/backend/probe-ends.ts';
import { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';

/**
 * The peers in the order in which they are looked at. One has a record from its first look on: 50,000 records have 25 MB, and
 * it takes an hour until all of that many have been looked at.
 */
export class PeerQueue {
  readonly #peers = new Map<string, MeasuredPeer | PeerEnds>();
  /** The head, once it was asked for: a look at a map's first entry makes four objects, and is made for each packet. */
  #first: MeasuredPeer | undefined;

  get size(): number {
    return this.#peers.size;
  }

  /** Puts a peer at the end. One that is there with the same ends keeps its place and its record. */
  put(name: string, ends: PeerEnds): void {
    const known = this.#peers.get(name);
    if (known !== undefined && isSame(known instanceof MeasuredPeer ? known.ends : known, ends)) return;
    this.remove(name);
    this.#peers.set(name, ends);
  }

  remove(name: string): void {
    const peer = this.get(name);
    if (peer !== undefined) peer.isGone = true;
    this.#peers.delete(name);
    if (peer === this.#first) this.#first = undefined;
  }

  clear(): void {
    for (const peer of this.measured()) peer.isGone = true;
    this.#peers.clear();
    this.#first = undefined;
  }

  names(): Iterable<string> {
    return this.#peers.keys();
  }

  /** The peer, if it has been looked at. */
  get(name: string): MeasuredPeer | undefined {
    const peer = this.#peers.get(name);
    return peer instanceof MeasuredPeer ? peer : undefined;
  }

  /** The next one to look at. */
  get first(): MeasuredPeer | undefined {
    this.#first ??= this.#makeFirst();
    return this.#first;
  }

  #makeFirst(): MeasuredPeer | undefined {
    const [entry] = this.#peers;
    if (entry === undefined) return undefined;
    const [name, peer] = entry;
    if (peer instanceof MeasuredPeer) return peer;
    const made = new MeasuredPeer(name, peer);
    this.#peers.set(name, made);
    return made;
  }

  /** To the end: it is being looked at. */
  rotate(peer: MeasuredPeer): void {
    this.#peers.delete(peer.name);
    this.#peers.set(peer.name, peer);
    if (peer === this.#first) this.#first = undefined;
  }

  /** Those that have a record. */
  *measured(): Generator<MeasuredPeer> {
    for (const peer of this.#peers.values()) if (peer instanceof MeasuredPeer) yield peer;
  }

  /** Whether each of them is as asked; of none, and of one without a record, nothing is said. */
  isEach(ask: (peer: MeasuredPeer) => boolean): boolean {
    for (const peer of this.#peers.values()) if (!(peer instanceof MeasuredPeer && ask(peer))) return false;
    return this.#peers.size > 0;
  }
}

const isSame = (one: PeerEnds, other: PeerEnds): boolean =>
  one.inside === other.inside && one.outside === other.outside && one.responder === other.responder;
