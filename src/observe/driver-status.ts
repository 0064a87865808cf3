/** What Docker's driver does on one host, for `weft status`, the metrics and every client of the local API. */
export interface DriverStatus {
  /** `waiting`: until there is Docker on this host. `starting`: until it takes calls, also after a failure. */
  readonly state: 'off' | 'waiting' | 'starting' | 'on';
  /** Why networks are not as they should be here, one clause each. */
  readonly troubles: readonly string[];
  /** The networks of the driver that this host's Docker has, in the order of their names. */
  readonly networks: readonly DriverNetwork[];
}

export interface DriverNetwork {
  readonly name: string;
  readonly vni: number;
  readonly subnets: readonly string[];
  /** The endpoints of containers here: their names, or the beginning of their identifiers. */
  readonly containers: readonly string[];
  /** How many of them are cut off, because another host has their address. */
  readonly cutOff: number;
  /** Addresses on all hosts by state; absent while this host has no business with the network. */
  readonly addresses?: Readonly<Record<AddressStateName, number>>;
}

export const ADDRESS_STATES = ['reserved', 'published', 'released', 'kept'] as const;
export type AddressStateName = (typeof ADDRESS_STATES)[number];
