import { publishedKey } from '#src/backend/rotation-keys.ts';
import { messageOf } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Lifetime } from '#src/lib/lifetime.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { Membership } from '#src/membership/membership.ts';
import type { Remembered } from '#src/membership/remembered.ts';
import { withRefusal } from '#src/network/change-member.ts';
import type { ChangePlan } from '#src/network/change-plan.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { announceUnderlay } from '#src/node/announce-underlay.ts';
import { ConfigFollower } from '#src/node/config-follower.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { Draft } from '#src/node/intent-maker.ts';
import { RememberedKeeper } from '#src/node/keep-remembered.ts';
import { LeaseFeed } from '#src/node/lease-feed.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import { rotatedNetwork, routesFound } from '#src/node/network-keys.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { PathChanger } from '#src/node/path-changer.ts';
import { leaseTimes, registryTroubles } from '#src/node/registry-troubles.ts';
import { formatAddresses, type Underlay } from '#src/node/underlay/underlay.ts';
import { UnderlayFollower } from '#src/node/underlay-follower.ts';
import type { HistogramSnapshot } from '#src/observe/histogram.ts';
import type { ChangeStatus } from '#src/observe/node-status.ts';
import type { Registry } from '#src/registry/registry.ts';

const APPLY_AGAIN_MS = 5_000;

/** A network that has its lease, and a device. */
export interface RunningRequest {
  readonly registry: Registry;
  readonly membership: Membership;
  readonly dataPath: DataPath;
  readonly draft: Draft;
  /** The config as the registry has it. */
  readonly text: string;
  /** Why that is the config of an earlier run; absent where the registry has it. */
  readonly missing: string | undefined;
  /** Of an earlier run, while its peers are not in the table. */
  readonly remembered: Remembered | undefined;
}

/**
 * Follows what a network depends on, for as long as it lives: the registry's leases, the underlay, and the config. Each
 * change of the last two makes a new intent, and they are applied one after the other.
 */
export class RunningNetwork {
  readonly #parts: NetworkParts;
  readonly #dataPath: DataPath;
  readonly #startedAt: number;
  readonly #feed: LeaseFeed;
  readonly #follower: UnderlayFollower;
  readonly #config: ConfigFollower;
  readonly #changer: PathChanger;
  readonly #keeper: RememberedKeeper;
  /** Steps that make a new intent. */
  readonly #steps = new InOrder();
  readonly membership: Membership;
  readonly registry: Registry;
  #draft: Draft;
  #rememberedChange: string | undefined;
  /** Why the last intent is not in force; `undefined` when it is. */
  #unapplied: string | undefined;
  /** Resolved while there is one. */
  #isUnapplied = Promise.withResolvers<void>();
  #life: Lifetime | undefined;
  #rotates = false;
  /** The underlay was lost and has not come back. */
  #wasGone = false;

