import type { Backend, BackendUnderlay, PreparedBackend } from '#src/backend/backend.ts';
import { prepareBackend, secretsNeeded } from '#src/backend/catalogue.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import { type FamilyName, familiesOf } from '#src/lib/per-family.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import type { OverlapRules } from '#src/network/overlap-rules.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import type { SecretSource } from '#src/node/backend-secrets.ts';
import type { Preparation } from '#src/node/jobs/preparation.ts';
import type { NetworkClaim, NetworkClaims } from '#src/node/network-claims.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import { type OverlapOptions, overlapRulesOf, refuseOverlap } from '#src/node/overlap.ts';
import { advertisedRoutes } from '#src/node/underlay/advertised-routes.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { type HostFacts, readHostFacts, withoutSubnets } from '#src/node/underlay/host-facts.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';
import {
  readUnderlayFlags,
  type UnderlayFlags,
  type UnderlaySelection,
} from '#src/node/underlay/underlay-selection.ts';
import type { Files } from '#src/sys/files.ts';

export interface IntentMakerComponents {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  readonly claims: NetworkClaims;
  /** The host's settings below /proc/sys. */
  readonly files: Pick<Files, 'read'>;
  readonly preparation: Preparation;
  readonly secrets: Pick<SecretSource, 'read'>;
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
  /** `--underlay-family` */
  readonly underlayFamily: 'auto' | FamilyName;
}

/** An intent that lacks only the lease. */
export interface Draft {
  readonly config: NetworkConfig;
  readonly underlay: Underlay;
  readonly prepared: PreparedBackend;
  readonly selection: UnderlaySelection;
  readonly overlap: OverlapRules;
  /** See {@link NetworkIntent.advertised}. */
  readonly advertised: readonly string[];
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
  /** Once a setting was changed it can't be seen any more that it has to be so. */
  readonly #advertised = new Set<string>();

  constructor(components: IntentMakerComponents, options: IntentMakerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /**
   * `current`: the underlay in use, which stays. `subnets`: addresses in them are the overlay's own. Throws WeftError
   * `interface`, `config`, `wireguard-key`, `backend`, `backend-job`, `foreign-device`, `device-clash`, `overlap` or `network-clash`.
   */
  async draft(
    config: NetworkConfig,
    { current, subnets = {} }: { readonly current?: Underlay; readonly subnets?: Subnets } = {},
  ): Promise<Draft> {
    const { kernel, claims } = this.#components;
    const { owner, identity, tag, underlayFamily } = this.#options;
    const selection = await readUnderlayFlags(this.#options);
    const facts = await readHostFacts(kernel, selection);
    const families = underlayFamily === 'auto' ? familiesOf(config.ranges) : [underlayFamily];
    const underlay = current ?? chooseUnderlay(selection, withoutSubnets(facts, subnets), families);
    const secrets = await this.#components.secrets.read(secretsNeeded(config));
    const prepared = prepareBackend(config, { links: facts.links, identity, instance: tag, secrets });
    const claim = this.#claimOf(config, prepared);
    claims.check(owner, claim);
    this.#refuseHarm(config, prepared, underlay, facts);
    const output = await this.#components.preparation.outputOf(prepared.preparation);
    const make = (taken?: Partial<LeaseAttributes>, own?: Subnets): Backend =>
      prepared.make(
        { ...backendUnderlay(underlay), ...(own !== undefined && { subnets: own }) },
        taken,
        output,
      );
    const overlap = overlapRulesOf(config.ranges, underlay, this.#options);
    const advertised = config.ranges.v6 === undefined ? [] : await this.#advertisedOf(facts);
    return {
      config,
      underlay,
      prepared,
      selection,
      overlap,
      advertised,
      claim: () => claims.take(owner, claim),
      judge: (attributes) => make().judge(attributes),
      attributes: (taken) => ({ ...publicIpsOf(underlay), ...make(taken).published, node: identity }),
      intent: (own, taken) => ({
        config,
        subnets: own,
        underlay,
        backend: make(taken, own),
        overlap,
        advertised,
      }),
    };
  }

  async #advertisedOf(facts: HostFacts): Promise<string[]> {
    for (const device of await advertisedRoutes(facts, this.#components.files)) this.#advertised.add(device);
    return facts.links.flatMap(({ name }) => (this.#advertised.has(name) ? name : []));
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
