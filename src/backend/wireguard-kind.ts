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
import { ownNumbers, publishedKey } from '#src/backend/rotation-keys.ts';
import { type DeviceType, mtuWarnings, refuseForeign, refuseSmallMtu } from '#src/backend/start-checks.ts';
import { WireguardBackend } from '#src/backend/wireguard.ts';
import {
  markOf,
  readWireguardOptions,
  WIREGUARD_OVERHEAD,
  type WireguardOptions,
} from '#src/backend/wireguard-options.ts';
import { leastUnderlayMtu, refuseSecondPorts, wireguardTunnels } from '#src/backend/wireguard-tunnel.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix } from '#src/lib/ip.ts';
import { familyText, valuesOf } from '#src/lib/per-family.ts';
import type { KernelObject } from '#src/state/object.ts';

/** Devices of the wireguard backend; `.b` is the second one of a rotation of keys. */
const OUR_DEVICE = /^flannel-wg(-v6)?(\.b)?$/;

/** Its devices in words. */
export const WIREGUARD: DeviceType = { kind: 'wireguard', words: 'WireGuard' };

/** linux/drivers/net/wireguard: a module of its own in most distributions' kernels, from Linux 5.6 on. */
export const WIREGUARD_DEVICE_TYPE: Requirement = {
  module: 'wireguard',
  buildOption: 'CONFIG_WIREGUARD (Linux 5.6 or newer)',
  evidence: '/sys/module/wireguard/version',
  probe: { kind: 'link', name: 'weft-probe', type: 'wireguard' },
};

/** flannel's wireguard backend: encrypted, with a key for each node. */
export const wireguard: BackendKind = {
  type: 'wireguard',
  prepare: (place) => new PreparedWireguard(place),
  secrets: () => ['wireguard-key'],

  /** Devices with everything on them. A device is the network's if it has an address there, or none at all. */
  leftovers({ links, addresses }: FoundState, of: NetworkTrace | 'all'): KernelObject[] {
    return links
      .filter(({ name, type }) => type === 'wireguard' && OUR_DEVICE.test(name))
      .filter(({ name }) => {
        if (of === 'all') return true;
        const prefixes = addresses.filter(({ device }) => device === name).map(({ prefix }) => prefix);
        const isIn = prefixes.some((prefix) =>
          valuesOf(of.network).some((network) => containsPrefix(network, prefix)),
        );
        return isIn || prefixes.length === 0;
      })
      .map(({ name }) => ({ kind: 'link', name }));
  },
};

class PreparedWireguard implements PreparedBackend {
  readonly type = 'wireguard';
  readonly instance: string;
  readonly devices: readonly string[];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace = ['MTU', 'PSK', 'PersistentKeepaliveInterval'];
  readonly requirements = [WIREGUARD_DEVICE_TYPE];
  readonly #place: BackendPlace;
  readonly #options: WireguardOptions;

  constructor(place: BackendPlace) {
    const { network, options } = place;
    this.#place = place;
    this.#options = readWireguardOptions(options, {
      v4: network.v4 !== undefined,
      v6: network.v6 !== undefined,
    });
    const { mode, ports, mtu, presharedKey, keepalive } = this.#options;
    this.instance = place.instance;
    this.settings = {
      Mode: mode,
      ListenPort: ports.v4,
      ListenPortV6: mode === 'separate' && network.v6 !== undefined ? ports.v6 : undefined,
      MTU: mtu,
      PSK: markOf(presharedKey),
      PersistentKeepaliveInterval: keepalive,
    };
    const rotates = place.secrets?.keyRotation !== undefined;
    if (rotates) refuseSecondPorts(options, this.#options);
    this.devices = (rotates ? (['a', 'b'] as const) : (['a'] as const)).flatMap((side) =>
      wireguardTunnels(this.#options, network, side).map(({ device }) => device),
    );
  }

  check(underlay: BackendUnderlay, { links }: Pick<FoundState, 'links'>): readonly string[] {
    for (const device of this.devices) refuseForeign(links, device, WIREGUARD);
    const { mode, mtu } = this.#options;
    if (mode === 'ipv4' || mode === 'ipv6') {
      const family = mode === 'ipv4' ? 'v4' : 'v6';
      if (underlay.publicIp[family] === undefined) {
        throw new WeftError(
          'backend',
          `the interface ${underlay.name} has no ${familyText(family)} address for "Mode": "${mode}"`,
          { remedy: 'choose another interface with --iface, or another Mode in the network config' },
        );
      }
    }
    const least = leastUnderlayMtu(this.#place.network, WIREGUARD_OVERHEAD);
    refuseSmallMtu(underlay, least, 'WireGuard');
    return mtuWarnings(mtu, underlay);
  }

  make(underlay: BackendUnderlay, taken: Partial<Published> = {}): WireguardBackend {
    const { network, secrets } = this.#place;
    const rotation = secrets?.keyRotation;
    const known = rotation && ownNumbers(taken, rotation.nextKey?.publicKey);
    return new WireguardBackend(this.#options, {
      network,
      underlay,
      key: secrets?.wireguardKey ?? { publicKey: publishedKey(taken) },
      ...(rotation !== undefined && {
        rotation: {
          ...rotation,
          numbers: rotation.numbers ?? known?.numbers ?? { current: 0 },
          isEnding: rotation.isEnding ?? known?.isEnding ?? false,
        },
      }),
    });
  }
}