  constructor(parts: NetworkParts, request: RunningRequest) {
    const { registry, membership, dataPath, draft, text, missing, remembered } = request;
    this.#parts = parts;
    this.#startedAt = parts.host.clock.monotonic();
    this.#dataPath = dataPath;
    this.membership = membership;
    this.registry = registry;
    this.#draft = draft;
    const { host, options } = parts;
    this.#feed = new LeaseFeed(
      { membership, dataPath, clock: host.clock },
      { leaseTtl: options.leaseTtl, remembered },
    );
    this.#config = new ConfigFollower(
      parts,
      { registry, text, missing },
      {
        now: () => this.#draft,
        subnets: dataPath.intent.subnets,
        inOrder: (step) => this.#steps.run(step),
        adopt: (next) => this.#adopt(next),
        refuseChange: (plan, why) => this.#refuseChange(plan, why),
      },
    );
    if (dataPath.intent.backend.keyDevices !== undefined) this.#rotateKeys();
    this.#keeper = new RememberedKeeper(parts, {
      membership,
      dataPath,
      configText: () => this.#config.text,
    });
    this.#changer = new PathChanger(parts, {
      dataPath,
      written: () => this.membership.own.record.value,
      inOrder: (step) => this.#steps.run(step),
      again: () => this.#adopt(this.#draft),
    });
    const { kernel, clock, reconciler } = host;
    this.#follower = new UnderlayFollower(
      {
        kernel,
        clock,
        log: parts.createLogger('underlay'),
        events: parts.events,
        observe: (listener) => reconciler.observe(listener),
      },
      {
        selection: draft.selection,
        underlay: draft.underlay,
        subnets: dataPath.intent.subnets,
        onMove: (to) => this.#move(to),
        onGone: () => {
          this.#wasGone = true;
        },
        onSame: async () => {
          reconciler.retry();
          if (this.#wasGone) await this.#comeBack();
          await dataPath.reroute();
        },
      },
    );
  }

  /** See {@link Network.leaseLostAt}. */
  get leaseLostAt(): number | undefined {
    return this.#feed.lostAt;
  }

  get troubles(): string[] {
    const troubles = [this.#follower.trouble, this.membership.trouble, this.#config.trouble, this.#unapplied];
    return [...troubles.filter((trouble) => trouble !== undefined), ...this.#registryTroubles];
  }

  get #registryTroubles(): readonly string[] {
    const { registry, own, remainingMs } = this.membership;
    const { host, options } = this.#parts;
    return registryTroubles({
      state: registry.state,
      reason: registry.reason,
      silentMs: host.clock.monotonic() - (registry.certainAt ?? this.#startedAt),
      lease: { name: own.record.name, remainingMs },
      ...leaseTimes(options),
    });
  }

  /** Starts to follow. Resolves when the peers of the first list are programmed. */
  async start(life: Lifetime): Promise<void> {
    const listed = this.#feed.begin(life);
    life.run((signal) => this.#follower.follow(signal));
    await listed;
    this.#dataPath.allowRemoval();
    await this.#dataPath.owner.settled();
  }

  /**
   * The parts that a start need not wait for: follows the config, and saves the state for a start
   * without the registry.
   */
  goOn(life: Lifetime): void {
    life.run((signal) => this.#config.follow(signal));
    life.run((signal) => this.#changer.run(signal));
    // A start in the middle of a change takes part in it.
    if (this.#draft.config.change !== undefined)
      void this.#steps.run(() => this.#adopt(this.#draft)).catch(() => {});
    life.run((signal) => this.#keeper.run(signal));
    life.run((signal) => this.#applyUntilDone(signal));
    this.#life = life;
    if (this.#dataPath.intent.backend.keyDevices !== undefined) this.#runRotation();
  }

  #rotateKeys(): void {
    this.#parts.rotation.use(
      rotatedNetwork(this.#dataPath, {
        apply: () => this.#redraft(),
        isPublished: (publicKey) => this.#publishedKey === publicKey,
      }),
    );
  }

  /** Once: it outlives changes of the backend. */
  #runRotation(): void {
    if (this.#rotates || this.#life === undefined) return;
    this.#rotates = true;
    this.#life.run((signal) => this.#parts.rotation.run(signal));
  }

  /** A change of the backend may bring keys, or take them away. To be called before the peers are planned with it. */
  async #followKeys({ backend }: NetworkIntent, own: LeaseAttributes): Promise<void> {
    const { rotation, host } = this.#parts;
    if (backend.keyDevices === undefined) rotation.leave();
    else {
      this.#rotateKeys();
      await rotation.settle(own, await routesFound(host));
      this.#runRotation();
    }
  }

  /** What the registry has of our key, as far as we have heard. */
  get #publishedKey(): string | undefined {
    const own = decodeAttributes(this.membership.own.record.value);
    return own.ok ? publishedKey(own.attributes) : undefined;
  }

  /** The node has other keys: devices, rules and lease follow. */
  #redraft(): Promise<void> {
    return this.#steps.run(async () => {
      const { config, underlay } = this.#draft;
      await this.#adopt(await this.#parts.maker.draft(config, { current: underlay }));
    });
  }

  /** See {@link LeaseFeed.putToRoute}. */
  get putToRoute(): HistogramSnapshot {
    return this.#feed.putToRoute;
  }

  /** The underlay is back. Its old connections are dead, and it may be another card. */
  async #comeBack(): Promise<void> {
    this.#wasGone = false;
    this.membership.reconnect();
    await announceUnderlay(this.#parts.host, this.#dataPath.intent.underlay, this.#parts.log);
  }

  /** Another underlay: peers hear of it through the lease, and device and entries follow in place. */
  #move(to: Underlay): Promise<void> {
    return this.#steps.run(async () => {
      const before = this.#dataPath.intent.underlay;
      const draft = await this.#parts.maker.draft(this.#draft.config, { current: to });
      if (formatAddresses(to.address) !== formatAddresses(before.address)) this.membership.reconnect();
      await this.#adopt(draft);
      this.#wasGone = false;
      await announceUnderlay(this.#parts.host, to, this.#parts.log);
    });
  }

  async #adopt(draft: Draft): Promise<void> {
    const { host } = this.#parts;
    const { subnets } = this.#dataPath.intent;
    const taken = this.membership.attributes;
    draft.claim();
    const intent = await this.#changer.inStep(draft.intent(subnets, taken));
    const attributes = draft.attributes(taken);
    const ending = await this.#changer.ending(intent);
    if (ending !== undefined) await this.#apply(ending).catch(() => {});
    const isBegun = draft.config.change !== undefined && draft.config.change.id !== this.#rememberedChange;
    this.#rememberedChange = draft.config.change?.id;
    this.#draft = draft;
    // Should this daemon end before the change does, the next one knows what was made for it.
    if (isBegun) await this.#keeper.write();
    // A second path is announced once it is there.
    const isChange = draft.config.change !== undefined;
    if (!isChange) this.membership.publish(attributes);
    const had = this.#dataPath.intent.backend.keyDevices !== undefined;
    if (had !== (intent.backend.keyDevices !== undefined)) await this.#followKeys(intent, taken);
    host.reconciler.retry();
    try {
      await this.#apply(intent);
      this.#unapplied = undefined;
      this.#isUnapplied = Promise.withResolvers();
      if (isChange) this.membership.publish(this.#changer.announced(intent, attributes));
    } catch (error) {
      const trouble = `the network could not be changed: ${messageOf(error)}`;
      if (trouble !== this.#unapplied) this.#parts.log.error(trouble);
      this.#unapplied = trouble;
      this.#isUnapplied.resolve();
      throw error;
    }
  }

  #apply(intent: NetworkIntent): Promise<void> {
    return this.#dataPath.apply(intent, this.#parts.names.use(intent)).done;
  }

  /** How far a change of the network's path is here; `undefined` while nothing changes. */
  get change(): string | undefined {
    return this.#changer.summary;
  }

  get changeStatus(): ChangeStatus | undefined {
    return this.#changer.status;
  }

  /** The others hear why this host can't take part in a change, or with `undefined` that there is nothing to say. */
  #refuseChange(plan: ChangePlan | undefined, why: string): void {
    const attributes = withRefusal(this.membership.attributes, plan, why);
    if (attributes !== undefined) this.membership.publish(attributes);
  }

  /** Applies again what could not be applied: rules that were refused, a file that could not be written. */
  async #applyUntilDone(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.host;
    for (;;) {
      await orAborted(this.#isUnapplied.promise, signal);
      await clock.sleep(APPLY_AGAIN_MS, signal);
      if (this.#unapplied === undefined) continue;
      await this.#steps
        .run(async () => {
          if (this.#unapplied === undefined) return;
          await this.#adopt(this.#draft);
          this.#parts.log.info('The network is as its config says');
        })
        .catch(() => {});
    }
  }

  /** Writes down what a start without the registry needs. */
  remember(): Promise<void> {
    return this.#keeper.write();
  }
}
