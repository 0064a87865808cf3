import type { Backend, PreparedBackend } from '#src/backend/backend.ts';
import { backendKind } from '#src/backend/catalogue.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Prefix4 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import type { NetworkClaims } from '#src/node/network-claims.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import { refuseOverlap } from '#src/node/overlap.ts';
import {
  chooseUnderlay,
  type HostFacts,
  readHostFacts,
  type Underlay,
  type UnderlayFlags,
} from '#src/node/underlay.ts';

export interface IntentMakerComponents {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  readonly claims: NetworkClaims;
  readonly log: Logger;
}

export interface IntentMakerOptions extends UnderlayFlags {
  /** Names the network among those of its host: its prefix. */
  readonly owner: string;
  /** For messages: `network blue`. */
  readonly title: string;
  /** Tells this network's names apart where its backend has no number of its own. */
  readonly tag: string;
  readonly identity: string;
  readonly allowOverlap: boolean;
}

/** An intent that lacks only the lease. */
export interface Draft {
  readonly config: NetworkConfig;
  readonly underlay: Underlay;
  readonly prepared: PreparedBackend;
  /** What to publish, given the lease that is taken over, if one is. */
  attributes(taken?: Partial<LeaseAttributes>): LeaseAttributes;
  intent(subnet: Prefix4, taken?: Partial<LeaseAttributes>): NetworkIntent;
}

/**
 * Looks at the host, and drafts what a network shall be on it. Whatever would do harm is refused here, before anything
 * is touched.
 */
export class IntentMaker {
  readonly #components: IntentMakerComponents;
  readonly #options: IntentMakerOptions;

  constructor(components: IntentMakerComponents, options: IntentMakerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /**
   * `current`: the underlay in use, which stays. Throws WeftError `interface`, `config`, `backend`, `foreign-device`,
   * `overlap` or `network-clash`.
   */
  async draft(config: NetworkConfig, current?: Underlay): Promise<Draft> {
    const { kernel, claims } = this.#components;
    const { owner, title } = this.#options;
    const facts = await readHostFacts(kernel);
    const underlay = current ?? (await chooseUnderlay(this.#options, facts, kernel));
    const prepared = this.#prepare(config, facts);
    this.#refuseHarm(config, prepared, underlay, facts);
    claims.take(owner, {
      title: title === '' ? 'this network' : title,
      network: config.network,
      devices: prepared.devices,
    });
    return this.#draftOf(config, underlay, prepared);
  }

  #prepare(config: NetworkConfig, { links }: HostFacts): PreparedBackend {
    const { identity, tag } = this.#options;
    const { type, options } = config.backend;
    return backendKind(type).prepare({
      network: { v4: config.network },
      options,
      identity,
      links,
      instance: tag,
    });
  }

  #refuseHarm(
    config: NetworkConfig,
    prepared: PreparedBackend,
    underlay: Underlay,
    facts: HostFacts,
  ): void {
    const { log } = this.#components;
    for (const warning of prepared.check(backendUnderlay(underlay), facts)) log.warning(warning);
    refuseOverlap(
      config.network,
      {
        ...facts,
        underlay: underlay.name,
        ownDevices: prepared.devices,
        allowed: this.#options.allowOverlap,
      },
      log,
    );
  }

  #draftOf(config: NetworkConfig, underlay: Underlay, prepared: PreparedBackend): Draft {
    const make = (taken?: Partial<LeaseAttributes>): Backend =>
      prepared.make(backendUnderlay(underlay), taken);
    return {
      config,
      underlay,
      prepared,
      attributes: (taken) => ({
        publicIp: underlay.publicIp,
        ...make(taken).published,
        node: this.#options.identity,
      }),
      intent: (subnet, taken) => ({ config, subnet, underlay, backend: make(taken) }),
    };
  }
}

const backendUnderlay = ({ name, mtu, address, publicIp }: Underlay) => ({
  name,
  mtu,
  address: { v4: address },
  publicIp: { v4: publicIp },
});
