import type {
  Backend,
  Inbound,
  PeerPath,
  PortSeal,
  Protection,
  Published,
  SharedSettings,
  TunnelEnd,
} from '#src/backend/backend.ts';
import type { KeyRole } from '#src/backend/key-pairs.ts';
import { otherSide, PathSides, type Side, sideOfLeases } from '#src/backend/path-sides.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { formatIp, type Ip, type Prefix4, type Prefix6, prefixOf } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import { CHANGE_IN_LEASE, writeChangeMember } from '#src/network/change-member.ts';
import type { ChangePlan } from '#src/network/change-plan.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { type KernelObject, keyOf, type Link, type Route } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

/** How far this node is with a change. Another value is another step of it. */
export interface ChangeStep {
  /** The second path is in the kernel, and the lease says so. */
  readonly isAnnounced: boolean;
  /** Peers whose packets go by the new path, by their leases' names; `all`: those that have it. */
  readonly moved: ReadonlySet<string> | 'all';
  /**
   * Peers to whose own address in the overlay packets take the new path, so that it can be tried: those of containers do not.
   */
  readonly tried: ReadonlySet<string>;
  readonly done: number;
  readonly of: number;
  readonly waits: Readonly<Record<string, string>>;
  readonly trouble?: string;
  /**
   * `rp_filter` of devices, by name. With 2 a device takes packets whose answers would leave by another one, which is what
   * happens while one end has moved and the other has not (ip-sysctl.rst: the larger of this and that of `all` counts).
   */
  readonly reversePath: ReadonlyMap<string, string>;
  /** The same as it was before, of devices that were there before it. The lease remembers it for a restart. */
  readonly reversePathBefore: Readonly<Record<string, string>>;
}

/** The step of a node that has done nothing yet. Peers of a change that is nearly over have been tried by others. */
export const firstStep = (
  plan: Pick<ChangePlan, 'phase'>,
  { isAnnounced = false, reversePathBefore = {} }: Partial<ChangeStep> = {},
): ChangeStep => ({
  isAnnounced,
  moved: plan.phase === 'settling' ? 'all' : NOBODY,
  tried: NOBODY,
  done: 0,
  of: 0,
  waits: {},
  reversePath: new Map(),
  reversePathBefore,
});

const NOBODY: ReadonlySet<string> = new Set();

/** What a lease says of its host's part in the change. */
export interface PeerSight {
  /** Another text whenever what it says of the new path is another thing; `undefined` when it says nothing that can be used. */
  readonly toKey: string | undefined;
  readonly speaks: Side;
}

/**
 * The two paths of a network that changes from one backend to another, as one backend. Devices, entries and neighbours of both
 * are there; the route to a peer is on one of them. So each step of a change is another value of this, applied as any other.
 */
export class ChangingBackend implements Backend {
  readonly plan: ChangePlan;
  readonly sides: Readonly<Record<Side, Backend>>;
  readonly step: ChangeStep;
  readonly type: string;
  readonly devices: readonly string[];
  readonly mtu: number;
  readonly needsLookup: boolean;
  readonly published: Published;
  readonly shared: SharedSettings;
  readonly inbound: Inbound;
  readonly scopes: readonly Scope[];
  readonly probing: Probing | undefined;
  readonly seal?: PortSeal;
  readonly protectionOf?: (lease: Lease) => Protection;
  /** Of the old path: a rotation that is under way when the change begins goes on. */
  readonly keyDevices?: (role: KeyRole) => readonly string[];
  readonly #own: Side;
  /** The sides differ in routes alone: see `routeOptions` of PreparedBackend. */
  readonly #hasOneDevice: boolean;
  readonly #views: PathSides;

