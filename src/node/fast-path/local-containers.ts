import type { KernelEvent } from '#src/kernel/kernel.ts';
import { containsAddress, type Ipv4, isIpv4, type Prefix4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { KernelObject, Link } from '#src/state/object.ts';

/** A container of this host, by one of its addresses. */
export interface LocalContainer {
  readonly ip: Ipv4;
  readonly mac: Mac;
  /** The host's end of its veth pair. */
  readonly device: string;
}

export interface LocalNews {
  /** Another container has the address now, or with `undefined` none. */
  readonly changed: (ip: Ipv4, local: LocalContainer | undefined) => void;
  /** A veth has just come into one of the containers' bridges. Its container may not be known yet, nor run. */
  readonly came: (ifindex: number) => void;
}

/** A veth in one of the containers' bridges, whose other end is in another network namespace. */
interface Port {
  readonly index: number | undefined;
  readonly bridge: string;
}

/** What is left of a neighbour that does not answer. */
const NO_MAC = parseMac('00:00:00:00:00:00');
/** Nothing waits in it, so going past it is no different. */
const NO_QUEUE = 'noqueue';

/** The kinds of what {@link LocalContainers.replace} takes. */
export const LOCAL_KINDS = ['link', 'address', 'neighbour', 'bridge-fdb'] as const;

/**
 * Which container is behind which veth, as the kernel learns it: the neighbours of a bridge with an address of this host's subnet
 * say an address' MAC, and the bridge's forwarding entries a MAC's port.
 *
 * An entry stays when the kernel only forgets what it learnt: containers whose packets go past the bridge are quiet there. It goes
 * with its device, when the address does not answer, and when something else is learnt. Equals `ip neigh show dev docker0` and
 * `bridge fdb show br docker0`.
 */
export class LocalContainers {
  readonly #subnet: Prefix4;
  readonly #news: LocalNews;
  #bridges = new Set<string>();
  #ports = new Map<string, Port>();
  /** All veths in the bridges, by ifindex: Docker makes both ends in one namespace, and moves one of them later. */
  readonly #veths = new Set<number>();
  readonly #names = new Map<number, string>();
  /** Ports whose packets wait in a queue. */
  readonly #queued = new Map<string, string>();
  readonly #macs = new Map<Ipv4, { readonly mac: Mac; readonly bridge: string }>();
  /** By bridge and MAC. */
  readonly #deviceOf = new Map<string, string>();
  readonly #ipsOf = new Map<string, Set<Ipv4>>();
  readonly #locals = new Map<Ipv4, LocalContainer>();

  constructor(subnet: Prefix4, news: LocalNews) {
    this.#subnet = subnet;
    this.#news = news;
  }

  /** By address. */
  get locals(): ReadonlyMap<Ipv4, LocalContainer> {
    return this.#locals;
  }

  /** The bridges of the containers. */
  get bridges(): ReadonlySet<string> {
    return this.#bridges;
  }

  /** Ports whose packets wait in a queue, and so stay slow, with the queue's name. */
  get queued(): ReadonlyMap<string, string> {
    return this.#queued;
  }

  /** All there is of {@link LOCAL_KINDS}. What only was learnt before stays, as far as it can. */
  replace(objects: readonly KernelObject[]): void {
    this.#bridges = bridgesIn(objects, this.#subnet);
    const before = this.#ports;
    this.#ports = new Map();
    this.#queued.clear();
    this.#names.clear();
    this.#veths.clear();
    for (const object of objects) if (object.kind === 'link') this.#takeLink(object);
    for (const [device, { index }] of before)
      if (this.#ports.get(device)?.index !== index) this.#forget(device);
    for (const [ip, { bridge }] of this.#macs) if (!this.#bridges.has(bridge)) this.#macs.delete(ip);
    for (const object of objects) this.#take(object, false);
    for (const ip of [...this.#locals.keys()]) this.#settle(ip);
  }

  /** One event of the kernel. `again`: {@link replace} is needed to know more. */
  take(event: KernelEvent): 'again' | undefined {
    if (event.type === 'overrun') return 'again';
    if (event.type !== 'changed' && event.type !== 'removed') return undefined;
    const { object } = event;
    const isGone = event.type === 'removed';
    if (object.kind === 'address')
      return isIn(object.prefix.address, this.#subnet) && this.#concerns(object.device, isGone)
        ? 'again'
        : undefined;
    if (object.kind === 'link') {
      if (isGone && this.#bridges.has(object.name)) return 'again';
      if (isGone) this.#removeLink(object);
      else if (this.#takeLink(object) === 'came' && object.index !== undefined) this.#news.came(object.index);
      return undefined;
    }
    this.#take(object, isGone);
    return undefined;
  }

  /** An address is only news where its device is not known for what it is. */
  #concerns(device: string, isGone: boolean): boolean {
    return this.#bridges.has(device) === isGone;
  }

  #take(object: KernelObject, isGone: boolean): void {
    if (object.kind === 'neighbour') {
      const { ip, mac, device } = object;
      if (!this.#bridges.has(device) || !isIpv4(ip) || !containsAddress(this.#subnet, ip)) return;
      const known = this.#macs.get(ip);
      if (mac === NO_MAC) this.#macs.delete(ip);
      else if (!isGone && (known?.mac !== mac || known.bridge !== device))
        remember(this.#macs, ip, { mac, bridge: device });
      else return;
      this.#settle(ip);
    } else if (object.kind === 'bridge-fdb') {
      const { mac, bridge, device } = object;
      if (isGone || !this.#bridges.has(bridge)) return;
      const key = `${bridge} ${mac}`;
      if (this.#deviceOf.get(key) === device) return;
      remember(this.#deviceOf, key, device);
      for (const [ip, known] of this.#macs) if (known.mac === mac) this.#settle(ip);
    }
  }

  #takeLink(link: Link): 'came' | undefined {
    const cameIn = this.#takeVeth(link);
    this.#takePort(link);
    return cameIn;
  }

  #removeLink({ name, index }: Link): void {
    if (index !== undefined) this.#veths.delete(index);
    this.#removePort(name);
  }

  #takeVeth({ index, type, master }: Link): 'came' | undefined {
    if (index === undefined || type !== 'veth') return undefined;
    const wasIn = this.#veths.has(index);
    if (master != null && this.#bridges.has(master)) this.#veths.add(index);
    else this.#veths.delete(index);
    return !wasIn && this.#veths.has(index) ? 'came' : undefined;
  }

  #takePort(link: Link): void {
    const { name, index, type, master, peerNamespaceId, qdisc } = link;
    const known = index === undefined ? undefined : this.#names.get(index);
    if (known !== undefined && known !== name) this.#removePort(known);
    // In one namespace the kernel does not hand packets from one end to the other's receiver (bpf_redirect_peer).
    const isPort =
      type === 'veth' && master != null && this.#bridges.has(master) && peerNamespaceId !== undefined;
    if (!isPort) {
      if (this.#ports.has(name)) this.#removePort(name);
      return;
    }
    if (index !== undefined) this.#names.set(index, name);
    const before = this.#ports.get(name);
    if (before !== undefined && before.index !== index) this.#removePort(name);
    const wasQueued = this.#queued.has(name);
    if (qdisc !== undefined && qdisc !== NO_QUEUE) this.#queued.set(name, qdisc);
    else this.#queued.delete(name);
    this.#ports.set(name, { index, bridge: master });
    if (before?.index === index && before?.bridge === master && wasQueued === this.#queued.has(name)) return;
    for (const [ip, { mac, bridge }] of this.#macs)
      if (this.#deviceOf.get(`${bridge} ${mac}`) === name) this.#settle(ip);
  }

  #removePort(name: string): void {
    const port = this.#ports.get(name);
    if (port === undefined) return;
    this.#ports.delete(name);
    this.#queued.delete(name);
    if (port.index !== undefined) this.#names.delete(port.index);
    this.#forget(name);
  }

  /** What was behind the device: another one of that name knows nothing of it. */
  #forget(device: string): void {
    for (const [key, name] of this.#deviceOf) if (name === device) this.#deviceOf.delete(key);
    for (const ip of this.#ipsOf.get(device) ?? []) {
      this.#macs.delete(ip);
      this.#settle(ip);
    }
  }

  #settle(ip: Ipv4): void {
    const before = this.#locals.get(ip);
    const now = this.#find(ip);
    if (before?.device === now?.device && before?.mac === now?.mac) return;
    if (before !== undefined) {
      const ips = this.#ipsOf.get(before.device);
      ips?.delete(ip);
      if (ips?.size === 0) this.#ipsOf.delete(before.device);
      this.#locals.delete(ip);
    }
    if (now !== undefined) {
      this.#locals.set(ip, now);
      const ips = this.#ipsOf.get(now.device);
      if (ips === undefined) this.#ipsOf.set(now.device, new Set([ip]));
      else ips.add(ip);
    }
    this.#news.changed(ip, now);
  }

  #find(ip: Ipv4): LocalContainer | undefined {
    const known = this.#macs.get(ip);
    if (known === undefined) return undefined;
    const { mac, bridge } = known;
    const device = this.#deviceOf.get(`${bridge} ${mac}`);
    if (device === undefined || this.#queued.has(device)) return undefined;
    return this.#ports.get(device)?.bridge === bridge ? { ip, mac, device } : undefined;
  }
}

/** A container can send from any number of MACs; the one that was seen first is the first to be forgotten. */
function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.set(key, value);
  const [oldest] = map.size > MOST ? map.keys() : [];
  if (oldest !== undefined) map.delete(oldest);
}

/** As many containers as the fast path's map takes. */
const MOST = 16_384;

function bridgesIn(objects: readonly KernelObject[], subnet: Prefix4): Set<string> {
  const types = new Map(
    objects.flatMap((object) => (object.kind === 'link' ? [[object.name, object.type]] : [])),
  );
  return new Set(
    objects.flatMap((object) =>
      object.kind === 'address' &&
      isIn(object.prefix.address, subnet) &&
      types.get(object.device) === 'bridge'
        ? object.device
        : [],
    ),
  );
}

const isIn = (address: Ipv4 | bigint, subnet: Prefix4): boolean =>
  typeof address === 'number' && containsAddress(subnet, address);
