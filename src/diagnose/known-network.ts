import type { Backend, PreparedBackend, Requirement } from '#src/backend/backend.ts';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { type KnownUnderlay, underlayOf } from '#src/diagnose/known-underlay.ts';
import { parseSubnetFile } from '#src/docker/subnet-file.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import {
  type Ip,
  isIpv4,
  masked,
  type Prefix,
  type Prefix4,
  type Prefix6,
  parseIp,
  parsePrefix,
} from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type PerFamily, valuesOf } from '#src/lib/per-family.ts';
import { Memory, type Remembered } from '#src/membership/remembered.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { equalSubnets, networksOf } from '#src/network/subnet-range.ts';
import type { Peer, PeerProbe } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { askNode } from '#src/observe/ask-status.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { Address, Link } from '#src/state/object.ts';
import type { Files } from '#src/sys/files.ts';

/** Where one network's traces are on this host; `artefactsOf` of node/network-id.ts has them. */
export interface NetworkPlace {
  readonly socket: string;
  readonly stateFile: string;
  readonly subnetFile: string;
  /** The value of `network` in texts; absent for the only network of a daemon. */
  readonly label?: string;
}

/** What the process that serves the network says. `silent`: it holds the socket and does not answer. */
export type DaemonAnswer =
  | { readonly state: 'running'; readonly status: NodeStatus }
  | { readonly state: 'silent' }
  | { readonly state: 'stopped' }
  /** Somebody else has the socket, or it may not be asked. */
  | { readonly state: 'unknown'; readonly why: string };

/** One network as it should be on this host, whether its flanneld runs or not. */
export interface KnownNetwork {
  /**
   * Where it is known from. `daemon`: flanneld answered; its leases are those that it last wrote down. `state-file`: what it
   * wrote down, and it does not run. `subnet-file`: only network, subnet and MTU are known.
   */
  readonly source: 'daemon' | 'state-file' | 'subnet-file';
  readonly networks: PerFamily<Prefix4, Prefix6>;
  /** This host's, host bits cleared. */
  readonly subnets: Subnets;
  /** The network of its first family: of IPv4 where it has that. So are the subnet, and what a peer and the underlay have. */
  readonly network: Prefix;
  readonly subnet: Prefix;
  /** Bytes of payload that containers may use. */
  readonly mtu: number;
  /** Milliseconds since the epoch, when the leases below were written down; absent with `subnet-file`. */
  readonly rememberedAt?: number;
  readonly config?: NetworkConfig;
  /** What is behind the names of its rules; see firewall/rules.ts. */
  readonly instance: string;
  /** The backend as it should be; absent where the underlay or the config is not known. */
  readonly backend?: Backend;
  /** The backend's options by their names in the network config. */
  readonly settings: PreparedBackend['settings'];
  /** What the backend needs of the kernel. */
  readonly requirements: readonly Requirement[];
  readonly underlay?: KnownUnderlay;
  readonly own?: KnownPeer;
  readonly peers: readonly KnownPeer[];
}

/** One lease of the network. */
export interface KnownPeer {
  /** The lease's name in the registry: `10.0.65.0-24`. */
  readonly lease: string;
  readonly subnets: Subnets;
  /** Of its first family. */
  readonly subnet: Prefix;
  readonly attributes: LeaseAttributes;
  /** Of the first family that it publishes an address of. */
  readonly publicIp?: Ip;
  /** What this host's flanneld has measured of it; absent where that is not known. */
  readonly probe?: PeerProbe;
}

export interface KnownNetworkComponents {
  readonly files: Files;
  readonly kernel: Pick<Kernel, 'links' | 'dump'>;
}

/** The UDP port of the tunnel's packets; `undefined` where the backend has none. */
export const tunnelPortOf = ({ Port, ListenPort }: KnownNetwork['settings']): number | undefined =>
  [Port, ListenPort].find((port) => typeof port === 'number');

/** A diagnosis does not wait longer for its own daemon. */
const ANSWER = { silenceMs: 700, answerMs: 1_500 };