  constructor(plan: ChangePlan, sides: Readonly<Record<Side, Backend>>, step: ChangeStep) {
    const { from, to } = sides;
    this.plan = plan;
    this.sides = sides;
    this.step = step;
    this.#own = sideOfLeases(plan);
    this.#views = new PathSides(plan, sides);
    const own = sides[this.#own];
    this.type = own.type;
    this.devices = [...new Set([...from.devices, ...to.devices])];
    // What containers get may not be too large for the path that they are moved to.
    this.mtu = this.#own === 'to' ? to.mtu : Math.min(from.mtu, to.mtu);
    this.needsLookup = from.needsLookup || to.needsLookup;
    const weft = { ...own.published.weft, [CHANGE_IN_LEASE]: this.#member() };
    this.published = { ...own.published, weft };
    this.shared = own.shared;
    this.inbound = {
      devices: [...new Set([...from.inbound.devices, ...to.inbound.devices])],
      toCome: [...(from.inbound.toCome ?? []), ...(to.inbound.toCome ?? [])],
      underlay: from.inbound.underlay || to.inbound.underlay,
      others: from.inbound.others === true || to.inbound.others === true,
    };
    // Port and VNI of the other path differ: its plain packets pass.
    const seal = [from, to].find((side) => side.seal?.isClosed)?.seal ?? own.seal;
    if (seal !== undefined) this.seal = seal;
    this.#hasOneDevice = from.devices.some((device) => to.devices.includes(device));
    this.scopes = this.#hasOneDevice ? to.scopes : [...from.scopes, ...to.scopes];
    this.probing = own.probing;
    const { keyDevices } = from;
    if (keyDevices !== undefined) this.keyDevices = (role) => keyDevices.call(from, role);
    if ((from.protectionOf ?? to.protectionOf) !== undefined)
      this.protectionOf = (lease) =>
        this.#onPath(lease, (backend, seen) => backend.protectionOf?.(seen)) ?? 'none';
  }

  /** The same with another step. */
  at(step: ChangeStep): ChangingBackend {
    return new ChangingBackend(this.plan, this.sides, step);
  }

  #member() {
    const { isAnnounced, done, of, waits, trouble, reversePathBefore: reversePath } = this.step;
    const { id, phase } = this.plan;
    return writeChangeMember({
      id,
      phase,
      ...(isAnnounced && { other: this.sides[otherSide(this.#own)].published }),
      done,
      of,
      waits,
      ...(trouble !== undefined && { trouble }),
      reversePath,
    });
  }

  ownObjects(subnets: PerFamily<Prefix4, Prefix6>): readonly KernelObject[] {
    const { from, to } = this.sides;
    const objects = [...from.ownObjects(subnets), ...(this.#hasOneDevice ? [] : to.ownObjects(subnets))];
    // Devices of keys that rotate have theirs in any case.
    const settings = new Set(objects.flatMap((object) => (object.kind === 'sysctl' ? object.path : [])));
    const filters = Array.from(this.step.reversePath).flatMap(([device, value]): KernelObject[] => {
      const path = `net/ipv4/conf/${device}/rp_filter`;
      const isMoot = settings.has(path) || this.inbound.toCome?.includes(device) === true;
      return isMoot ? [] : [{ kind: 'sysctl', path, value }];
    });
    return [...objects, ...filters];
  }

  peerObjects(lease: Lease, path: PeerPath): readonly KernelObject[] {
    const { name } = lease;
    const all = { from: this.#objectsOn('from', lease, path), to: this.#objectsOn('to', lease, path) };
    const chosen = this.#sideOf(name);
    // A peer that has one path only has no choice.
    const used = all[chosen].some(isRoute) ? chosen : otherSide(chosen);
    const isSaid = (object: KernelObject): boolean =>
      this.#hasOneDevice && all[used].some((other) => keyOf(other) === keyOf(object));
    const unused = all[otherSide(used)].filter((object) => !isRoute(object) && !isSaid(object));
    const isTried = this.step.tried.has(name) && used === 'from';
    // In a network of both families paths are tried over IPv4: IPv6 stays as it is.
    const isTried6 = isTried && lease.subnets.v4 === undefined;
    const gateways = gatewayRoutes(isTried6 ? all.to : all[used]);
    const trials = isTried ? trialRoutes(all.to, isTried6 ? 6 : 4) : [];
    return [...gateways, ...all[used], ...unused, ...trials];
  }

  #objectsOn(side: Side, lease: Lease, path: PeerPath): readonly KernelObject[] {
    const attributes = this.#judged(lease.attributes, side);
    return attributes === undefined ? [] : this.sides[side].peerObjects({ ...lease, attributes }, path);
  }

  #sideOf(name: string): Side {
    const { moved } = this.step;
    return moved === 'all' || moved.has(name) ? 'to' : 'from';
  }

  /** What a peer published of a path, where it can be used. */
  #judged(attributes: LeaseAttributes, side: Side): LeaseAttributes | undefined {
    const view = this.#views.viewOf(attributes, side);
    return view !== undefined && this.sides[side].judge(view) === undefined ? view : undefined;
  }

  /** What the peer has to do with the change. */
  sightOf({ attributes }: Pick<Lease, 'attributes'>): PeerSight {
    const view = this.#judged(attributes, 'to');
    const { publicIp, publicIpv6, backendData, backendV6Data } = view ?? {};
    const addresses = [publicIp, publicIpv6].map((ip) => ip !== undefined && formatIp(ip));
    const key = JSON.stringify([addresses, backendData, backendV6Data]);
    return {
      toKey: view && key,
      speaks: this.#views.spokenBy(attributes),
    };
  }

  judge(attributes: LeaseAttributes): string | undefined {
    for (const side of [this.#own, otherSide(this.#own)])
      if (this.#judged(attributes, side) !== undefined) return undefined;
    return this.sides[this.#views.spokenBy(attributes)].judge(attributes);
  }

  /** On both paths: a peer may be moved at any time. */
  identityOf(attributes: LeaseAttributes): readonly string[] {
    const keys = (['from', 'to'] as const).flatMap((side) => {
      const view = this.#judged(attributes, side);
      return view === undefined ? [] : (this.sides[side].identityOf?.(view) ?? []);
    });
    return [...new Set(keys)];
  }

  tunnelEnd(lease: Lease): TunnelEnd | undefined {
    return this.#onPath(lease, (backend, seen) => backend.tunnelEnd?.(seen));
  }

  /** Where the peer answers inside, whichever path packets to it take: a path with a device gives it this address. */
  insideOf({ subnets }: Pick<Lease, 'subnets'>): Ip | undefined {
    return this.devices.length === 0 ? undefined : (subnets.v4 ?? subnets.v6)?.address;
  }

  /** The route to the peer's subnet as it will be on the new path. */
  routeByNewPath(lease: Lease, path: PeerPath): Route | undefined {
    return this.#objectsOn('to', lease, path).find(isRoute);
  }

  /** Why packets could not reach the peer by the new path. */
  whyNotByNewPath(lease: Lease, path: PeerPath): string | undefined {
    const attributes = this.#judged(lease.attributes, 'to');
    return attributes && this.sides.to.unreachable?.({ ...lease, attributes }, path);
  }

  unreachable(lease: Lease, path: PeerPath): string | undefined {
    // As long as one path leads there, packets take it.
    if (this.peerObjects(lease, path).some(isRoute)) return undefined;
    return this.#onPath(lease, (backend, seen) => backend.unreachable?.(seen, path));
  }

  #onPath<T>(lease: Lease, ask: (backend: Backend, lease: Lease) => T | undefined): T | undefined {
    const chosen = this.#sideOf(lease.name);
    for (const side of [chosen, otherSide(chosen)]) {
      const attributes = this.#judged(lease.attributes, side);
      if (attributes !== undefined) return ask(this.sides[side], { ...lease, attributes });
    }
    return undefined;
  }

  explain(object: KernelObject, error: KernelError, links: readonly Link[]): string | undefined {
    const { from, to } = this.sides;
    return from.explain?.(object, error, links) ?? to.explain?.(object, error, links);
  }
}

const isRoute = (object: KernelObject): object is Route => object.kind === 'route';

/**
 * The routes to the peers' subnets, narrowed to the first address of each: the peer's own in the overlay. Of IPv6 to the first two,
 * because the peer's bridge may have to answer. A tunnel over IPv6 has a route to the first one already, that of its gateway.
 */
const trialRoutes = (objects: readonly KernelObject[], family: 4 | 6): Route[] =>
  objects
    .filter(isRoute)
    .filter((route) => route.destination.family === family && !needsGatewayRoute(route))
    .map((route) => {
      return { ...route, destination: prefixOf(route.destination.address, family === 4 ? 32 : 127) };
    });

/**
 * Of IPv6, the kernel takes a gateway for one of the device only while no route leads to it by another device, as that of the
 * other path does (ip6_route_check_nh_onlink, net/ipv6/route.c). So gateways have routes of their own, as long as there are two
 * paths: `ip -6 route replace GATEWAY dev DEVICE`.
 */
const gatewayRoutes = (objects: readonly KernelObject[]): Route[] =>
  objects.filter(isRoute).flatMap((route) => {
    const { via } = route;
    if (via === undefined || !needsGatewayRoute(route)) return [];
    const { via: _, ...direct } = route;
    return [{ ...direct, destination: prefixOf(via, 128), onlink: false, metric: 0 }];
  });

const needsGatewayRoute = ({ destination, via, onlink }: Route): boolean =>
  destination.family === 6 && via !== undefined && onlink;
