import { writeSubnetFile } from '#src/docker/subnet-file.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { InOrder } from '#src/lib/in-order.ts';
import { type Lifetime, untilAborted } from '#src/lib/lifetime.ts';
import type { LoggerSource } from '#src/lib/log.ts';
import { Departures } from '#src/membership/departures.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import { type LeaseChange, LeaseTable } from '#src/network/lease-table.ts';
import type { Dispute } from '#src/network/trust-judge.ts';
import type { NetworkFastPath } from '#src/node/fast-path/network-fast-path.ts';
import { JobDesk, OWN } from '#src/node/jobs/job-desk.ts';
import type { JobHandlers } from '#src/node/jobs/job-handler.ts';
import type { KeyRotation } from '#src/node/key-rotation.ts';
import {
  type IntentOptions,
  leaseRulesOf,
  type NetworkIntent,
  ownObjectsOf,
  type PreviousNetwork,
  scopesOf,
  subnetFileOf,
  wantedRulesOf,
} from '#src/node/network-intent.ts';
import type { FirewallUse, NetworkRules } from '#src/node/network-rules.ts';
import type { NetworkSeal } from '#src/node/network-seal.ts';
import type { NetworkTrust } from '#src/node/network-trust.ts';
import { PeerInbox } from '#src/node/peer-inbox.ts';
import { Peers } from '#src/node/peers.ts';
import type { Owner, OwnerStatus } from '#src/reconcile/owner.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { Step } from '#src/reconcile/rules/firewall.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';

export interface DataPathComponents {
  readonly reconciler: Pick<Reconciler, 'own'>;
  readonly kernel: Pick<Kernel, 'routeTo' | 'apply'>;
  readonly rules: NetworkRules;
  readonly seal: NetworkSeal;
  readonly rotation: Pick<KeyRotation, 'planFor' | 'forget'>;
  readonly jobHandlers: JobHandlers;
  /** Absent where the host has none. */
  readonly fastPath?: NetworkFastPath | undefined;
  readonly files: Files;
  readonly clock: Clock;
  readonly createLogger: LoggerSource;
  readonly events: HostEvents;
  /** Whose leases are used. Default: everybody's. */
  readonly trust?: Pick<NetworkTrust, 'isOn' | 'gateFor' | 'follow'>;
}

export interface DataPathOptions extends IntentOptions {
  /** Names the owner in the reconciler: the network's prefix. */
  readonly name: string;
  readonly subnetFile: string;
  /** Above this many peers, routes take the form whose adding is linear. */
  readonly linearRoutesAbove: number;
  readonly previous: PreviousNetwork;
}

/** One step of {@link DataPath.apply}. */
export interface Applied {
  /** The device is there, and peers may be programmed. */
  readonly device: Promise<void>;
  /** The rules are in force and subnet.env is written: Docker may start. Rejects with what could not be done. */
  readonly done: Promise<void>;
}

/** Hears of peers and of the intent, for what is derived from both. */
export interface PathListener {
  /** These leases were accepted, refused, or went. */
  onPeers(changes: readonly LeaseChange[]): void;
  /** Another intent is in the kernel. */
  onIntent(): void;
}

/**
 * One network in the kernel, the packet filter and Docker's file: whatever changes, an intent is applied, and the
 * difference is made. There is no other way in.
 */
export class DataPath {
  readonly #components: DataPathComponents;
  readonly #options: DataPathOptions;
  readonly #life: Lifetime;
  readonly #owner: Owner;
  readonly #table: LeaseTable;
  readonly #peers: Peers;
  readonly #jobs: JobDesk;
  readonly #order = new InOrder();
  readonly #listeners = new Set<PathListener>();
  readonly #gate: ReturnType<NetworkTrust['gateFor']>;
  readonly inbox: PeerInbox;
  #intent: NetworkIntent;
  #scopes: readonly Scope[];
  #jobsRun = false;

