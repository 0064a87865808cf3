import type {
  Backend,
  BackendKind,
  BackendPlace,
  BackendUnderlay,
  PreparedBackend,
} from '#src/backend/backend.ts';
import type { BackendJobs, Job } from '#src/backend/job.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { ipv4NetworkOf, ipv4OnlyWarning, ipv4UnderlayOf, refuseSmallMtu } from '#src/backend/start-checks.ts';
import { TunnelProbing } from '#src/backend/tunnel-probing.ts';
import { containsPrefix, formatPrefix, type Ipv4, type Prefix4, type Prefix6, prefix4 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { type KernelObject, RT_SCOPE_UNIVERSE, RTPROT_BOOT } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/** flannel's (v0.9.1 and HEAD, backend/udp/udp_amd64.go). */
const DEFAULT_PORT = 8285;
/** Bytes of the outer headers: IPv4 20, UDP 8. */
const OVERHEAD = 28;
/** RFC 791 §3.2, and the outer headers. */
const LEAST_MTU = 68 + OVERHEAD;

/**
 * flannel's udp backend (v0.9.1 and HEAD, backend/udp): a TUN device, and this process carries each packet. For debugging, and
 * for a network whose config names no backend, which means udp.
 */
export const udp: BackendKind = {
  type: 'udp',
  prepare: (place) => new PreparedUdp(place),
  // Its device goes with the process that made it.
  leftovers: () => [],
};

class PreparedUdp implements PreparedBackend {
  readonly type = udp.type;
  readonly instance: string;
  readonly devices: readonly string[];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace = [];
  readonly requirements = [];
  readonly #network: Prefix4;
  readonly #hasV6: boolean;
  readonly #port: number;

  constructor({ network, options, instance }: BackendPlace) {
    // Go's int: flannel fails at its start with 0 and what is no port.
    this.#port = options.integer('Port', 1, 65_535) ?? DEFAULT_PORT;
    this.#network = ipv4NetworkOf({ network }, udp.type);
    this.#hasV6 = network.v6 !== undefined;
    this.instance = instance;
    this.settings = { Port: this.#port };
    // flannel takes the next free number. This one is the same at each start, and another for another network of the host.
    this.devices = [this.#port === DEFAULT_PORT ? 'flannel0' : `flannel${this.#port}`];
  }

  check(underlay: BackendUnderlay): readonly string[] {
    ipv4UnderlayOf(underlay);
    refuseSmallMtu(underlay, LEAST_MTU, 'the backend udp');
    return [COST, ...(this.#hasV6 ? [ipv4OnlyWarning(udp.type)] : [])];
  }

  make(underlay: BackendUnderlay): Backend {
    const [device = ''] = this.devices;
    const local = ipv4UnderlayOf(underlay);
    return new UdpBackend({ network: this.#network, underlay, local, device, port: this.#port });
  }
}

/** Measured: see docs/reference/backends.md. */
const COST =
  'the backend udp (also that of a network config without Backend) is for debugging only: this process carries each packet, some 6 times as long on its way as with vxlan and with a 20th of its throughput, and a restart interrupts them; "Backend": {"Type": "vxlan"} leaves them to the kernel';

interface UdpHost {
  readonly network: Prefix4;
  readonly underlay: BackendUnderlay;
  readonly local: Ipv4;
  readonly device: string;
  readonly port: number;
}

class UdpBackend implements Backend {
  readonly type = udp.type;
  readonly devices: readonly string[];
  readonly mtu: number;
  readonly needsLookup = false;
  // flannel writes no BackendType.
  readonly published = { backendType: '' };
  readonly shared: Backend['shared'];
  readonly inbound: Backend['inbound'];
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly jobs: BackendJobs;
  readonly #host: UdpHost;

  constructor(host: UdpHost) {
    const { network, underlay, device, port } = host;
    this.#host = host;
    this.devices = [device];
    this.mtu = underlay.mtu - OVERHEAD;
    this.shared = { Port: port };
    this.inbound = { devices: this.devices, underlay: false };
    this.scopes = [scopeOnDevice(device, network)];
    this.probing = new TunnelProbing(underlay, {
      v4: {
        device,
        outer: 'v4',
        mtu: this.mtu,
        overhead: OVERHEAD,
        carrier: `UDP port ${port}`,
        hasMtuOption: false,
      },
    });
    this.jobs = {
      own: (subnets) => this.#ownJobs(subnets),
      peer: (lease) => this.#peerJobs(lease),
    };
  }

  ownObjects({ v4 }: PerFamily<Prefix4, Prefix6>): readonly KernelObject[] {
    const { network, device } = this.#host;
    if (v4 === undefined) return [];
    return [
      // Made by the job: a TUN device belongs to the process that has it open.
      { kind: 'link', name: device, type: 'tun', mtu: this.mtu, up: true, isMadeElsewhere: true },
      { kind: 'address', prefix: prefix4(v4.address, 32), device },
      {
        kind: 'route',
        destination: network,
        type: 'unicast',
        device,
        onlink: false,
        metric: 0,
        protocol: RTPROT_BOOT,
        scope: RT_SCOPE_UNIVERSE,
      },
    ];
  }

  /** One route leads to all of them. */
  peerObjects(): readonly KernelObject[] {
    return [];
  }

  /** flannel's udp takes any lease; a host of another backend would not understand what it gets. */
  judge({ backendType, publicIp }: LeaseAttributes): string | undefined {
    if (backendType !== '') return `its backend is "${backendType}", ours is "${this.type}"`;
    return publicIp === undefined ? 'it has no PublicIP' : undefined;
  }

  #ownJobs({ v4 }: PerFamily<Prefix4, Prefix6>): readonly Job[] {
    const { device, local, port } = this.#host;
    if (v4 === undefined) return [];
    return [{ kind: 'udp-tunnel', key: keyOf(device), atEnd: 'stop', device, local, port, subnet: v4 }];
  }

  #peerJobs({ subnets: { v4 }, attributes: { publicIp } }: Lease): readonly Job[] {
    const { device } = this.#host;
    if (v4 === undefined || publicIp === undefined) return [];
    const key = `the way to ${formatPrefix(v4)}`;
    return [{ kind: 'udp-way', key, needs: keyOf(device), atEnd: 'leave', device, subnet: v4, to: publicIp }];
  }
}

const keyOf = (device: string): string => `the tunnel ${device}`;

/** What is on the device is ours. */
const scopeOnDevice = (device: string, network: Prefix4): Scope => ({
  kinds: ['link', 'address', 'route'],
  filter: { device },
  owns(object) {
    if (object.kind === 'address') return containsPrefix(network, object.prefix);
    return (
      object.kind === 'route' &&
      object.type === 'unicast' &&
      object.protocol === RTPROT_BOOT &&
      containsPrefix(network, object.destination)
    );
  },
});
