import { EndpointMemory } from '#src/kernel/endpoint-memory.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { WireguardPeerReport, WireguardReader } from '#src/kernel/wireguard-messages.ts';
import { WireguardPrints } from '#src/kernel/wireguard-prints.ts';
import { equalPrefix } from '#src/lib/ip.ts';
import { WIREGUARD_DEVICE, type WireguardDevice } from '#src/state/kinds/wireguard-device.ts';
import { WIREGUARD_PEER, type WireguardPeer } from '#src/state/kinds/wireguard-peer.ts';

/** What is remembered of a WireGuard device between two looks at it. */
export class WatchedWireguard {
  /** Where its peers are. */
  readonly endpoints = new EndpointMemory();
  /** Fingerprints of the last look, and those that a look is about to take. */
  prints = new WireguardPrints();
  fresh = new WireguardPrints();
  /** When it was last read in full, by the monotonic clock. */
  readAt = Number.NEGATIVE_INFINITY;
  /** The peers' keys, in the order of the fingerprints. */
  #keys: readonly string[] = [];
  /** As they were last reported. */
  #device: WireguardDevice | undefined;
  #peers = new Map<string, WireguardPeer>();
  /**
   * What was listed or set since: others believe it to be so. Another program may have changed it back before it was
   * reported, so it is reported in any case.
   */
  readonly #mentioned = new Map<string, WireguardPeer>();
  #isMentioned = false;

  /** Whether a look has to report anything, though nothing has changed since the last one. */
  get isAwaited(): boolean {
    return this.#isMentioned || this.#mentioned.size > 0;
  }

  /** The object was listed, or set. */
  mention(object: WireguardDevice | WireguardPeer): void {
    if (object.kind === 'wireguard-device') this.#isMentioned = true;
    else this.#mentioned.set(object.publicKey, object);
  }

  /** Whether all that the peer may have by now, as far as was seen or set here, is wanted of it. */
  isWithin({ publicKey, allowedIps }: WireguardPeer): boolean {
    const known = this.#mentioned.get(publicKey) ?? this.#peers.get(publicKey);
    return (
      known?.allowedIps.every((prefix) => allowedIps.some((wanted) => equalPrefix(prefix, wanted))) ?? false
    );
  }

  /** The look has been taken. */
  turnOver(): void {
    [this.prints, this.fresh] = [this.fresh, this.prints];
  }

  /** The peers as they count, with what has been found out about their endpoints. `now`: milliseconds since the epoch. */
  peersOf(reports: readonly WireguardPeerReport[], now: number, before: WireguardPrints): WireguardPeer[] {
    const at = new Map(this.#keys.map((key, place) => [key, place]));
    const hasPlaces = this.#keys.length === before.count;
    return reports.map(({ handshakeAt, received, sent, endpoint, ...peer }) => {
      const place = hasPlaces ? at.get(peer.publicKey) : undefined;
      const sight = { handshakeAt, received, sent, ...(endpoint !== undefined && { endpoint }) };
      const last = place === undefined ? undefined : before.received(place);
      const counts = this.endpoints.see(peer.publicKey, sight, now, last);
      return counts === undefined ? peer : { ...peer, endpoint: counts };
    });
  }

  /** What has changed since the last call, and what was mentioned. */
  *changes(
    { device, peers: reports }: WireguardReader,
    peers: readonly WireguardPeer[],
  ): Generator<KernelEvent> {
    this.#keys = reports.map(({ publicKey }) => publicKey);
    this.endpoints.keep(new Set(this.#keys));
    const isSameDevice =
      device === undefined ||
      (this.#device !== undefined && WIREGUARD_DEVICE.isAsWanted(device, this.#device));
    if (device !== undefined && (this.#isMentioned || !isSameDevice))
      yield { type: 'changed', object: device };
    this.#device = device;
    const [before, mentioned] = [this.#peers, new Map(this.#mentioned)];
    this.#peers = new Map(peers.map((peer) => [peer.publicKey, peer]));
    this.#mentioned.clear();
    this.#isMentioned = false;
    for (const [key, peer] of new Map([...before, ...mentioned]))
      if (!this.#peers.has(key)) yield { type: 'removed', object: peer };
    for (const [key, peer] of this.#peers) {
      const known = mentioned.has(key) ? undefined : before.get(key);
      if (known === undefined || !isSame(known, peer)) yield { type: 'changed', object: peer };
    }
  }
}

/** What is found may lack an endpoint, and what is wanted may not: so both are asked. */
const isSame = (a: WireguardPeer, b: WireguardPeer): boolean =>
  WIREGUARD_PEER.isAsWanted(a, b) && WIREGUARD_PEER.isAsWanted(b, a);
