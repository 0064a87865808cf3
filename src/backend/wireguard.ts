import type { Backend, BackendUnderlay, Inbound, Published, SharedSettings } from '#src/backend/backend.ts';
import { directScopes } from '#src/backend/direct-route.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { readWireguardData, type WireguardData, wireguardData } from '#src/backend/wireguard-data.ts';
import { endpointAddress } from '#src/backend/wireguard-endpoint.ts';
import type { WireguardKey } from '#src/backend/wireguard-key.ts';
import { markOf, WIREGUARD_OVERHEAD, type WireguardOptions } from '#src/backend/wireguard-options.ts';
import { WireguardProbing } from '#src/backend/wireguard-probing.ts';
import {
  tunnelObjects,
  tunnelPeer,
  tunnelRoute,
  tunnelScope,
  type WireguardTunnel,
  wireguardTunnels,
} from '#src/backend/wireguard-tunnel.ts';
import type { Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

/** What the wireguard backend has to know of its host and its network. */
export interface WireguardHost {
  readonly network: PerFamily<Prefix4, Prefix6>;
  readonly underlay: BackendUnderlay;
  /** The public key alone where nothing is done but looked. */
  readonly key: Pick<WireguardKey, 'publicKey'> & Partial<WireguardKey>;
}

/**
 * flannel's wireguard backend (HEAD, backend/wireguard): one device for each family, or one for both. Each peer of the
 * network is a peer of the device, takes the packets of its subnets, and has a route to each of them.
 */
export class WireguardBackend implements Backend {
  readonly type = 'wireguard';
  readonly devices: readonly string[];
  readonly mtu: number;
  readonly needsLookup = false;
  readonly published: Published;
  readonly shared: SharedSettings;
  readonly inbound: Inbound;
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly #options: WireguardOptions;
  readonly #host: WireguardHost;
  readonly #tunnels: readonly WireguardTunnel[];

  constructor(options: WireguardOptions, host: WireguardHost) {
    const { network, underlay, key } = host;
    this.#options = options;
    this.#host = host;
    this.#tunnels = wireguardTunnels(options, network);
    this.devices = this.#tunnels.map(({ device }) => device);
    this.mtu = Math.min(options.mtu ?? underlay.mtu, underlay.mtu) - WIREGUARD_OVERHEAD;
    this.published = this.#publish(key.publicKey);
    this.shared = { Mode: options.mode, PSK: markOf(options.presharedKey) ?? 'none' };
    this.inbound = { devices: this.devices, underlay: false };
    this.scopes = [
      ...this.devices.map((device) => tunnelScope(device, network)),
      ...directScopes(underlay.name, network, this.devices),
    ];
    this.probing = new WireguardProbing(underlay, { port: options.ports.v4, mtu: this.mtu });
  }

  ownObjects(subnets: PerFamily<Prefix4, Prefix6>): readonly KernelObject[] {
    return this.#tunnels.flatMap((tunnel) => tunnelObjects(tunnel, this.#host.key, this.mtu, subnets));
  }

  peerObjects(lease: Lease): readonly KernelObject[] {
    const [first, second] = this.#tunnels;
    const objects = first === undefined ? [] : this.#peerOn(first, lease);
    return second === undefined ? objects : [...objects, ...this.#peerOn(second, lease)];
  }

  #peerOn({ device, families, port }: WireguardTunnel, { subnets, attributes }: Lease): KernelObject[] {
    const data = this.#dataFor(families, attributes);
    const [family] = families;
    if (typeof data === 'string' || family === undefined) return [];
    const { mode, presharedKey, keepalive } = this.#options;
    const ip = endpointAddress(mode, family, attributes, this.#host.underlay.publicIp);
    const allowed = families.flatMap((one): Prefix[] => {
      const subnet = subnets[one];
      return subnet === undefined ? [] : [subnet];
    });
    if (ip === undefined || allowed.length === 0) return [];
    const endpoint = { ip, port: data.port ?? port };
    return [
      tunnelPeer(device, { publicKey: data.publicKey, endpoint, presharedKey, keepalive }, allowed),
      ...allowed.map((subnet) => tunnelRoute(subnet, device)),
    ];
  }

  judge(attributes: LeaseAttributes): string | undefined {
    if (attributes.backendType !== this.type)
      return `its backend is "${attributes.backendType}", ours is "${this.type}"`;
    const { network, underlay, key } = this.#host;
    for (const { families } of this.#tunnels) {
      const [family] = families;
      if (family === undefined || (network.v4 !== undefined && family === 'v6' && !hasV6(attributes)))
        continue;
      const data = this.#dataFor(families, attributes);
      if (typeof data === 'string') return data;
      if (data.publicKey === key.publicKey) return `its PublicKey ${data.publicKey} is ours`;
      const { mode } = this.#options;
      if (endpointAddress(mode, family, attributes, underlay.publicIp) === undefined)
        return `it has no address for "Mode": "${mode}"`;
    }
    return undefined;
  }

  /** A key that two peers claim would take the packets of one of them to the other. */
  identityOf({ backendData, backendV6Data }: LeaseAttributes): readonly string[] {
    const keys = [backendData, backendV6Data].flatMap((data) => {
      const read = data === undefined ? '' : readWireguardData(data, '');
      return typeof read === 'string' ? [] : [read.publicKey];
    });
    return [...new Set(keys)];
  }

  /** The far end has no hardware address. */
  tunnelEnd(): undefined {
    return undefined;
  }

  /** The tunnel reaches whatever the underlay reaches. */
  unreachable(): undefined {
    return undefined;
  }

  explain(object: KernelObject, { errno }: KernelError): string | undefined {
    if (object.kind === 'link' && this.devices.includes(object.name) && errno === 'EOPNOTSUPP')
      return 'this kernel has no WireGuard: it is in Linux from 5.6 on, as the module "wireguard"';
    if (object.kind !== 'wireguard-device' || errno !== 'EADDRINUSE') return undefined;
    const port = object.listenPort;
    return `another program has UDP port ${port}: "ss -lunp sport = :${port}" names it, and "wg show" if it is WireGuard’s`;
  }

  /**
   * flannel publishes ListenPortV6 for IPv6 in any mode. Where one device carries both families nothing listens there, so
   * the port that is published is the device's.
   */
  #publish(publicKey: string): Published {
    const dataOf = (family: FamilyName) => {
      const tunnel = this.#tunnels.find(({ families }) => families.includes(family));
      return tunnel && wireguardData({ publicKey, port: tunnel.port });
    };
    const [v4, v6] = [dataOf('v4'), dataOf('v6')];
    return {
      backendType: this.type,
      ...(v4 !== undefined && { backendData: v4 }),
      ...(v6 !== undefined && { backendV6Data: v6 }),
    };
  }

  /**
   * What a peer published of the device at the other end. Where that carries both families, flannel takes the key from the
   * IPv6 part, and its port there is a dead one: only that of the IPv4 part is the device's.
   */
  #dataFor(families: readonly FamilyName[], attributes: LeaseAttributes): WireguardData | string {
    const { backendData, backendV6Data, node } = attributes;
    const v4 = families.includes('v4') ? readWireguardData(backendData, 'BackendData') : undefined;
    if (!families.includes('v6') || (v4 !== undefined && !hasV6(attributes)))
      return v4 ?? 'it has no BackendData';
    const v6 = readWireguardData(backendV6Data, 'BackendV6Data');
    if (v4 === undefined || typeof v4 === 'string' || typeof v6 === 'string') {
      const isFlannelOnOneDevice = this.#options.mode !== 'separate' && node === undefined;
      if (typeof v6 === 'string' || !isFlannelOnOneDevice) return typeof v4 === 'string' ? v4 : v6;
      return { publicKey: v6.publicKey };
    }
    return { publicKey: v6.publicKey, ...(v4.port !== undefined && { port: v4.port }) };
  }
}

/** A peer without IPv6 data is a peer in IPv4 alone. */
const hasV6 = ({ backendV6Data }: LeaseAttributes): boolean =>
  backendV6Data !== undefined && backendV6Data !== null;