  /** Nothing is done before {@link apply}, but the rules by which leases are judged come from this first intent. */
  constructor(
    components: DataPathComponents,
    intent: NetworkIntent,
    options: DataPathOptions,
    life: Lifetime,
  ) {
    const { reconciler, kernel, clock, createLogger, events, rotation, trust, fastPath } = components;
    this.#components = components;
    this.#options = options;
    this.#life = life;
    this.#intent = intent;
    this.#scopes = scopesOf(intent, this.#options);
    this.#owner = reconciler.own({
      name: options.name,
      scopes: () => this.#scopes,
      explain: (object, error, links) => this.#intent.backend.explain?.(object, error, links),
      events,
    });
    const log = createLogger('overlay');
    this.#table = new LeaseTable(leaseRulesOf(intent), {
      seconds: () => Math.floor(clock.monotonic() / 1_000),
      isGuarded: trust?.isOn ?? false,
    });
    this.#gate = trust?.gateFor(this.#table);
    this.#jobs = new JobDesk({ handlers: components.jobHandlers, clock, log: createLogger('jobs'), events });
    this.#peers = new Peers(
      {
        kernel,
        clock,
        leases: this.#table,
        reconciler: this.#owner,
        jobs: this.#jobs,
        fastPath,
        keysFor: (lease) => rotation.planFor(lease),
        log,
        events,
      },
      intent.backend,
      options,
    );
    this.inbox = new PeerInbox({
      table: this.#table,
      peers: this.#peers,
      departures: new Departures({ log }),
      gate: this.#gate,
      onChanges: (changes) => {
        for (const { kind, name } of changes) if (kind !== 'accepted') rotation.forget(name);
        for (const listener of this.#listeners) listener.onPeers(changes);
      },
      inBulk: (say) => this.#owner.inBulk(say),
      clock,
      log,
      events,
    });
    life.run((signal) => this.inbox.run(signal));
    life.run((signal) => this.#releaseAtTheEnd(signal));
    if (fastPath !== undefined) life.run((signal) => fastPath.run(signal));
    if (trust?.isOn) life.run((signal) => trust.follow(() => this.inbox.judgeAgain(), signal));
  }

  /** Begins with the first apply: to plan is not to run anything. */
  #startJobs(): void {
    if (this.#jobsRun) return;
    this.#jobsRun = true;
    this.#life.run((signal) => this.#jobs.run(signal));
  }

  /** What is in force, or is being put in force. */
  get intent(): NetworkIntent {
    return this.#intent;
  }

  get table(): Pick<
    LeaseTable,
    'accepted' | 'size' | 'entries' | 'lease' | 'leases' | 'quarantined' | 'records' | 'version'
  > {
    return this.#table;
  }

  /** Returns how to stop. */
  observe(listener: PathListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get routeForm(): Peers['routeForm'] {
    return this.#peers.routeForm;
  }

  /** Why packets can't reach peers whose lease is good, by the lease's name. */
  get unreachable(): Peers['unreachable'] {
    return this.#peers.unreachable;
  }

  /** Records of the registry that somebody wrote over good leases, by name: packets go on by the good ones. */
  get disputes(): ReadonlyMap<string, Dispute> {
    return this.#gate?.disputes ?? new Map();
  }

  /** Leases that are left out, by name, with the reason. */
  *leftOut(): Iterable<readonly [name: string, reason: string]> {
    yield* this.#table.quarantined;
    for (const [name, { reason }] of this.disputes)
      yield [name, `${reason}; packets go on to the host that held it before`];
    yield* this.#peers.unreachable;
    for (const [subject, reason] of this.#jobs.failing()) if (subject !== OWN) yield [subject, reason];
  }

  get kernelStatus(): OwnerStatus {
    const { status } = this.#owner;
    const { rules, seal } = this.#components;
    return { ...status, repairs: status.repairs + rules.repairs + seal.repairs };
  }

  get fastPath(): Pick<NetworkFastPath, 'status' | 'pause'> | undefined {
    return this.#components.fastPath;
  }

  /** All peers are known: what belongs to others is removed. */
  allowRemoval(): void {
    this.#owner.allowRemoval();
    this.#components.fastPath?.allowRemoval();
  }

  get rules(): Pick<NetworkRules, 'repairs' | 'failure'> {
    return this.#components.rules;
  }

  get owner(): Pick<Owner, 'status' | 'kinds' | 'stateOf' | 'settled'> {
    return this.#owner;
  }

  /** Takes the host from its present state to what the intent says. Applies run one after the other. */
  apply(intent: NetworkIntent, use: FirewallUse): Applied {
    const device = Promise.withResolvers<void>();
    const done = this.#order.run(async () => {
      try {
        await this.#applyToKernel(intent);
        device.resolve();
      } catch (error) {
        device.reject(error);
        throw error;
      }
      await this.#applyToHost(intent, use);
    });
    done.catch(() => {});
    device.promise.catch(() => {});
    return { device: device.promise, done };
  }

  async #applyToKernel(intent: NetworkIntent): Promise<void> {
    const before = this.#intent;
    // Before there is a device that takes packets.
    await this.#components.seal.use(intent.backend.seal, this.#life.signal);
    this.#intent = intent;
    this.#scopes = scopesOf(intent, this.#options);
    this.#startJobs();
    this.#jobs.set(OWN, intent.backend.jobs?.own(intent.subnets) ?? []);
    // First, because one of them may make a device.
    await this.#jobs.started(this.#life.signal);
    this.#components.fastPath?.use(intent);
    this.#owner.set('own', ownObjectsOf(intent, this.#options));
    if (intent !== before) await this.inbox.use(leaseRulesOf(intent), intent.backend);
    await this.#owner.settled();
    for (const listener of this.#listeners) listener.onIntent();
    await this.removeDevices(before.backend.devices.filter((name) => !intent.backend.devices.includes(name)));
  }

  /** Those of a path that the network has no more: of a config before this one, or of a change that is over. */
  async removeDevices(names: readonly string[]): Promise<void> {
    const { kernel, createLogger } = this.#components;
    const operations = names.map((name): Operation => ({ verb: 'remove', object: { kind: 'link', name } }));
    for (const { operation, done } of await kernel.apply(operations))
      if (done) createLogger('overlay').info(`Removed what the network had before: ${commandOf(operation)}`);
  }

  async #applyToHost(intent: NetworkIntent, use: FirewallUse): Promise<void> {
    const { rules, files, createLogger } = this.#components;
    const { subnetFile, previous } = this.#options;
    await rules.apply(wantedRulesOf(intent, this.#options, previous), use, this.#life.signal);
    if (await writeSubnetFile(files, subnetFile, subnetFileOf(intent, this.#options)))
      createLogger('overlay').info(`Wrote subnet file to ${subnetFile}`);
  }

  /** Nothing of the network's changes the kernel after its end. */
  async #releaseAtTheEnd(signal: AbortSignal): Promise<void> {
    await untilAborted(signal);
    await this.#order.idle();
    await this.#owner.release();
  }

  /** Removes what an earlier run left in firewalls that are not used now. */
  removeLeftovers(signal: AbortSignal): Promise<void> {
    return this.#components.rules.removeLeftovers(signal);
  }

  /** Watches what drops the overlay's packets although the rules are as wanted, until the signal aborts. */
  watchDrops(signal: AbortSignal): void {
    this.#components.rules.watchDrops(signal);
  }

  /** The kernel may lead to the peers another way now. */
  async reroute(): Promise<void> {
    if (this.#intent.backend.needsLookup) await this.inbox.reroute();
  }

  /** What {@link apply} with these peers would change, in order, without changing it. */
  async plan(
    records: readonly RawLease[],
    use: FirewallUse,
    signal: AbortSignal,
  ): Promise<{
    readonly operations: readonly Operation[];
    readonly transactions: readonly Step[];
    /** Programs and commands, as command lines. */
    readonly jobs: readonly string[];
  }> {
    const { rules } = this.#components;
    this.#owner.set('own', ownObjectsOf(this.#intent, this.#options));
    this.#jobs.set(OWN, this.#intent.backend.jobs?.own(this.#intent.subnets) ?? []);
    this.#components.fastPath?.use(this.#intent);
    await this.inbox.snapshot(records);
    return {
      operations: [...(await this.#owner.plan()), ...((await this.#components.fastPath?.plan()) ?? [])],
      jobs: await this.#jobs.plan(),
      transactions: await rules.plan(
        wantedRulesOf(this.#intent, this.#options, this.#options.previous),
        use,
        signal,
      ),
    };
  }

  /** Why the host does not forward as it should, one clause each. */
  troubles(): string[] {
    const { failing, overdue = [] } = this.#owner.status;
    const [first] = failing;
    const { trouble: seal } = this.#components.seal;
    const refused = new Set(failing.map(({ key }) => key));
    const late = overdue.filter(({ key }) => !refused.has(key));
    return [
      ...(first === undefined
        ? []
        : [`${failing.length} kernel objects are not as wanted: ${first.key}: ${first.reason}`]),
      ...(late[0] === undefined
        ? []
        : [
            `${late.length} kernel objects have not been as wanted for more than 10 s: ${late[0].key}; the log says what was tried`,
          ]),
      ...Array.from(this.#jobs.failing()).flatMap(([subject, reason]) => (subject === OWN ? reason : [])),
      ...this.#components.rules.troubles,
      ...(seal === undefined ? [] : [`rules against plain packets: ${seal}`]),
    ];
  }
}
