import type {
  Backend,
  BackendKind,
  BackendPlace,
  BackendUnderlay,
  PreparedBackend,
} from '#src/backend/backend.ts';
import type { BackendJobs, Job } from '#src/backend/job.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { UDP_OVERHEAD, UdpProbing } from '#src/backend/udp-probing.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix, formatPrefix, type Ipv4, type Prefix4, type Prefix6, prefix4 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { type KernelObject, RT_SCOPE_UNIVERSE, RTPROT_BOOT } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/** flannel's (v0.9.1 and HEAD, backend/udp/udp_amd64.go). */
const DEFAULT_PORT = 8285;
/** RFC 791 §3.2, and the outer headers. */
const LEAST_MTU = 68 + UDP_OVERHEAD;

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
    if (network.v4 === undefined) {
      throw new WeftError('backend', 'the backend udp carries IPv4 only, and the network has none', {
        remedy: 'set "Backend": {"Type": "vxlan"} in the network config',
      });
    }
    // Go's int: flannel fails at its start with 0 and what is no port.
    this.#port = options.integer('Port', 1, 65_535) ?? DEFAULT_PORT;
    this.#network = network.v4;
    this.#hasV6 = network.v6 !== undefined;
    this.instance = instance;
    this.settings = { Port: this.#port };
    // flannel takes the next free number. This one is the same at each start, and another for another network of the host.
    this.devices = [this.#port === DEFAULT_PORT ? 'flannel0' : `flannel${this.#port}`];
  }

  check({ name, mtu, address }: BackendUnderlay): readonly string[] {
    if (address.v4 === undefined)
      throw new WeftError('backend', `the interface ${name} has no IPv4 address for the network`);
    if (mtu < LEAST_MTU) {
      throw new WeftError(
        'backend',
        `the interface ${name} has an MTU of ${mtu}, and the backend udp needs ${LEAST_MTU}`,
        {
          remedy: `raise it ("ip link set ${name} mtu 1500"), or choose another with --iface`,
        },
      );
    }
    return [COST, ...(this.#hasV6 ? ['the backend udp carries IPv4 only: IPv6 reaches no other host'] : [])];
  }

  make(underlay: BackendUnderlay): Backend {
    const [device = ''] = this.devices;
    const { v4: local } = underlay.address;
    if (local === undefined)
      throw new WeftError('backend', `the interface ${underlay.name} has no IPv4 address for the network`);
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
    this.mtu = underlay.mtu - UDP_OVERHEAD;
    this.shared = { Port: port };
    this.inbound = { devices: this.devices, underlay: false };
    this.scopes = [scopeOnDevice(device, network)];
    this.probing = new UdpProbing(underlay, { device, mtu: this.mtu, port });
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

  identityOf(): undefined {
    return undefined;
  }

  tunnelEnd(): undefined {
    return undefined;
  }

  /** The tunnel reaches whatever the underlay reaches. */
  unreachable(): undefined {
    return undefined;
  }

  explain(): undefined {
    return undefined;
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
