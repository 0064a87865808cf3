import type { Count, Flow } from '#src/fast-path/map-layouts.ts';
import {
  ECN_CE,
  ETHERNET_BYTES,
  hopped,
  INNER_IP,
  IPV4_BYTES,
  OUTER_BYTES,
  outerEcn,
  vxlanFrame,
} from '#src/fast-path/vxlan-frame.ts';
import { containsAddress, type Ipv4, ipv4 } from '#src/lib/ip.ts';
import { macAt } from '#src/lib/mac.ts';
import type { FastPath, FastPeer, FastProgram } from '#src/state/object.ts';

/** What the maps hold, and how the kernel sees the packet. */
export interface ModelState {
  readonly settings: FastPath;
  readonly peers: readonly FastPeer[];
  /** By address: the ifindex of the veth, and the container's MAC. */
  readonly locals: ReadonlyMap<Ipv4, { readonly ifindex: number; readonly mac: FastPeer['mac'] }>;
  /** When it is a packet's turn to make its flow fresh once more is the kernel's clock's business, and not the model's. */
  isFresh(flow: Flow): boolean;
  /** Of the device that the program is on. */
  readonly ifindex: number;
  readonly mac: FastPeer['mac'];
  /** Of the device by which the packet came into the host. */
  readonly ingressIfindex: number;
  readonly tunnelIfindex: number;
  /** Bytes that the tunnel takes, without the Ethernet header. */
  readonly tunnelMtu: number;
}

/** The packet is left to the host as it is, or it has gone fast. */
export interface Decision {
  readonly count?: Count;
  readonly noted?: Flow;
  /** What comes out. The outer header's id and source port are free: they are given. */
  readonly fast?: (chosen: { readonly id: number; readonly sourcePort: number }) => Uint8Array;
}

const SLOW: Decision = {};
const slow = (count: Count): Decision => ({ count });

/**
 * The decisions of fast-path.bpf.c, said a second time: for a packet with its Ethernet header, of which nothing is
 * known before. Tests hold the two against each other.
 */
export function decide(program: FastProgram, packet: Uint8Array, state: ModelState): Decision {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if (state.settings.freshMs === 0 || view.getUint16(12) !== ETHERTYPE_IPV4) return SLOW;
  if (program === 'from-container') return fromContainer(packet, view, state);
  if (program === 'from-wire') return fromWire(packet, view, state);
  return noting(program, view, state);
}

function fromContainer(packet: Uint8Array, view: DataView, state: ModelState): Decision {
  const { settings } = state;
  if (packet.length < ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES) return SLOW;
  const peer = peerOf(state, ipv4(view.getUint32(30)));
  if (peer === undefined) return SLOW;
  const local = state.locals.get(ipv4(view.getUint32(26)));
  if (local === undefined) return slow('notFreshOut');
  if (local.ifindex !== state.ifindex) return slow('wrongSourceOut');
  const flow = judge(view, ETHERNET_BYTES, settings, true);
  if (typeof flow === 'string') return slow(flow);
  if (!state.isFresh(flow)) return slow('notFreshOut');
  if (packet.length > LONGEST - OUTER_BYTES || packet.length > state.tunnelMtu + ETHERNET_BYTES)
    return slow('tooLong');
  const frame = hopped(packet, { to: peer.mac, from: settings.mac });
  const ecn = outerEcn(view.getUint8(15) & ECN);
  const { vni, port } = settings;
  const ends = { source: settings.vtep, destination: peer.vtep };
  return {
    count: 'encapsulated',
    fast: (chosen) => vxlanFrame(frame, { ...ends, ...chosen, vni, port, ecn }),
  };
}

