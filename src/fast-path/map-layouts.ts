import { type Ipv4, ipv4, prefix4 } from '#src/lib/ip.ts';
import { macAt, writeMac } from '#src/lib/mac.ts';
import type { FastLocal, FastPath, FastPeer } from '#src/state/object.ts';

/** linux/bpf.h: enum bpf_map_type. */
const BPF_MAP_TYPE_HASH = 1;
const BPF_MAP_TYPE_ARRAY = 2;
const BPF_MAP_TYPE_PERCPU_ARRAY = 6;
const BPF_MAP_TYPE_LRU_HASH = 9;
const BPF_MAP_TYPE_LPM_TRIE = 11;
/** linux/bpf.h: memory is taken entry by entry. */
const BPF_F_NO_PREALLOC = 1;

/** What BPF_MAP_CREATE takes. Sizes in bytes. */
export interface MapLayout {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** The maps of one fast path, by their names in fast-path.bpf.c. */
export type FastMap = 'settings' | 'peers' | 'locals' | 'edition' | 'flows' | 'counts';

/**
 * The number of this layout, 1 to 99, a part of the maps' names in the kernel. A change of a structure or of the counts raises
 * it, also where all sizes stay, so that a flanneld does not take over maps that it would misread.
 */
export const LAYOUT = 1;

/** The kernel's name of a map, of at most 15 characters. `bpftool map list` shows it: `weft_flows1`. */
export const mapName = (map: FastMap, layout = LAYOUT): string => `weft_${map}${layout}`;

/** What the program counts, in the order of the map `counts` and of `enum count` in fast-path.bpf.c. */
export const COUNTS = [
  /** Went fast, from a container to a peer. */
  'encapsulated',
  /** Went fast, from a peer to a container. */
  'decapsulated',
  /** Went through the host's rules and made their flow fresh. */
  'noted',
  /** Went the slow way, because their flow was not fresh, or to keep it so. */
  'notFreshOut',
  'notFreshIn',
  /** Opens or closes a TCP connection: SYN, FIN or RST, or no ACK. */
  'openingOrClosing',
  /** Neither TCP nor UDP. */
  'otherProtocol',
  /** TCP, while it must not go fast. */
  'tcpIsSlow',
  /** Fragments, IP options, a TTL that ends here, or lengths that contradict each other. */
  'unusual',
  /** Too long for the VXLAN device: the kernel answers. */
  'tooLong',
  /** Congestion was met under way (outer ECN CE): the kernel knows the rules of RFC 6040. */
  'congestion',
  /** From a container with another container's address. */
  'wrongSourceOut',
  /** From a VTEP that does not have the sender's subnet. */
  'wrongSourceIn',
  /** Lost, because the headers could not be moved. */
  'failed',
] as const;

export type Count = (typeof COUNTS)[number];

/** Counts of entries by kind of packet, since the maps were made. */
export type FastCounts = Readonly<Record<Count, number>>;

export const MAPS: Readonly<Record<FastMap, MapLayout>> = {
  settings: { type: BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 40, maxEntries: 1, flags: 0 },
  peers: {
    type: BPF_MAP_TYPE_LPM_TRIE,
    keySize: 8,
    valueSize: 12,
    maxEntries: 65_536,
    flags: BPF_F_NO_PREALLOC,
  },
  locals: {
    type: BPF_MAP_TYPE_HASH,
    keySize: 4,
    valueSize: 12,
    maxEntries: 16_384,
    flags: BPF_F_NO_PREALLOC,
  },
  /** A number that is raised after each change of `peers` and `locals`: what programs remember of these holds for one edition. */
  edition: { type: BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 },
  flows: { type: BPF_MAP_TYPE_LRU_HASH, keySize: 16, valueSize: 40, maxEntries: 65_536, flags: 0 },
  counts: { type: BPF_MAP_TYPE_PERCPU_ARRAY, keySize: 4, valueSize: 8, maxEntries: COUNTS.length, flags: 0 },
};

/** Key and value of a map's entry. Numbers are the machine's, which is little-endian; addresses and ports are the wire's. */
export interface MapEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

const LITTLE = true;
const TCP_FLAG = 1;
const NS_PER_MS = 1_000_000n;

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** struct settings of fast-path.bpf.c. The key is 0. */
export function encodeSettings(
  path: FastPath,
  ifindexes: { readonly underlay: number; readonly tunnel: number },
): MapEntry {
  const value = new Uint8Array(MAPS.settings.valueSize);
  const view = viewOf(value);
  view.setUint32(0, ifindexes.underlay, LITTLE);
  view.setUint32(4, ifindexes.tunnel, LITTLE);
  view.setUint32(8, path.vtep);
  view.setUint32(12, path.vni << 8);
  view.setBigUint64(16, BigInt(path.freshMs) * NS_PER_MS, LITTLE);
  view.setUint32(24, path.generation, LITTLE);
  view.setUint16(28, path.port);
  writeMac(view, 30, path.mac);
  view.setUint32(36, path.tcp ? TCP_FLAG : 0, LITTLE);
  return { key: new Uint8Array(MAPS.settings.keySize), value };
}

/** `undefined`: nothing was set yet. `nameOf`: the device of an ifindex. */
export function decodeSettings(
  set: string,
  value: Uint8Array,
  nameOf: (ifindex: number) => string,
): FastPath | undefined {
  if (value.every((byte) => byte === 0)) return undefined;
  const view = viewOf(value);
  const tunnel = nameOf(view.getUint32(4, LITTLE));
  const underlay = nameOf(view.getUint32(0, LITTLE));
  return {
    kind: 'fast-path',
    set,
    // What knows another tunnel than the set's is nothing that was wanted.
    underlay: tunnel === set ? underlay : `${underlay} for ${tunnel}`,
    vtep: ipv4(view.getUint32(8)),
    vni: view.getUint32(12) >>> 8,
    freshMs: Number(view.getBigUint64(16, LITTLE) / NS_PER_MS),
    generation: view.getUint32(24, LITTLE),
    port: view.getUint16(28),
    mac: macAt(view, 30),
    tcp: (view.getUint32(36, LITTLE) & TCP_FLAG) !== 0,
  };
}

/** The key alone, for a removal. */
export function peerKey({ subnet }: Pick<FastPeer, 'subnet'>): Uint8Array {
  const key = new Uint8Array(MAPS.peers.keySize);
  viewOf(key).setUint32(0, subnet.length, LITTLE);
  viewOf(key).setUint32(4, subnet.address);
  return key;
}

export function encodePeer(peer: FastPeer): MapEntry {
  const value = new Uint8Array(MAPS.peers.valueSize);
  viewOf(value).setUint32(0, peer.vtep);
  writeMac(viewOf(value), 4, peer.mac);
  return { key: peerKey(peer), value };
}

export function decodePeer(set: string, { key, value }: MapEntry): FastPeer {
  const [from, to] = [viewOf(key), viewOf(value)];
  return {
    kind: 'fast-peer',
    set,
    subnet: prefix4(ipv4(from.getUint32(4)), from.getUint32(0, LITTLE)),
    vtep: ipv4(to.getUint32(0)),
    mac: macAt(to, 4),
  };
}

export function localKey({ ip }: Pick<FastLocal, 'ip'>): Uint8Array {
  const key = new Uint8Array(MAPS.locals.keySize);
  viewOf(key).setUint32(0, ip);
  return key;
}

export function encodeLocal(local: FastLocal, ifindex: number): MapEntry {
  const value = new Uint8Array(MAPS.locals.valueSize);
  viewOf(value).setUint32(0, ifindex, LITTLE);
  writeMac(viewOf(value), 4, local.mac);
  return { key: localKey(local), value };
}

export function decodeLocal(
  set: string,
  { key, value }: MapEntry,
  nameOf: (ifindex: number) => string,
): FastLocal {
  const view = viewOf(value);
  return {
    kind: 'fast-local',
    set,
    ip: ipv4(viewOf(key).getUint32(0)),
    device: nameOf(view.getUint32(0, LITTLE)),
    mac: macAt(view, 4),
  };
}

/** What follows a value of the map `edition`. The key is 0. */
export function nextEdition(now: Uint8Array = new Uint8Array(MAPS.edition.valueSize)): MapEntry {
  const value = new Uint8Array(MAPS.edition.valueSize);
  viewOf(value).setUint32(0, viewOf(now).getUint32(0, LITTLE) + 1, LITTLE);
  return { key: new Uint8Array(MAPS.edition.keySize), value };
}

/** struct flow of fast-path.bpf.c: the packets of one direction. */
export interface Flow {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** 6 is TCP, 17 is UDP. */
  readonly protocol: number;
}

/** A flow that was noted at a time of CLOCK_MONOTONIC_COARSE, in nanoseconds, with no way yet. */
export function encodeFlow(flow: Flow, at: bigint, generation: number): MapEntry {
  const key = new Uint8Array(MAPS.flows.keySize);
  const view = viewOf(key);
  view.setUint32(0, flow.source);
  view.setUint32(4, flow.destination);
  view.setUint16(8, flow.sourcePort);
  view.setUint16(10, flow.destinationPort);
  view.setUint32(12, flow.protocol, LITTLE);
  const value = new Uint8Array(MAPS.flows.valueSize);
  viewOf(value).setBigUint64(0, at, LITTLE);
  viewOf(value).setUint32(8, generation, LITTLE);
  return { key, value };
}
