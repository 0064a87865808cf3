import type { SavedTable, SavedTables } from '#src/firewall/iptables-save.ts';
import type { NftChain, NftTable } from '#src/firewall/nft-listing.ts';
import { type Drop, dropOf, type Packet, type WalkChains } from '#src/firewall/packet-walk.ts';
import { FAMILIES, type Family, type Overlay, type WantedRules } from '#src/firewall/rules.ts';
import { mayDrop, walkIptables } from '#src/firewall/walk-iptables.ts';
import { destinationsOf, walkNft } from '#src/firewall/walk-nft.ts';
import { containsPrefix, formatPrefix, masked, type Prefix, parsePrefix } from '#src/lib/ip.ts';

/** The packet filters of a host as they are, our own rules among them. */
export interface SeenRules {
  /** What `iptables-save` printed, by program: `iptables`, `ip6tables-legacy`. */
  readonly iptables: readonly {
    readonly program: string;
    readonly family: Family;
    readonly saved: SavedTables;
  }[];
  /** Tables of nftables' own, neither iptables-nft's nor ours. */
  readonly nftables: readonly {
    readonly family: 'ip' | 'ip6' | 'inet';
    readonly name: string;
    readonly table: NftTable;
  }[];
}

/** Something that drops the overlay's packets, and what to do about it; one line each. */
export interface Finding {
  readonly what: string;
  readonly remedy: string;
}

/** A {@link Finding} with its place. */
export interface SeenDrop extends Finding {
  readonly firewall: 'iptables' | 'nftables';
  /** `iptables`, `iptables-legacy`, `nft`. */
  readonly program: string;
  readonly table: string;
  readonly chain: string;
  /** The rule, or `policy drop`. */
  readonly text: string;
}

/** The bridge of the containers: Docker's default name. */
const DOCKER_BRIDGE = 'docker0';
/** The tables of Docker's nftables back end (29.0, daemon/libnetwork/drivers/bridge/internal/nftabler). */
const DOCKER_TABLE = 'docker-bridges';

/**
 * What drops a new connection's packets from peers to containers of ours, or from them to peers, for certain. Nothing is
 * found where rules ask for something that isn't known, so that no finding is false.
 */
export function whatDrops(
  seen: SeenRules,
  wanted: WantedRules,
  { bridge = DOCKER_BRIDGE }: { readonly bridge?: string } = {},
): Finding[] {
  return seenDrops(seen, wanted, { bridge }).map(({ what, remedy }) => ({ what, remedy }));
}

/** The same as {@link whatDrops}, each with its place. */
export function seenDrops(
  seen: SeenRules,
  wanted: WantedRules,
  { bridge = DOCKER_BRIDGE }: { readonly bridge?: string } = {},
): SeenDrop[] {
  const findings = new Map<string, SeenDrop>();
  for (const family of FAMILIES) {
    const overlay = family === 4 ? wanted.v4 : wanted.v6;
    if (overlay === undefined) continue;
    for (const finding of [
      ...iptablesFindings(seen, wanted, overlay, bridge),
      ...nftFindings(seen, wanted, overlay, bridge),
    ]) {
      // IPv4 and IPv6, to and fro: one place that drops is one finding.
      if (!findings.has(finding.what)) findings.set(finding.what, finding);
    }
  }
  return [...findings.values()];
}

/** Packets of both directions. `mark`: with the bit that our rules set, if they do. */
function packetsOf(wanted: WantedRules, overlay: Overlay, bridge: string, to?: Prefix): Packet[] {
  const [network, subnet] = [masked(overlay.network), masked(overlay.subnet)];
  const mark = wanted.forward ? wanted.dockerMark : 0;
  return wanted.arriveBy.flatMap((device) => [
    { by: device, out: bridge, from: network, to: to ?? subnet, mark },
    ...(to === undefined ? [{ by: bridge, out: device, from: subnet, to: network, mark: 0 }] : []),
  ]);
}

const IPTABLES_BASES = [
  ['raw', 'PREROUTING'],
  ['mangle', 'PREROUTING'],
  ['mangle', 'FORWARD'],
  ['filter', 'FORWARD'],
] as const;