/** Asks the flanneld of the network. */
export async function askDaemon({ socket }: Pick<NetworkPlace, 'socket'>): Promise<DaemonAnswer> {
  try {
    const answer = await askNode(socket, ANSWER);
    if (answer === undefined) return { state: 'stopped' };
    return answer === 'silent' ? { state: 'silent' } : { state: 'running', status: answer };
  } catch (error) {
    return { state: 'unknown', why: messageOf(error) };
  }
}

/** What the network should be on this host; `undefined` where nothing here says it. */
export async function readKnownNetwork(
  { files, kernel }: KnownNetworkComponents,
  place: NetworkPlace,
  answer: DaemonAnswer,
): Promise<KnownNetwork | undefined> {
  const [remembered, subnetFile, links, addresses, peers] = await Promise.all([
    new Memory({ files, log: silentLogger }, place.stateFile).recall(),
    files.read(place.subnetFile).catch(() => undefined),
    kernel.links(),
    kernel.dump({ kinds: ['address'] }),
    answer.state === 'running' ? askPeers(place) : undefined,
  ]);
  const found = { links, addresses: addresses.filter((object) => object.kind === 'address') };
  const status = answer.state === 'running' ? answer.status.network : undefined;
  return knownNetworkOf({ remembered, subnetFile, status, peers }, found);
}

/** The peers that a running flanneld has now; its file is up to half a minute older. An older flanneld does not say. */
async function askPeers({ socket }: NetworkPlace): Promise<readonly Peer[] | undefined> {
  try {
    return (await askApi(socket, '/v1/peers', ANSWER)).peers;
  } catch {
    return undefined;
  }
}

/** What is written on this host about a network. */
export interface NetworkTraces {
  readonly remembered: Remembered | undefined;
  /** The text of subnet.env. */
  readonly subnetFile: string | undefined;
  /** What the flanneld that runs says. */
  readonly status: NodeStatus['network'];
  /** What it says of its peers. */
  readonly peers?: readonly Peer[] | undefined;
}

/** The devices and addresses of the host. */
export interface FoundInterfaces {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
}

/** The pure part of {@link readKnownNetwork}. */
export function knownNetworkOf(
  { remembered, subnetFile, status, peers }: NetworkTraces,
  found: FoundInterfaces,
): KnownNetwork | undefined {
  const file = subnetFile === undefined ? undefined : parseSubnetFile(subnetFile);
  const config = remembered && parsedConfig(remembered.config);
  const own = remembered && peerOf(remembered.own.name, remembered.own.value);
  const networks = said(status?.network, status?.ipv6Network) ?? (config && networksOf(config.ranges));
  const subnets = said(status?.subnet, status?.ipv6Subnet) ?? own?.subnets;
  const known = { networks: networks ?? file?.networks ?? {}, subnets: subnets ?? file?.subnets ?? {} };
  const [[network], [subnet]] = [valuesOf(known.networks), valuesOf(known.subnets)];
  if (network === undefined || subnet === undefined) return undefined;
  const underlay = underlayOf(status, own, found);
  const made = config && underlay && makeBackend(config, own, underlay, found);
  const isOwn = own !== undefined && equalSubnets(own.subnets, known.subnets);
  const ofPeers = remembered?.peers.flatMap(({ name, value }) => peerOf(name, value) ?? []) ?? [];
  return {
    source: status !== undefined ? 'daemon' : remembered !== undefined ? 'state-file' : 'subnet-file',
    ...known,
    network,
    subnet,
    mtu: status?.mtu ?? made?.backend.mtu ?? mtuIn(subnetFile) ?? 0,
    ...(remembered !== undefined && { rememberedAt: remembered.at }),
    ...(config !== undefined && { config }),
    instance: remembered?.instance ?? '',
    ...(made !== undefined && { backend: made.backend }),
    settings: made?.settings ?? {},
    requirements: made?.requirements ?? [],
    ...(underlay !== undefined && { underlay }),
    ...(isOwn && { own }),
    peers: peers?.flatMap((peer) => peerSaid(peer, ofPeers) ?? []) ?? ofPeers,
  };
}

