import type {
  BackendKind,
  BackendPlace,
  BackendUnderlay,
  FoundState,
  NetworkTrace,
  PreparedBackend,
  Published,
  Requirement,
} from '#src/backend/backend.ts';
import { deriveMac } from '#src/backend/derive-mac.ts';
import { type DeviceType, mtuWarnings, refuseForeign, refuseSmallMtu } from '#src/backend/start-checks.ts';
import { VxlanBackend, vtepMacOf } from '#src/backend/vxlan.ts';
import { vxlanClash } from '#src/backend/vxlan-clash.ts';
import { tunnelDeviceName } from '#src/backend/vxlan-encryption.ts';
import {
  type DeviceNames,
  isVxlanDeviceName,
  NAMES,
  namesFor,
  vxlanDeviceName,
} from '#src/backend/vxlan-names.ts';
import {
  type Family,
  IPV4_ONLY,
  readVxlanOptions,
  TUNNEL_OVERHEAD,
  TUNNELS,
  type VxlanOptions,
} from '#src/backend/vxlan-options.ts';
import { WIREGUARD, WIREGUARD_DEVICE_TYPE } from '#src/backend/wireguard-kind.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix, formatIp } from '#src/lib/ip.ts';
import { isUnicastMac, type Mac } from '#src/lib/mac.ts';
import type { GoObject } from '#src/network/go-json.ts';
import { outerFamily } from '#src/network/outer-family.ts';
import { readWireguardMember } from '#src/network/wireguard-member.ts';
import type { KernelObject, Link } from '#src/state/object.ts';

const VXLAN: DeviceType = { kind: 'vxlan', words: 'VXLAN' };

/** Devices of the tunnels around them. */
const OUR_TUNNEL = /^weft-wg\.\d+$/;

/** linux/drivers/net/vxlan: a module of its own in most distributions' kernels. */
export const VXLAN_DEVICES: Requirement = {
  module: 'vxlan',
  buildOption: 'CONFIG_VXLAN',
  evidence: '/sys/module/vxlan/parameters/udp_port',
  probe: {
    kind: 'link',
    name: 'weft-probe',
    type: 'vxlan',
    vxlan: { vni: 0xfffffe, port: 65_535, learning: false, gbp: false },
  },
};

/** flannel's vxlan backend, the default of most networks. */
export const vxlan: BackendKind = {
  type: 'vxlan',
  prepare: (place) => new PreparedVxlan(place),
  secrets: (options) => (asksForEncryption(options) ? ['wireguard-key'] : []),

  /** Devices with everything on them. A device is the network's if it has an address there, or its name and no address. */
  leftovers({ links, addresses }: FoundState, of: NetworkTrace | 'all'): KernelObject[] {
    const named = of === 'all' ? [] : devicesNamedBy(of);
    return links
      .filter(
        ({ name, type }) =>
          (type === 'vxlan' && isVxlanDeviceName(name)) || (type === 'wireguard' && OUR_TUNNEL.test(name)),
      )
      .filter(({ name }) => {
        if (of === 'all') return true;
        const prefixes = addresses.filter(({ device }) => device === name).map(({ prefix }) => prefix);
        const networks = [of.network.v4, of.network.v6].filter((network) => network !== undefined);
        const isIn = prefixes.some((prefix) => networks.some((network) => containsPrefix(network, prefix)));
        const hasOthers = prefixes.some((prefix) => prefix.family === 4 || prefix.length === 128);
        return isIn || (!hasOthers && named.includes(name));
      })
      .map(({ name }) => ({ kind: 'link', name }));
  },

  sealOf: ({ options }) => (options === undefined ? undefined : wayOf(options)?.vni),
};

class PreparedVxlan implements PreparedBackend {
  readonly type = 'vxlan';
  readonly instance: string;
  readonly devices: readonly string[];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace = ['MTU', 'DirectRouting', 'EncryptPolicy', 'FastPath'];
  readonly routeOptions = ['DirectRouting'];
  readonly requirements: readonly Requirement[];
  readonly #place: BackendPlace;
  readonly #options: VxlanOptions;
  readonly #families: readonly Family[];
  readonly #names: DeviceNames;

  constructor(place: BackendPlace) {
    const { network, options, links, beside } = place;
    const has = { v4: network.v4 !== undefined, v6: network.v6 !== undefined };
    this.#place = place;
    this.#options = readVxlanOptions(options, has);
    this.#families = (['v4', 'v6'] as const).filter((family) => has[family]);
    const other = beside?.backend.type === this.type ? wayOf(beside.backend.options) : undefined;
    this.#names = namesFor(this.#options, links, other && beside && { ...other, isOld: beside.isOld });
    const { vni, port, gbp, learning, directRouting, mtu, encrypt, fastPath } = this.#options;
    this.settings = {
      VNI: vni,
      Port: port,
      GBP: gbp,
      Learning: learning,
      DirectRouting: directRouting,
      MTU: mtu,
      ...(fastPath !== undefined && { FastPath: fastPath }),
      ...(encrypt !== undefined && {
        Encrypt: 'wireguard',
        EncryptPolicy: encrypt.policy,
        EncryptPort: encrypt.port,
      }),
    };
    this.requirements = encrypt === undefined ? [VXLAN_DEVICES] : [VXLAN_DEVICES, WIREGUARD_DEVICE_TYPE];
    this.instance = String(vni);
    const overlay = this.#families.map((family) => vxlanDeviceName(vni, family, this.#names));
    this.devices = encrypt === undefined ? overlay : [...overlay, tunnelDeviceName(vni)];
  }

