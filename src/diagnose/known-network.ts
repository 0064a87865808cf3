import type { Backend, Requirement } from '#src/backend/backend.ts';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { parseSubnetFile } from '#src/docker/subnet-file.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import {
  containsAddress,
  equalPrefix,
  type Ipv4,
  isIpv4,
  masked,
  type Prefix4,
  parseIpv4,
  parsePrefix4,
} from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Memory, type Remembered } from '#src/membership/remembered.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
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
  readonly network: Prefix4;
  /** This host's, host bits cleared. */
  readonly subnet: Prefix4;
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
  readonly settings: Readonly<Record<string, boolean | number | string | undefined>>;
  /** What the backend needs of the kernel. */
  readonly requirements: readonly Requirement[];
  readonly underlay?: KnownUnderlay;
  readonly own?: KnownPeer;
  readonly peers: readonly KnownPeer[];
}

/** The device that carries the outer packets. */
export interface KnownUnderlay {
  readonly name: string;
  /** Of the device, in bytes. */
  readonly mtu: number;
  readonly address: Ipv4;
  readonly publicIp: Ipv4;
}

/** One lease of the network. */
export interface KnownPeer {
  /** The lease's name in the registry: `10.0.65.0-24`. */
  readonly lease: string;
  readonly subnet: Prefix4;
  readonly attributes: LeaseAttributes;
  readonly publicIp?: Ipv4;
  /** What this host's flanneld has measured of it; absent where that is not known. */
  readonly probe?: PeerProbe;
}

export interface KnownNetworkComponents {
  readonly files: Files;
  readonly kernel: Pick<Kernel, 'links' | 'dump'>;
}

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
  const network = parsedPrefix(status?.network) ?? config?.ranges.v4?.network ?? file?.networks.v4;
  const subnet = parsedPrefix(status?.subnet) ?? own?.subnet ?? file?.subnets.v4;
  if (network === undefined || subnet === undefined) return undefined;
  const underlay = underlayOf(status, own, found);
  const made = config && underlay && makeBackend(config, own, underlay, found);
  const isOwn = own !== undefined && equalPrefix(own.subnet, subnet);
  return {
    source: status !== undefined ? 'daemon' : remembered !== undefined ? 'state-file' : 'subnet-file',
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
    peers:
      peers?.flatMap((peer) => peerSaid(peer) ?? []) ??
      (remembered?.peers ?? []).flatMap(({ name, value }) => peerOf(name, value) ?? []),
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

const parsedPrefix = (text: string | undefined): Prefix4 | undefined => {
  const prefix = text === undefined ? undefined : parsePrefix4(text);
  return prefix && masked(prefix);
};

function mtuIn(subnetFile: string | undefined): number | undefined {
  const text = /^FLANNEL_MTU=(\d+)$/m.exec(subnetFile ?? '')?.[1];
  return text === undefined ? undefined : Number(text);
}

/** A lease's record as a host of the network; `undefined` for what can't be one. */
export function peerOf(lease: string, value: string): KnownPeer | undefined {
  const subnet = parseSubnetName(lease)?.v4;
  const decoded = decodeAttributes(value);
  if (subnet === undefined || !decoded.ok) return undefined;
  const { attributes } = decoded;
  return { lease, subnet, attributes, ...(attributes.publicIp && { publicIp: attributes.publicIp }) };
}

/** A peer as a running flanneld says it; `undefined` for one that it does not use. */
function peerSaid({ lease, programmed, publicIp, backend, vtep, node }: Peer): KnownPeer | undefined {
  const subnet = parseSubnetName(lease)?.v4;
  const ip = parseIpv4(publicIp ?? '');
  if (subnet === undefined || programmed === 'quarantined') return undefined;
  const attributes: LeaseAttributes = {
    backendType: backend ?? '',
    ...(ip !== undefined && { publicIp: ip }),
    ...(vtep !== undefined && { backendData: { VtepMAC: vtep.mac } }),
    ...(node !== undefined && { node }),
  };
  return { lease, subnet, attributes, ...(ip !== undefined && { publicIp: ip }) };
}

/** Where a flanneld that runs sends from, whether the host still has that address or not. */
export function underlaySaid(
  status: NodeStatus['network'],
): Pick<KnownUnderlay, 'name' | 'address'> | undefined {
  const [, name, text = ''] = /^(\S+) \((\S+)\)$/.exec(status?.underlay ?? '') ?? [];
  const address = parseIpv4(text);
  return name === undefined || address === undefined ? undefined : { name, address };
}

/**
 * The device with the public IP; behind a NAT the one that flanneld says, or that the tunnel is bound to. These keep the
 * address that the host may have lost.
 */
function underlayOf(
  status: NodeStatus['network'],
  own: KnownPeer | undefined,
  { links, addresses }: FoundInterfaces,
): KnownUnderlay | undefined {
  const publicIp = parseIpv4(status?.publicIp ?? '') ?? own?.publicIp;
  if (publicIp === undefined) return undefined;
  const holder = addresses.find(({ prefix }) => prefix.address === publicIp)?.device;
  const place =
    holder !== undefined
      ? { name: holder, address: publicIp }
      : (underlaySaid(status) ?? placeOfTunnel(links, addresses));
  const link = links.find(({ name }) => name === place?.name);
  if (place === undefined || link === undefined) return undefined;
  return { ...place, mtu: link.mtu ?? 0, publicIp };
}

/** Where the overlay's device sends from. */
function placeOfTunnel(
  links: readonly Link[],
  addresses: readonly Address[],
): Pick<KnownUnderlay, 'name' | 'address'> | undefined {
  for (const { name, vxlan } of links) {
    if (!/^flannel\.\d+$/.test(name) || vxlan?.local === undefined || !isIpv4(vxlan.local)) continue;
    const { local, underlay } = vxlan;
    const holder = addresses.find(({ prefix }) => prefix.address === local)?.device ?? underlay;
    if (holder !== undefined) return { name: holder, address: local };
  }
  return undefined;
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
    const { name, mtu, address, publicIp } = underlay;
    const place = { name, mtu, address: { v4: address }, publicIp: { v4: publicIp } };
    const { settings, requirements } = prepared;
    return { backend: prepared.make(place, own?.attributes), settings, requirements };
  } catch {
    // A type that this version does not have.
    return undefined;
  }
}

/** The peer whose subnet has the address. */
export const peerWith = ({ peers }: KnownNetwork, ip: Ipv4): KnownPeer | undefined =>
  peers.find(({ subnet }) => containsAddress(subnet, ip));