function parsedConfig(text: string): NetworkConfig | undefined {
  try {
    return parseNetworkConfig(text);
  } catch {
    // Another version may have written it.
    return undefined;
  }
}

/** Prefixes of a status, each as that of its family; `undefined` where it says none. */
function said(...texts: readonly (string | undefined)[]): Subnets | undefined {
  const prefixes = texts.flatMap((text) => (text === undefined ? [] : (parsePrefix(text) ?? [])));
  const [v4] = prefixes.filter((prefix) => prefix.family === 4);
  const [v6] = prefixes.filter((prefix) => prefix.family === 6);
  if (v4 === undefined && v6 === undefined) return undefined;
  return { ...(v4 !== undefined && { v4: masked(v4) }), ...(v6 !== undefined && { v6: masked(v6) }) };
}

function mtuIn(subnetFile: string | undefined): number | undefined {
  const text = /^FLANNEL_MTU=(\d+)$/m.exec(subnetFile ?? '')?.[1];
  return text === undefined ? undefined : Number(text);
}

/** A lease's record as a host of the network; `undefined` for what can't be one. */
export function peerOf(lease: string, value: string): KnownPeer | undefined {
  const decoded = decodeAttributes(value);
  return decoded.ok ? knownPeer(lease, decoded.attributes) : undefined;
}

/** The same of what is read already. */
export function knownPeer(lease: string, attributes: LeaseAttributes): KnownPeer | undefined {
  const subnets = parseSubnetName(lease);
  const [subnet] = valuesOf(subnets ?? {});
  if (subnets === undefined || subnet === undefined) return undefined;
  const publicIp = attributes.publicIp ?? attributes.publicIpv6;
  return { lease, subnets, subnet, attributes, ...(publicIp !== undefined && { publicIp }) };
}

/**
 * A peer as a running flanneld says it; `undefined` for one that it does not use. It says one family: what is written down
 * adds the other.
 */
function peerSaid(
  { lease, programmed, publicIp, backend, vtep, node }: Peer,
  written: readonly KnownPeer[],
): KnownPeer | undefined {
  if (programmed === 'quarantined') return undefined;
  const ip = parseIp(publicIp ?? '');
  const record = written.find((peer) => peer.lease === lease && peer.publicIp === ip)?.attributes;
  const isV4 = parseSubnetName(lease)?.v4 !== undefined;
  const data = vtep && { VtepMAC: vtep.mac };
  return knownPeer(lease, {
    backendType: backend ?? '',
    ...(record?.publicIpv6 !== undefined && { publicIpv6: record.publicIpv6 }),
    ...(record?.backendV6Data !== undefined && { backendV6Data: record.backendV6Data }),
    ...(ip !== undefined && (isIpv4(ip) ? { publicIp: ip } : { publicIpv6: ip })),
    ...(data !== undefined && (isV4 ? { backendData: data } : { backendV6Data: data })),
    ...(node !== undefined && { node }),
  });
}

interface Made extends Pick<KnownNetwork, 'settings' | 'requirements'> {
  readonly backend: Backend;
}

function makeBackend(
  config: NetworkConfig,
  own: KnownPeer | undefined,
  underlay: KnownUnderlay,
  { links }: FoundInterfaces,
): Made | undefined {
  try {
    const identity = own?.attributes.node ?? '';
    const prepared = prepareBackend(config, { links, identity, instance: '' });
    const { name, mtu, addresses: address, publicIps: publicIp } = underlay;
    const place = { name, mtu, address, publicIp };
    const { settings, requirements } = prepared;
    const subnets = own && { subnets: own.subnets };
    return { backend: prepared.make({ ...place, ...subnets }, own?.attributes), settings, requirements };
  } catch {
    // A type that this version does not have.
    return undefined;
  }
}
