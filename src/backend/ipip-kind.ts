import type {
  Backend,
  BackendKind,
  BackendPlace,
  BackendUnderlay,
  FoundState,
  NetworkTrace,
  PreparedBackend,
  Requirement,
} from '#src/backend/backend.ts';
import { IpipBackend } from '#src/backend/ipip.ts';
import { IPIP_DEVICE, IPIP_OVERHEAD, ipipClash, LEAST_MTU } from '#src/backend/ipip-device.ts';
import {
  ipv4NetworkOf,
  ipv4OnlyWarning,
  ipv4UnderlayOf,
  refuseForeign,
  refuseSmallMtu,
} from '#src/backend/start-checks.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix, ipv4, type Prefix4 } from '#src/lib/ip.ts';
import type { KernelObject } from '#src/state/object.ts';

/** linux/net/ipv4/ipip.c. Between two ends of this host: the module's own tunl0 has the pair of any and any. */
const IPIP_DEVICES: Requirement = {
  module: 'ipip',
  buildOption: 'CONFIG_NET_IPIP',
  evidence: '/sys/module/ipip/parameters/log_ecn_error',
  probe: {
    kind: 'link',
    name: 'weft-probe',
    type: 'ipip',
    ipip: { local: ipv4(0x7f00_0001), remote: ipv4(0x7f00_0001), ttl: 0, pathMtuDiscovery: false },
  },
};

/** flannel's ipip backend (HEAD). */
export const ipip: BackendKind = {
  type: 'ipip',
  prepare: (place) => new PreparedIpip(place),

  /** The device with everything on it, if it has an address of the network, or none. tunl0 is the kernel module's own. */
  leftovers({ links, addresses }: FoundState, of: NetworkTrace | 'all'): KernelObject[] {
    const there = links.some(({ name, type }) => name === IPIP_DEVICE && type === 'ipip');
    if (!there) return [];
    const prefixes = addresses.filter(({ device }) => device === IPIP_DEVICE).map(({ prefix }) => prefix);
    const isOurs =
      of === 'all' ||
      prefixes.length === 0 ||
      prefixes.some((prefix) => of.network.v4 !== undefined && containsPrefix(of.network.v4, prefix));
    return isOurs ? [{ kind: 'link', name: IPIP_DEVICE }] : [];
  },
};

class PreparedIpip implements PreparedBackend {
  readonly type = 'ipip';
  readonly instance: string;
  readonly devices = [IPIP_DEVICE];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace = ['DirectRouting'];
  readonly routeOptions = ['DirectRouting'];
  readonly requirements = [IPIP_DEVICES];
  readonly #network: Prefix4;
  readonly #hasV6: boolean;
  readonly #directRouting: boolean;

  constructor({ instance, network, options }: BackendPlace) {
    this.instance = instance;
    this.#network = ipv4NetworkOf({ network }, 'ipip');
    this.#hasV6 = network.v6 !== undefined;
    this.#directRouting = options.boolean('DirectRouting') ?? false;
    this.settings = { DirectRouting: this.#directRouting };
  }

  check(underlay: BackendUnderlay, { links }: Pick<FoundState, 'links'>): readonly string[] {
    refuseForeign(links, IPIP_DEVICE, { kind: 'ipip', words: 'ipip' });
    const clash = ipipClash(ipv4UnderlayOf(underlay), links);
    if (clash !== undefined) {
      throw new WeftError('device-clash', `the device ${IPIP_DEVICE} can not be made: ${clash.text}`, {
        remedy: `remove it ("ip link del ${clash.device}")`,
      });
    }
    refuseSmallMtu(underlay, LEAST_MTU + IPIP_OVERHEAD, 'ipip');
    return this.#hasV6 ? [ipv4OnlyWarning('ipip')] : [];
  }

  make(underlay: BackendUnderlay): Backend {
    return new IpipBackend({
      network: this.#network,
      underlay,
      local: ipv4UnderlayOf(underlay),
      directRouting: this.#directRouting,
    });
  }
}
