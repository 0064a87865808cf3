import type { Backend, BackendUnderlay, PreparedBackend } from '#src/backend/backend.ts';
import { prepareBackend } from '#src/backend/catalogue.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import type { OverlapRules } from '#src/network/overlap-rules.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import type { Preparation } from '#src/node/jobs/preparation.ts';
import type { NetworkClaim, NetworkClaims } from '#src/node/network-claims.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import { type OverlapOptions, overlapRulesOf, refuseOverlap } from '#src/node/overlap.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { type HostFacts, readHostFacts, withoutSubnets } from '#src/node/underlay/host-facts.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';
import {
  readUnderlayFlags,
  type UnderlayFlags,
  type UnderlaySelection,
} from '#src/node/underlay/underlay-selection.ts';

export interface IntentMakerComponents {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  readonly claims: NetworkClaims;
  readonly preparation: Preparation;
  readonly log: Logger;
}

export interface IntentMakerOptions extends UnderlayFlags, OverlapOptions {
  /** Names the network among those of its host: its prefix. */
  readonly owner: string;
  /** For messages: `network blue`. */
  readonly title: string;
  /** Distinguishes this network's names where its backend has no number of its own. */
  readonly tag: string;
  readonly identity: string;
}

/** An intent that lacks only the lease. */
export interface Draft {
  readonly config: NetworkConfig;
  readonly underlay: Underlay;
  readonly prepared: PreparedBackend;
  readonly selection: UnderlaySelection;
  readonly overlap: OverlapRules;
  /** Takes the draft's devices and range for this network. Throws WeftError `network-clash`. */
  claim(): void;
  /** Why the backend can't use what a host publishes; `undefined` when it can. */
  judge(attributes: LeaseAttributes): string | undefined;
  /** What to publish, given the lease that is taken over, if one is. */
  attributes(taken?: Partial<LeaseAttributes>): LeaseAttributes;
  intent(subnets: Subnets, taken?: Partial<LeaseAttributes>): NetworkIntent;
}

/**
 * Looks at the host, and drafts what a network shall be on it. A harmful config is refused here,
 * before anything is touched.
 */
export class IntentMaker {
  readonly #components: IntentMakerComponents;
  readonly #options: IntentMakerOptions;

  constructor(components: IntentMakerComponents, options: IntentMakerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /**
   * `current`: the underlay in use, which stays. `subnets`: addresses in them are the overlay's own. Throws WeftError
   * `interface`, `config`, `backend`, `backend-job`, `foreign-device`, `device-clash`, `overlap` or `network-clash`.
   */
  async draft(
    config: NetworkConfig,
    { current, subnets = {} }: { readonly current?: Underlay; readonly subnets?: Subnets } = {},
  ): Promise<Draft> {
    const { kernel, claims } = this.#components;
    const { owner, identity, tag } = this.#options;
    const selection = await readUnderlayFlags(this.#options);
    const facts = await readHostFacts(kernel, selection);
    const underlay = current ?? chooseUnderlay(selection, withoutSubnets(facts, subnets));
    const prepared = prepareBackend(config, { links: facts.links, identity, instance: tag });
    const claim = this.#claimOf(config, prepared);
    claims.check(owner, claim);
    this.#refuseHarm(config, prepared, underlay, facts);
    const output = await this.#components.preparation.outputOf(prepared.preparation);
    const make = (taken?: Partial<LeaseAttributes>): Backend =>
      prepared.make(backendUnderlay(underlay), taken, output);
    const overlap = overlapRulesOf(config.ranges, underlay, this.#options);
    return {
      config,
      underlay,
      prepared,
      selection,
      overlap,
      claim: () => claims.take(owner, claim),
      judge: (attributes) => make().judge(attributes),
      attributes: (taken) => ({ ...publicIpsOf(underlay), ...make(taken).published, node: identity }),
      intent: (own, taken) => ({ config, subnets: own, underlay, backend: make(taken), overlap }),
    };
  }

  #claimOf({ ranges }: NetworkConfig, { devices }: PreparedBackend): NetworkClaim {
    const { title } = this.#options;
    return { title: title === '' ? 'this network' : title, networks: networksOf(ranges), devices };
  }

  #refuseHarm(
    config: NetworkConfig,
    prepared: PreparedBackend,
    underlay: Underlay,
    { routes, links }: HostFacts,
  ): void {
    const { log } = this.#components;
    for (const warning of prepared.check(backendUnderlay(underlay), { links })) log.warning(warning);
    refuseOverlap(
      config.ranges,
      {
        routes,
        links,
        underlay: underlay.name,
        ownDevices: prepared.devices,
        allowed: this.#options.allowOverlap,
      },
      log,
    );
  }
}

const backendUnderlay = ({ name, mtu, address, publicIp }: Underlay): BackendUnderlay => ({
  name,
  mtu,
  address,
  publicIp,
});

const publicIpsOf = ({
  publicIp: { v4, v6 },
}: Underlay): Pick<LeaseAttributes, 'publicIp' | 'publicIpv6'> => ({
  ...(v4 !== undefined && { publicIp: v4 }),
  ...(v6 !== undefined && { publicIpv6: v6 }),
});