function* iptablesFindings(
  { iptables }: SeenRules,
  wanted: WantedRules,
  overlay: Overlay,
  bridge: string,
): Generator<SeenDrop> {
  for (const { program, family, saved } of iptables) {
    if (family !== overlay.network.family) continue;
    for (const [name, base] of IPTABLES_BASES) {
      const table = saved.get(name);
      // Nearly always, and with 1,000 networks it is asked a thousand times.
      if (table === undefined || !mayDrop(table, base)) continue;
      const container = containersIn(savedDestinations(table), overlay)[0];
      const packets = [
        ...packetsOf(wanted, overlay, bridge),
        ...(container === undefined ? [] : packetsOf(wanted, overlay, bridge, container)),
      ];
      const drop = firstDrop(packets, (packet) => walkIptables(table, packet), base);
      if (drop === undefined) continue;
      yield {
        ...{ firewall: 'iptables', program, table: name, ...drop },
        what: `${program} drops packets of the overlay: table ${name}, chain ${drop.chain}: ${drop.text}`,
        remedy: wanted.forward
          ? 'take the rule away, or let it except the overlay'
          : 'accept them before that rule, or run flanneld with --iptables-forward-rules=true',
      };
    }
  }
}

function* nftFindings(
  { nftables }: SeenRules,
  wanted: WantedRules,
  overlay: Overlay,
  bridge: string,
): Generator<SeenDrop> {
  const own = overlay.network.family === 4 ? 'ip' : 'ip6';
  for (const { family, name, table } of nftables) {
    if (family !== own && family !== 'inet') continue;
    const container = containersIn(destinationsOf(table), overlay)[0];
    for (const base of table.chains.filter(isInTheWay)) {
      const packets = [
        ...packetsOf(wanted, overlay, bridge),
        ...(container === undefined ? [] : packetsOf(wanted, overlay, bridge, container)),
      ];
      const drop = firstDrop(packets, (packet) => walkNft(table, packet), base.name);
      if (drop === undefined) continue;
      const place = `table ${family} ${name}, chain ${drop.chain}: ${drop.text}`;
      const at = { firewall: 'nftables', program: 'nft', table: name, ...drop } as const;
      yield name === DOCKER_TABLE
        ? {
            ...at,
            what: `Docker drops packets of the overlay: nftables ${place}`,
            remedy: dockerRemedy(wanted),
          }
        : {
            ...at,
            what: `nftables drops packets of the overlay: ${place}`,
            remedy: foreignRemedy(name, wanted, overlay),
          };
    }
  }
}

const isInTheWay = ({ type, hook }: NftChain): boolean =>
  type === 'filter' && (hook === 'prerouting' || hook === 'forward');

function firstDrop(
  packets: readonly Packet[],
  chainsFor: (packet: Packet) => WalkChains,
  base: string,
): Drop | undefined {
  for (const packet of packets) {
    const drop = dropOf(chainsFor(packet), base);
    if (drop !== undefined) return drop;
  }
  return undefined;
}

const containersIn = (addresses: readonly Prefix[], { subnet }: Overlay): Prefix[] =>
  addresses.filter((address) => containsPrefix(masked(subnet), address));

function savedDestinations(table: SavedTable): Prefix[] {
  const rules = table.get('PREROUTING')?.rules ?? [];
  return rules.flatMap(({ options }) =>
    options.flatMap((option) => {
      const prefix = /^-d (.*)$/.exec(option)?.[1];
      const parsed = prefix === undefined ? undefined : parsePrefix(prefix);
      return parsed !== undefined && parsed.length === (parsed.family === 4 ? 32 : 128) ? parsed : [];
    }),
  );
}

function dockerRemedy({ dockerMark, forward }: WantedRules): string {
  if (!forward) return 'run flanneld with --iptables-forward-rules=true';
  if (dockerMark === 0)
    return 'run flanneld with a --docker-fwmark, and dockerd with the options of mk-docker-opts';
  const bit = `0x${dockerMark.toString(16)}`;
  return `write to /etc/docker/daemon.json, and restart Docker: "allow-direct-routing": true, "bridge-accept-fwmark": "${bit}/${bit}"`;
}

function foreignRemedy(table: string, { arriveBy }: WantedRules, { network }: Overlay): string {
  const devices = arriveBy.join(' and ');
  if (table !== 'firewalld') return `let it accept what is forwarded from and to ${devices}`;
  return `let firewalld forward it: firewall-cmd --permanent --zone=trusted --add-source=${formatPrefix(masked(network))}; firewall-cmd --reload`;
}
