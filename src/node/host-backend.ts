import { VxlanBackend, vtepMacOf, vxlanDeviceName } from '#src/backend/vxlan.ts';
import { readVxlanOptions, type VxlanOptions } from '#src/backend/vxlan-options.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { isUnicastMac, type Mac } from '#src/lib/mac.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { deriveMac } from '#src/node/identity.ts';
import { refuseOverlap } from '#src/node/overlap.ts';
import type { HostFacts } from '#src/node/underlay/host-facts.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';

/** The network's backend on this host, as soon as its MAC is known. */
export class HostBackend {
  readonly device: string;
  readonly #config: NetworkConfig;
  readonly #options: VxlanOptions;
  readonly #foundMac: Mac | undefined;
  readonly #identity: string;

  constructor(config: NetworkConfig, { links }: HostFacts, identity: string) {
    const { type, options } = config.backend;
    if (type !== 'vxlan') {
      throw new WeftError('backend', `Error fetching backend: unknown backend type: ${type}`, {
        remedy: 'set "Backend": {"Type": "vxlan"} in the network config; it is the only one there yet',
      });
    }
    this.#config = config;
    this.#options = readVxlanOptions(options);
    this.#identity = identity;
    this.device = vxlanDeviceName(this.#options.vni);
    this.#foundMac = links.find(({ name }) => name === this.device)?.mac;
  }

  /** Peers send to the MAC of our lease: it stays. Without one, the device's; without a device, our identity's. */
  macFor(taken: Pick<LeaseAttributes, 'backendData'> | undefined): Mac {
    const published = vtepMacOf(taken?.backendData);
    // An operator's reservation may hold anything.
    if (published !== undefined && isUnicastMac(published)) return published;
    return this.#foundMac ?? deriveMac(this.#identity, this.device);
  }

  make(underlay: Underlay, mac: Mac): VxlanBackend {
    return new VxlanBackend(this.#options, { network: this.#config.network, underlay, mac });
  }
}

/** Throws what would make a start do harm, found before anything is touched. */
export function refuseHarm(
  config: NetworkConfig,
  device: string,
  underlay: string,
  { links, routes }: HostFacts,
  allowOverlap: boolean,
  log: Logger,
): void {
  const found = links.find(({ name }) => name === device);
  if (found !== undefined && found.type !== 'vxlan') {
    throw new WeftError(
      'foreign-device',
      `the device ${device} exists and is no VXLAN device (it is a ${found.type ?? 'plain'} one)`,
      {
        remedy: `rename or remove it ("ip link del ${device}"), or choose another VNI in the network config`,
      },
    );
  }
  refuseOverlap(config, { routes, links, underlay, ownDevices: [device], allowed: allowOverlap }, log);
}
