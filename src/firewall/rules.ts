import {
  ipv4,
  ipv6,
  masked,
  type Prefix,
  type Prefix4,
  type Prefix6,
  prefix4,
  prefix6,
} from '#src/lib/ip.ts';

/** One family of an overlay network on one host: the whole network, and the part of it that this host holds. */
export interface Overlay<P extends Prefix = Prefix> {
  readonly network: P;
  readonly subnet: P;
}

export interface Overlays {
  readonly v4?: Overlay<Prefix4>;
  readonly v6?: Overlay<Prefix6>;
}

/** What the packet filter of this host shall do for one overlay network. Host bits in prefixes do not matter. */
export interface WantedRules extends Overlays {
  /** `--ip-masq`: what leaves the overlay takes the host's address; what stays in it keeps its own. */
  readonly masquerade: boolean;
  /** `--iptables-forward-rules`: what comes from or goes to the overlay is forwarded. */
  readonly forward: boolean;
  /** Random source ports when masquerading; off with `--ip-masq-fully-random-disable`. */
  readonly randomFully: boolean;
  /**
   * The devices by which peers' packets arrive: the backend's own. With host-gw and DirectRouting
   * also the underlay's, which trusts the underlay for source addresses. Docker still drops packets
   * that arrive by any other device.
   */
  readonly arriveBy: readonly string[];
  /** `--docker-fwmark`: one bit for {@link arriveBy}'s packets to our containers; 0 for none. */
  readonly dockerMark: number;
  /** Destinations outside the overlay that shall see the containers' own addresses. */
  readonly exempt?: readonly Prefix[];
  /** What subnet.env said before: rules with these values are taken away in the same transaction. */
  readonly previous?: Overlays;
}

/** Nothing at all: what `weft cleanup` wants. */
export const noRules = (previous?: Overlays): WantedRules => ({
  masquerade: false,
  forward: false,
  randomFully: false,
  arriveBy: [],
  dockerMark: 0,
  ...(previous === undefined ? {} : { previous }),
});

export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

export interface Match {
  readonly prefix: Prefix;
  readonly not?: true;
}

/** One rule, in no firewall's words. All that is set must match. */
export interface Rule {
  /** The device by which the packet arrived. */
  readonly by?: string;
  /** Only packets that carry {@link MASQUERADE_MARK}. */
  readonly marked?: true;
  readonly from?: Match;
  readonly to?: Match;
  readonly verdict: 'accept' | 'return' | 'masquerade' | 'mark';
  /** The bit that `mark` sets; other bits stay. */
  readonly mark?: number;
  readonly randomFully?: true;
}

/** Kubernetes' mark on packets that kube-proxy will masquerade itself. One bit: other bits say other things. */
export const MASQUERADE_MARK = 0x4000;

/** All rules of one family. A list without rules stands for a chain that shall not be there. */
export interface FamilyRules {
  readonly masquerade: readonly Rule[];
  readonly forward: readonly Rule[];
  /** For DOCKER-USER, Docker's own hook before the drops of its filter table (28.0 and later). */
  readonly fromPeers: readonly Rule[];
  /** For the raw table, where Docker drops what arrives for a container by another device (28.0 and later). */
  readonly raw: readonly Rule[];
  /** Sets the mark that Docker's nftables back end accepts with `--bridge-accept-fwmark`. */
  readonly mark: readonly Rule[];
  /** What flannel 0.9 to 0.19 put straight into POSTROUTING and FORWARD. */
  readonly bare: { readonly masquerade: readonly Rule[]; readonly forward: readonly Rule[] };
}

const MULTICAST: Readonly<Record<Family, Prefix>> = {
  4: prefix4(ipv4(0xe0000000), 4),
  6: prefix6(ipv6(0xffn << 120n), 8),
};

/** The rules of one family: flannel 0.28's, in its order (pkg/trafficmngr/iptables/iptables.go). */
export function rulesOf(wanted: WantedRules, family: Family): FamilyRules {
  const current = maskedOverlay(overlayOf(wanted, family));
  const previous = maskedOverlay(wanted.previous && overlayOf(wanted.previous, family));
  const old = [current, previous].filter((overlay) => overlay !== undefined);
  return {
    masquerade: current && wanted.masquerade ? masqueradeRules(current, family, wanted) : [],
    forward: current && wanted.forward ? forwardRules(current) : [],
    fromPeers: current && wanted.forward ? arrivalRules(current, wanted, ACCEPT) : [],
    raw: current && wanted.forward ? arrivalRules(current, wanted, ACCEPT) : [],
    mark: current && wanted.forward ? markRules(current, wanted) : [],
    bare: {
      masquerade: old.flatMap((overlay) => bareMasqueradeRules(overlay, family)),
      forward: old.flatMap(forwardRules),
    },
  };
}

