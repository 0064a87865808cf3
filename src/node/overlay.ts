import type { Backend } from '#src/backend/backend.ts';
import { writeSubnetFile } from '#src/docker/subnet-file.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import { messageOf } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Prefix4 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { Departures } from '#src/membership/departures.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import { type LeaseChange, LeaseTable } from '#src/network/lease-table.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import { Peers } from '#src/node/peers.ts';
import type { Underlay } from '#src/node/underlay.ts';
import { type DropsWatched, type WatchDropsComponents, watchDrops } from '#src/node/watch-drops.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { Caretaker } from '#src/reconcile/caretaker.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { Firewall } from '#src/reconcile/rules/firewall.ts';
import { type Sysctl, Sysctls } from '#src/reconcile/sysctls.ts';
import type { WatchEvent } from '#src/registry/registry.ts';
import { type KernelObject, RTPROT_WEFT } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface OverlayComponents extends WatchDropsComponents {
  readonly kernel: Kernel;
  /** Calls back for every change of the host's nftables rules, iptables-nft's among them. */
  readonly watchRules: (listener: (event: NftablesEvent) => void, signal: AbortSignal) => Promise<void>;
  readonly firewall: Firewall;
  readonly files: Files;
  readonly clock: Clock;
  readonly createLogger: (component: string) => Logger;
}

export interface OverlayOptions {
  readonly subnetFile: string;
  readonly ipMasq: boolean;
  readonly forwardRules: boolean;
  readonly randomFully: boolean;
  /** The bit by which Docker knows the overlay's packets; 0 for none. */
  readonly dockerMark: number;
  readonly blackhole: boolean;
  /** Milliseconds between looks at the rules that no event asked for: iptables-legacy tells nobody of a change. */
  readonly ruleCheckMs: number;
  readonly fullCheckMs: number;
  readonly fullCheckShare: number;
  readonly linearRoutesAbove: number;
}

/** One network on this host: what it is, and which part of it is ours. */
export interface OverlayPlace {
  readonly config: NetworkConfig;
  readonly subnet: Prefix4;
  readonly underlay: Underlay;
  readonly backend: Backend;
  /** What subnet.env said before: rules for it are taken away. */
  readonly previous: { readonly network?: Prefix4; readonly subnet?: Prefix4 };
}

/**
 * One overlay network on this host, from leases to kernel: what is wanted is said here, and everything that keeps it
 * so is started and read here.
 */
export class Overlay {
  readonly #components: OverlayComponents;
  readonly #options: OverlayOptions;
  readonly #log: Logger;
  readonly #reconciler: Reconciler;
  readonly #owner: Owner;
  readonly #table: LeaseTable;
  readonly #peers: Peers;
  readonly #rules: Caretaker;
  readonly #sysctls: Caretaker;
  readonly #drops: DropsWatched;
  readonly #departures: Departures;
  #isSetUp: Promise<void> = Promise.resolve();
  #place: OverlayPlace;
  #scopes: readonly Scope[];