  check(underlay: BackendUnderlay, { links }: Pick<FoundState, 'links'>): readonly string[] {
    const { vni, mtu, encrypt } = this.#options;
    if (encrypt !== undefined) this.#checkTunnel(underlay, links);
    const around = encrypt === undefined ? 0 : TUNNEL_OVERHEAD;
    for (const family of this.#families) {
      const device = vxlanDeviceName(vni, family, this.#names);
      refuseForeign(links, device, VXLAN, ', or choose another VNI in the network config');
      const outer = outerFamily(family, underlay.address);
      const local = underlay.address[outer];
      // Two devices of one VNI can't both be over the same family (linux/drivers/net/vxlan: EEXIST).
      if (local === undefined || (outer !== family && this.#families.length > 1)) {
        throw new WeftError(
          'backend',
          `the interface ${underlay.name} has no IP${family} address for the network`,
          {
            remedy: `give it one, or choose another interface with --iface; a network of one family may run over the other`,
          },
        );
      }
      const clash = vxlanClash({ ...this.#options, device, local }, links);
      if (clash !== undefined) {
        throw new WeftError('device-clash', `the device ${device} can not be made: ${clash.text}`, {
          remedy: `remove it ("ip link del ${clash.device}"), or choose another VNI or Port in the network config`,
        });
      }
      const { overhead } = TUNNELS[outer];
      const { leastMtu } = TUNNELS[family];
      refuseSmallMtu(underlay, leastMtu + overhead + around, `IP${family} over VXLAN`);
    }
    return mtuWarnings(mtu, underlay);
  }

  /** Inside the tunnel nothing translates addresses, so the one that is published has to be the host's own. */
  #checkTunnel({ address, publicIp }: BackendUnderlay, links: readonly Link[]): void {
    refuseForeign(links, tunnelDeviceName(this.#options.vni), WIREGUARD);
    if (outerFamily('v4', address) === 'v6')
      throw new WeftError(
        'backend',
        `"Encrypt": "wireguard" can't be used here: the tunnel around VXLAN ${IPV4_ONLY}`,
        {
          remedy: 'use an underlay with IPv4 (--iface, --underlay-family), or take the backend "wireguard"',
        },
      );
    if (publicIp.v4 === undefined || publicIp.v4 === address.v4) return;
    throw new WeftError(
      'backend',
      `the public IP ${formatIp(publicIp.v4)} is not an address of the interface: "Encrypt": "wireguard" does not work behind a NAT`,
      { remedy: 'start without --public-ip, or take the backend "wireguard"' },
    );
  }

  make(underlay: BackendUnderlay, taken: Partial<Published> = {}): VxlanBackend {
    const { network, secrets } = this.#place;
    const macOf = (family: Family): Mac => {
      // Peers send to the MAC of our lease. An operator's reservation may hold anything.
      const published = vtepMacOf(family === 'v4' ? taken.backendData : taken.backendV6Data);
      if (published !== undefined && isUnicastMac(published)) return published;
      const device = vxlanDeviceName(this.#options.vni, family, this.#names);
      const found = this.#place.links.find(({ name, type }) => name === device && type === 'vxlan');
      return found?.mac ?? deriveMac(this.#place.identity, device);
    };
    const tunnelKey = secrets?.wireguardKey ?? {
      publicKey: readWireguardMember(taken).tunnel?.publicKey ?? '',
    };
    return new VxlanBackend(this.#options, {
      network,
      underlay,
      names: this.#names,
      ...(this.#options.encrypt !== undefined && { tunnelKey }),
      macs: Object.fromEntries(this.#families.map((family) => [family, macOf(family)])),
    });
  }
}

/** The names that the network's own options give its devices; none where those are not known. */
function devicesNamedBy({ options, network }: NetworkTrace): readonly string[] {
  const vni = options === undefined ? undefined : wayOf(options)?.vni;
  if (vni === undefined) return [];
  const overlay = (['v4', 'v6'] as const)
    .filter((family) => network[family] !== undefined)
    .flatMap((family) => NAMES.map((names) => vxlanDeviceName(vni, family, names)));
  return [...overlay, tunnelDeviceName(vni)];
}

/** Of options that may be wrong: then `prepare` says so. */
const asksForEncryption = (options: GoObject): boolean => {
  const kind = options.raw('Encrypt') ?? null;
  return kind !== null && kind !== '';
};

/** The options were read by a start that succeeded, but a file may have been edited since. */
function wayOf(options: GoObject): Pick<VxlanOptions, 'vni' | 'port'> | undefined {
  try {
    return readVxlanOptions(options);
  } catch {
    return undefined;
  }
}