const overlayOf = ({ v4, v6 }: Overlays, family: Family): Overlay | undefined => (family === 4 ? v4 : v6);

const maskedOverlay = (overlay: Overlay | undefined): Overlay | undefined =>
  overlay && { network: masked(overlay.network), subnet: masked(overlay.subnet) };

const is = (prefix: Prefix): Match => ({ prefix });
const isNot = (prefix: Prefix): Match => ({ prefix, not: true });

function masqueradeRules({ network, subnet }: Overlay, family: Family, wanted: WantedRules): Rule[] {
  const masquerade = {
    verdict: 'masquerade',
    ...(wanted.randomFully ? ({ randomFully: true } as const) : {}),
  } as const;
  const exempt = (wanted.exempt ?? []).filter((prefix) => prefix.family === family);
  return [
    { marked: true, verdict: 'return' },
    { from: is(subnet), to: is(network), verdict: 'return' },
    { from: is(network), to: is(subnet), verdict: 'return' },
    { from: isNot(network), to: is(subnet), verdict: 'return' },
    ...exempt.map((prefix) => ({ from: is(network), to: is(masked(prefix)), verdict: 'return' }) as const),
    { from: is(network), to: isNot(MULTICAST[family]), ...masquerade },
    { from: isNot(network), to: is(network), ...masquerade },
  ];
}

const forwardRules = ({ network }: Overlay): Rule[] => [
  { from: is(network), verdict: 'accept' },
  { to: is(network), verdict: 'accept' },
];

const ACCEPT = { verdict: 'accept' } as const;

/**
 * What arrives from peers for containers of ours. Containers of this host among themselves stay Docker's matter
 * (`--icc=false`, internal networks), and so does what arrives by another device, whatever source it claims.
 */
const arrivalRules = (
  { network, subnet }: Overlay,
  { arriveBy }: WantedRules,
  verdict: Pick<Rule, 'verdict' | 'mark'>,
): Rule[] => arriveBy.map((by) => ({ by, from: is(network), to: is(subnet), ...verdict }));

const markRules = (overlay: Overlay, wanted: WantedRules): Rule[] =>
  wanted.dockerMark === 0 ? [] : arrivalRules(overlay, wanted, { verdict: 'mark', mark: wanted.dockerMark });

/** flannel 0.9.1, network/iptables.go. */
function bareMasqueradeRules({ network, subnet }: Overlay, family: Family): Rule[] {
  return [
    { from: is(network), to: is(network), verdict: 'return' },
    { from: is(network), to: isNot(MULTICAST[family]), verdict: 'masquerade' },
    { from: isNot(network), to: is(subnet), verdict: 'return' },
    { from: isNot(network), to: is(network), verdict: 'masquerade' },
  ];
}

/** The names of what is ours in the packet filter. */
export interface Names {
  readonly masquerade: string;
  readonly forward: string;
  readonly fromPeers: string;
  readonly raw: string;
  readonly mark: string;
  readonly table: (family: Family) => string;
}

/**
 * flannel's own fixed names for the default network; a further network on the same host appends its instance (its
 * VNI, say) to each. At most 12 letters: iptables allows 28 to a chain.
 */
export function namesOf(instance = ''): Names {
  const suffix = instance === '' ? '' : `-${instance}`;
  return {
    masquerade: `FLANNEL-POSTRTG${suffix}`,
    forward: `FLANNEL-FWD${suffix}`,
    fromPeers: `FLANNEL-DOCKER${suffix}`,
    raw: `FLANNEL-RAW${suffix}`,
    mark: `FLANNEL-MARK${suffix}`,
    table: (family) => `flannel-ipv${family}${suffix}`,
  };
}

/** What a firewall lacks or has too much, in words, and the transaction that mends it. Both empty: all is as wanted. */
export interface Change {
  readonly faults: readonly string[];
  readonly transaction: string;
  /**
   * The table that the transaction begins with, when it holds only tables which the host works without: no rules are in
   * them, and the kernel may not have them.
   */
  readonly optional?: string;
}