  constructor(components: OverlayComponents, place: OverlayPlace, options: OverlayOptions) {
    this.#components = components;
    this.#options = options;
    this.#place = place;
    const { kernel, clock, createLogger, firewall, files } = components;
    this.#log = createLogger('overlay');
    this.#reconciler = new Reconciler(
      { actuators: [kernel], clock, log: createLogger('reconciler') },
      { fullCheckMs: options.fullCheckMs, fullCheckShare: options.fullCheckShare },
    );
    this.#scopes = scopesOf(place);
    this.#owner = this.#reconciler.own({
      name: 'the network',
      scopes: () => this.#scopes,
      explain: (object, error, links) => this.#place.backend.explain(object, error, links),
    });
    this.#table = new LeaseTable(this.#leaseRules());
    this.#peers = new Peers(
      { kernel, clock, leases: this.#table, reconciler: this.#owner, log: this.#log },
      place.backend,
      options,
    );
    this.#departures = new Departures({ log: this.#log });
    this.#rules = new Caretaker(
      { clock, log: createLogger('firewall') },
      {
        name: 'firewall rules',
        ensure: async (signal) => (await firewall.apply(this.#wantedRules(), signal)).join('; ') || undefined,
      },
      {
        intervalMs: options.ruleCheckMs,
        settleMs: RULES_SETTLE_MS,
        mostPauseMs: RULES_PAUSE_MS,
      },
    );
    this.#drops = watchDrops(components, () => this.#wantedRules());
    this.#sysctls = new Caretaker(
      { clock, log: createLogger('sysctls') },
      new Sysctls({ files }, this.#wantedSysctls()),
      {
        intervalMs: SYSCTL_CHECK_MS,
        settleMs: 0,
      },
    );
  }

  get place(): OverlayPlace {
    return this.#place;
  }

  get table(): LeaseTable {
    return this.#table;
  }

  get reconciler(): Reconciler {
    return this.#reconciler;
  }

  get owner(): Owner {
    return this.#owner;
  }

  /** Peers that are left out, by the lease's name, with the reason. */
  *leftOut(): Iterable<readonly [name: string, reason: string]> {
    yield* this.#table.quarantined;
    yield* this.#peers.unreachable;
  }

  get description(): NonNullable<NodeStatus['network']> {
    const { config, subnet, backend, underlay } = this.#place;
    return {
      network: formatPrefix(config.network),
      subnet: formatPrefix(subnet),
      backend: backend.type,
      underlay: `${underlay.name} (${formatIp(underlay.address)})`,
      publicIp: formatIp(underlay.publicIp),
      mtu: backend.mtu,
      routes: this.#peers.routeForm,
    };
  }

  get kernelStatus(): NodeStatus['kernel'] {
    const status = this.#owner.status;
    return { ...status, repairs: status.repairs + this.#rules.repairs + this.#sysctls.repairs };
  }

  /**
   * Takes the host from whatever it is in to what is wanted of it, and keeps it so until the signal aborts. When this is
   * done there is a device, and peers may be told; {@link isSetUp} tells when the rest is done, too.
   */
  async start(signal: AbortSignal): Promise<void> {
    this.#sayOwn();
    void this.#letGo(signal);
    await this.#reconciler.start(signal);
    this.#reconciler.observe((event) => {
      if (event.type === 'netconf') this.#sysctls.poke();
      // A device that is made anew has its settings anew.
      if (event.type !== 'netconf' && event.type !== 'overrun' && event.object.kind === 'link')
        this.#sysctls.poke();
    });
    this.#isSetUp = this.#setUp(signal);
    this.#isSetUp.catch(() => {});
  }

  /** Docker may start when this is done: the rules are in force and subnet.env is written. Rejects with what could not be. */
  get isSetUp(): Promise<void> {
    return this.#isSetUp;
  }

  async #setUp(signal: AbortSignal): Promise<void> {
    const { firewall, watchRules } = this.#components;
    await watchRules((event) => {
      firewall.tell(event);
      this.#rules.poke();
      this.#drops.caretaker.poke();
    }, signal);
    // A sandbox may keep /proc/sys from us where somebody else sets it.
    await Promise.all([this.#rules.start(signal), this.#sysctls.start(signal, { tolerated: true })]);
    this.#drops.start(signal);
    const { config, subnet, backend } = this.#place;
    const { subnetFile, ipMasq } = this.#options;
    await writeSubnetFile(this.#components.files, subnetFile, {
      network: config.network,
      subnet,
      mtu: backend.mtu,
      ipMasq,
    });
    this.#log.info(`Wrote subnet file to ${subnetFile}`);
  }

  /** Takes away what an earlier run left in firewalls that are not used now. Nobody need wait for it, or fail with it. */
  async removeLeftovers(signal: AbortSignal): Promise<void> {
    try {
      const removed = await this.#components.firewall.cleanOther(this.#wantedRules(), signal);
      if (removed.length > 0) this.#log.info(`Removed rules of an earlier run: ${removed.join('; ')}`);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#log.warning(`Could not remove the rules of an earlier run: ${messageOf(error)}`);
    }
  }

  /** What a start would change, without changing it: operations on the kernel, and the firewall's transactions. */
  async plan(
    signal: AbortSignal,
  ): Promise<{ operations: Operation[]; transactions: Awaited<ReturnType<Firewall['plan']>> }> {
    this.#sayOwn();
    return {
      operations: await this.#owner.plan(),
      transactions: await this.#components.firewall.plan(this.#wantedRules(), signal),
    };
  }

  /**
   * All leases there are. Who was known and is not among them stays for a while: a store that was emptied is filled again
   * by those who live, and until then packets go on. What the kernel holds of others goes at once.
   */
  async replacePeers(records: readonly RawLease[]): Promise<void> {
    const missing = this.#table.size === 0 ? [] : this.#missingIn(records);
    const { clock } = this.#components;
    this.#departures.missing(
      missing.map(({ name }) => name),
      clock.monotonic(),
    );
    const all = missing.length === 0 ? records : [...records, ...missing];
    const replace = () => this.#followEach(this.#table.replaceAll(all), records.length);
    const many = records.length - this.#table.accepted > MANY_PEERS;
    await (many ? this.#owner.inBulk(replace) : replace());
  }

  #missingIn(records: readonly RawLease[]): RawLease[] {
    const names = new Set(records.map(({ name }) => name));
    return [...this.#table.records()].filter(({ name }) => !names.has(name));
  }

  /** Events in order. A peer whose lease was removed stays for a moment: one that lives claims it again. */
  async changePeers(events: readonly WatchEvent[]): Promise<void> {
    // The last word on each name counts: a lease that was removed and claimed again in one burst is there.
    const last = new Map(
      events.map((event) => [event.type === 'put' ? event.record.name : event.name, event]),
    );
    const changes: LeaseChange[] = [];
    const removed: string[] = [];
    for (const [name, event] of last) {
      if (event.type === 'removed') {
        removed.push(name);
        continue;
      }
      this.#departures.cancel(name);
      changes.push(...this.#table.put(event.record));
    }
    this.#departures.removed(removed, this.#components.clock.monotonic());
    await this.#follow(changes);
  }

  async #letGo(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    while (!signal.aborted) {
      await clock.sleep(DEPARTURES_LOOK_MS, signal).catch(() => {});
      await this.#follow(this.#departures.due(clock.monotonic()).flatMap((name) => this.#table.remove(name)));
    }
  }

  /** Another address of the underlay, in place: the device is made again, the peers' entries follow. */
  async moveTo(underlay: Underlay, backend: Backend): Promise<void> {
    this.#place = { ...this.#place, underlay, backend };
    this.#scopes = scopesOf(this.#place);
    this.#sayOwn();
    await this.#followEach(this.#table.useRules(this.#leaseRules()));
    await this.#peers.use(backend);
    await this.#owner.settled();
  }

  /** The kernel may lead to peers another way now (DirectRouting). */
  async reroute(): Promise<void> {
    if (this.#place.backend.needsLookup) await this.#peers.planAll();
  }

  /** Why the host does not forward as it should, one clause each. */
  troubles(): string[] {
    const { failing } = this.#owner.status;
    const [first] = failing;
    return [
      ...(first === undefined
        ? []
        : [`${failing.length} kernel objects are not as wanted: ${first.key}: ${first.reason}`]),
      ...(this.#rules.failure === undefined ? [] : [`firewall rules: ${this.#rules.failure}`]),
      ...(this.#sysctls.failure === undefined ? [] : [`sysctls: ${this.#sysctls.failure}`]),
      ...this.#drops.watch.troubles,
    ];
  }

  async #followEach(slices: Iterable<LeaseChange[]>, expected?: number): Promise<void> {
    const budget = new TurnBudget(this.#components.clock);
    for (const changes of slices) {
      await this.#follow(changes, expected);
      await budget.turn();
    }
  }

  async #follow(changes: readonly LeaseChange[], expected?: number): Promise<void> {
    for (const change of changes) {
      if (change.kind === 'quarantined') {
        this.#log.warning(`Ignoring the lease ${change.name.slice(0, 100)}: ${change.reason}`, {
          lease: change.name,
        });
      } else {
        this.#log.verbose(1, `Lease ${change.name} ${change.kind}`);
      }
    }
    await this.#peers.apply(changes, expected);
  }

  #sayOwn(): void {
    const { backend, subnet } = this.#place;
    this.#owner.set('own', [...backend.ownObjects({ v4: subnet }), ...this.#blackhole()]);
  }

  /** Packets to containers of ours that are gone stay here. Least preferred of all: the bridge's own route comes first. */
  #blackhole(): KernelObject[] {
    if (!this.#options.blackhole) return [];
    const { subnet } = this.#place;
    return [
      {
        kind: 'route',
        destination: subnet,
        type: 'blackhole',
        onlink: false,
        metric: LAST_METRIC,
        protocol: RTPROT_WEFT,
        scope: 0,
      },
    ];
  }

  #leaseRules(): LeaseRules {
    const { config, subnet, underlay, backend } = this.#place;
    return {
      network: config.network,
      subnetLength: config.subnetLength,
      ownName: formatSubnetName({ v4: subnet }),
      ownSubnet: subnet,
      ownPublicIp: underlay.publicIp,
      underlay: underlay.prefixes,
      judge: (attributes) => backend.judge(attributes),
      identityOf: (attributes) => backend.identityOf(attributes),
    };
  }

  #wantedRules(): WantedRules {
    const { config, subnet, previous, backend, underlay } = this.#place;
    const { ipMasq, forwardRules, randomFully, dockerMark } = this.#options;
    return {
      v4: { network: config.network, subnet },
      masquerade: ipMasq,
      forward: forwardRules,
      randomFully,
      // With DirectRouting peers' packets arrive by the underlay as well, without an outer packet.
      arriveBy: backend.needsLookup ? [...backend.devices, underlay.name] : backend.devices,
      dockerMark,
      ...(previous.network !== undefined &&
        previous.subnet !== undefined && {
          previous: { v4: { network: previous.network, subnet: previous.subnet } },
        }),
    };
  }

  #forwardingDevices(): readonly string[] {
    const { backend, underlay } = this.#place;
    const { devices, underlay: byUnderlay } = backend.inbound;
    return byUnderlay ? [...devices, underlay.name] : devices;
  }

  /** Switching off the host's forwarding switches off every device's. Docker does the same at its start. */
  #wantedSysctls(): Sysctl[] {
    return [
      { path: 'net/ipv4/ip_forward', value: '1' },
      ...this.#forwardingDevices().map((device) => ({
        path: `net/ipv4/conf/${device}/forwarding`,
        value: '1',
      })),
    ];
  }
}

/** The backend's scopes, the underlay's device, and the blackhole, which is on no device. */
function scopesOf({ backend, underlay }: OverlayPlace): Scope[] {
  return [
    ...backend.scopes,
    { kinds: ['link'], filter: { device: underlay.name }, owns: () => false },
    { kinds: ['route'], filter: { protocol: RTPROT_WEFT }, owns: () => false },
  ];
}

/** A reload of the host's firewall is many messages: look when they have come. */
const RULES_SETTLE_MS = 5;
const DEPARTURES_LOOK_MS = 250;
/** While other programs keep changing rules, ours are looked at this often. */
const RULES_PAUSE_MS = 1_000;
/** Peers that come at once. */
const MANY_PEERS = 1_000;
const SYSCTL_CHECK_MS = 10_000;
const LAST_METRIC = 0xffff_ffff;