function fromWire(packet: Uint8Array, view: DataView, state: ModelState): Decision {
  const { settings } = state;
  if (macAt(view, 0) !== state.mac || packet.length < INNER_IP + IPV4_BYTES + UDP_BYTES) return SLOW;
  const isOurs =
    view.getUint8(14) === 0x45 &&
    view.getUint8(23) === UDP &&
    (view.getUint16(20) & ANY_FRAGMENT) === 0 &&
    view.getUint32(30) === settings.vtep &&
    view.getUint16(36) === settings.port &&
    view.getUint32(42) === 0x08000000 &&
    view.getUint32(46) === (settings.vni << 8) >>> 0;
  if (!isOurs || view.getUint16(INNER_IP - 2) !== ETHERTYPE_IPV4) return SLOW;
  if (macAt(view, OUTER_BYTES) !== settings.mac) return SLOW;
  const peer = peerOf(state, ipv4(view.getUint32(INNER_IP + 12)));
  if (peer?.vtep !== view.getUint32(26)) return slow('wrongSourceIn');
  const local = state.locals.get(ipv4(view.getUint32(INNER_IP + 16)));
  if (local === undefined) return SLOW;
  if ((view.getUint8(15) & ECN) === ECN_CE) return slow('congestion');
  const length = view.getUint16(16);
  if (length !== packet.length - ETHERNET_BYTES || view.getUint16(38) !== length - IPV4_BYTES)
    return slow('unusual');
  const flow = judge(view, INNER_IP, settings, true);
  if (typeof flow === 'string') return slow(flow);
  if (!state.isFresh(flow)) return slow('notFreshIn');
  const macs = { to: local.mac, from: settings.mac };
  return { count: 'decapsulated', fast: () => hopped(packet.subarray(OUTER_BYTES), macs) };
}

function noting(program: 'note-out' | 'note-in', view: DataView, state: ModelState): Decision {
  if (program === 'note-in' && state.ingressIfindex !== state.tunnelIfindex) return SLOW;
  if (view.byteLength < ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES) return SLOW;
  const flow = judge(view, ETHERNET_BYTES, state.settings, false);
  if (typeof flow === 'string') return SLOW;
  const isNoted =
    program === 'note-out'
      ? peerOf(state, flow.destination) !== undefined && state.locals.has(flow.source)
      : peerOf(state, flow.source) !== undefined;
  return isNoted ? { count: 'noted', noted: flow } : SLOW;
}

/** The flow of a packet that may go fast, or what is in the way. */
function judge(view: DataView, at: number, { tcp }: FastPath, mustLive: boolean): Flow | Count {
  const isPlain = view.getUint8(at) === 0x45 && (view.getUint16(at + 6) & ANY_FRAGMENT) === 0;
  if (!isPlain || (mustLive && view.getUint8(at + 8) < 2)) return 'unusual';
  if (view.getUint16(at + 2) !== view.byteLength - at) return 'unusual';
  const protocol = view.getUint8(at + 9);
  const flow: Flow = {
    source: ipv4(view.getUint32(at + 12)),
    destination: ipv4(view.getUint32(at + 16)),
    sourcePort: view.getUint16(at + IPV4_BYTES),
    destinationPort: view.getUint16(at + IPV4_BYTES + 2),
    protocol,
  };
  if (protocol === UDP) return flow;
  if (protocol !== TCP) return 'otherProtocol';
  if (view.byteLength < at + IPV4_BYTES + TCP_BYTES) return 'unusual';
  if ((view.getUint8(at + IPV4_BYTES + 13) & (FIN | SYN | RST | ACK)) !== ACK) return 'openingOrClosing';
  return tcp ? flow : 'tcpIsSlow';
}

/** The peer with the longest prefix. */
function peerOf({ peers }: ModelState, address: Ipv4): FastPeer | undefined {
  let best: FastPeer | undefined;
  for (const peer of peers)
    if (containsAddress(peer.subnet, address) && peer.subnet.length >= (best?.subnet.length ?? 0))
      best = peer;
  return best;
}

const ETHERTYPE_IPV4 = 0x0800;
const ANY_FRAGMENT = 0x3fff;
const LONGEST = 65_535;
const ECN = 3;
const UDP = 17;
const TCP = 6;
const UDP_BYTES = 8;
const TCP_BYTES = 20;
const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
