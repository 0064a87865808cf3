import type { PeerFilter } from '#src/diagnose/capture/frame-filter.ts';
import type { CapturePoint } from '#src/diagnose/capture/live-capture.ts';
import { overlayFilter } from '#src/diagnose/capture/overlay-filter.ts';
import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { containsPrefix, type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';
import type { FoundSegments } from '#src/tenant/found-segments.ts';
import { vxlanName } from '#src/tenant/segment-wiring.ts';

/** Where a host's overlay traffic passes, and what it looks like. */
export interface OverlayPlaces {
  /** UDP ports at which hosts take VXLAN packets. */
  readonly ports: readonly number[];
  /** Devices that carry outer packets; none where that is not known. */
  readonly underlays: readonly string[];
  /** The overlay's own devices. */
  readonly inside: readonly CapturePoint[];
  readonly networks: readonly Prefix[];
  readonly peers: readonly KnownPeer[];
  /** Names of networks by VNI. */
  readonly names: ReadonlyMap<number, string>;
}

export interface OverlaySources {
  readonly known: readonly { readonly network: KnownNetwork; readonly name?: string | undefined }[];
  /** Docker's networks on this host. */
  readonly tenants: readonly DriverNetwork[];
  readonly tenantPort: number;
  /** The network namespace of Docker's networks, as a path. */
  readonly tenantNamespace: string;
  /** What was found there. */
  readonly segments?: FoundSegments | undefined;
}

export function overlayPlaces({
  known,
  tenants,
  tenantPort,
  tenantNamespace,
  segments,
}: OverlaySources): OverlayPlaces {
  const networks = known.map(({ network }) => network);
  const devices = networks.flatMap(({ backend, settings: { VNI } }) =>
    (backend?.devices ?? []).map((device) => ({ device, ...(typeof VNI === 'number' && { vni: VNI }) })),
  );
  const used = tenants.filter(({ containers }) => containers.length > 0);
  const ports = networks.flatMap(({ settings }) =>
    typeof settings.Port === 'number' ? [settings.Port] : [],
  );
  const named = known.flatMap(({ network: { settings }, name }): [number, string][] =>
    typeof settings.VNI === 'number' && name !== undefined ? [[settings.VNI, name]] : [],
  );
  // A network that was found twice has its device once.
  const inside = new Map(devices.map((point): [string, CapturePoint] => [point.device, point]));
  return {
    ports: [...new Set([...ports, tenantPort])],
    underlays: [...new Set(networks.flatMap(({ underlay }) => underlay?.name ?? []))],
    inside: [
      ...inside.values(),
      ...used.flatMap(({ vni }) =>
        devicesOf(vni, segments).map((device) => ({ device, namespace: tenantNamespace, vni })),
      ),
    ],
    networks: networks.flatMap((it) => valuesOf<Prefix, Prefix>(it.networks)),
    peers: networks.flatMap(({ peers }) => peers),
    names: new Map([...named, ...tenants.map(({ vni, name }): [number, string] => [vni, name])]),
  };
}

/**
 * Where the frames of one of Docker's networks pass unwrapped. A VXLAN device of all networks does not show which network a
 * frame is of, but the ports of the containers do.
 */
function devicesOf(vni: number, segments: FoundSegments | undefined): readonly string[] {
  const wiring = segments?.wiringOf(vni);
  if (segments === undefined || wiring?.vlan === undefined) return [vxlanName(vni)];
  return segments.devicesIn(wiring).flatMap(({ name }) => (name === wiring.tunnel ? [] : [name]));
}

/** What is captured: the given devices, else those that carry outer packets and, of flannel's networks, the overlay's. */
export function capturePoints(
  places: OverlayPlaces,
  {
    devices,
    inner,
    snapLength,
  }: { readonly devices: readonly string[]; readonly inner: boolean; readonly snapLength: number },
): readonly CapturePoint[] {
  const filter = overlayFilter(places, snapLength);
  if (devices.length > 0) {
    return devices.map((device): CapturePoint => {
      if (device === ANY) return { filter };
      // The overlay's own devices carry nothing else.
      const own = places.inside.find((point) => point.device === device);
      return own ?? { device, ...(places.underlays.includes(device) && { filter }) };
    });
  }
  if (inner) return places.inside;
  const outside: CapturePoint[] = places.underlays.map((device) => ({ device, filter }));
  return outside.length === 0 ? [{ filter }] : [...outside, ...places.inside.filter(isOfHost)];
}

/** `--device any` */
const ANY = 'any';

const isOfHost = ({ namespace }: CapturePoint): boolean => namespace === undefined;

/** A peer by its lease (`10.0.32.0-24`), subnet, public IP or identity; `undefined` for what can be none. */
export function peerFilter({ peers }: OverlayPlaces, text: string): PeerFilter | undefined {
  const ip: Ip | undefined = parseIp(text);
  const [leased] = valuesOf<Prefix, Prefix>(parseSubnetName(text) ?? {});
  const subnet: Prefix | undefined = leased ?? parsePrefix(text);
  const found = peers.find(
    (peer) =>
      peer.attributes.node === text ||
      (ip !== undefined && (peer.publicIp === ip || peer.attributes.publicIpv6 === ip)) ||
      (subnet !== undefined &&
        valuesOf<Prefix, Prefix>(peer.subnets).some((own) => containsPrefix(own, subnet))),
  );
  const publicIp =
    ip ?? (subnet === undefined || found?.subnet.length === subnet.length ? found?.publicIp : undefined);
  const range = subnet ?? found?.subnet;
  if (publicIp === undefined && range === undefined) return undefined;
  return { ...(publicIp !== undefined && { publicIp }), ...(range !== undefined && { subnet: range }) };
}
