import type { FrameFilter } from '#src/diagnose/capture/frame-filter.ts';
import { type OverlayPlaces, peerFilter } from '#src/diagnose/capture/overlay-places.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Ip } from '#src/lib/ip.ts';

/** Filters as a user gives them. */
export interface GivenFilters {
  /** Leases, subnets, public IPs, identities. */
  readonly peer: readonly string[];
  readonly vni: readonly string[];
  /** A network's name; empty for none. */
  readonly network: string;
}

/**
 * `onlyOverlay`: what is not the overlay's is left out. Throws a WeftError `usage` for what can't be read, and for a network
 * that is not known.
 */
export function readFilter(
  { peer, vni, network }: GivenFilters,
  {
    places,
    containers,
    onlyOverlay,
  }: {
    readonly places: OverlayPlaces;
    readonly containers: readonly Ip[];
    readonly onlyOverlay: boolean;
  },
): FrameFilter {
  return {
    containers,
    peers: peer.map((text) => {
      const filter = peerFilter(places, text);
      if (filter !== undefined) return filter;
      throw new WeftError(
        'usage',
        `--peer ${text} is no lease, subnet or address, and no known host's identity`,
      );
    }),
    vnis: [...vni.map(readVni), ...(network === '' ? [] : [vniOf(network, places)])],
    networks: onlyOverlay ? places.networks : [],
  };
}

function readVni(text: string): number {
  if (/^\d+$/.test(text) && Number(text) < 2 ** 24) return Number(text);
  throw new WeftError('usage', `--vni ${text} is no number from 0 to 16777215`);
}

function vniOf(network: string, { names }: OverlayPlaces): number {
  for (const [vni, name] of names) if (name === network) return vni;
  throw new WeftError('usage', `no network ${network} is known on this host`, {
    remedy: `known are ${[...names.values()].join(', ') || 'none'}; --vni takes its number`,
  });
}
