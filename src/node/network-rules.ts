import { noRules, type WantedRules } from '#src/firewall/rules.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import type { DropsWatched, WatchDrops } from '#src/node/watch-drops.ts';
import { Caretaker } from '#src/reconcile/caretaker.ts';
import type { Firewall, Step } from '#src/reconcile/rules/firewall.ts';
import type { Clock } from '#src/sys/clock.ts';

/** A firewall for the rules of one network under the names of its instance, in iptables or in nftables. */
export type MakeFirewall = (use: FirewallUse) => NetworkFirewall;

/** What a network asks of a firewall. */
export type NetworkFirewall = Pick<
  Firewall,
  'apply' | 'notify' | 'plan' | 'cleanOther' | 'removeAll' | 'programs'
>;

export interface FirewallUse {
  readonly mode: 'auto' | 'nftables';
  /** Distinguishes the rules of several networks on one host; empty for flannel's own names. */
  readonly instance: string;
}

export interface NetworkRulesComponents {
  readonly makeFirewall: MakeFirewall;
  readonly watchDrops: WatchDrops;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: HostEvents;
  /** See FirewallHost.isWriter. */
  readonly isWriter?: ((pid: number | undefined) => boolean) | undefined;
}

/** A reload of the host's firewall is many messages: look when they have come. */
const RULES_SETTLE_MS = 5;
/** While other programs keep changing rules, ours are looked at this often. */
const RULES_PAUSE_MS = 1_000;

/** Keeps the rules of one network in the packet filter of its host. */
export class NetworkRules {
  readonly #components: NetworkRulesComponents;
  readonly #caretaker: Caretaker;
  #firewall: NetworkFirewall | undefined;
  #use: FirewallUse | undefined;
  #wanted: WantedRules | undefined;
  #drops: DropsWatched | undefined;
  #isKept = false;

  constructor(components: NetworkRulesComponents, { intervalMs }: { readonly intervalMs: number }) {
    this.#components = components;
    this.#caretaker = new Caretaker(
      components,
      {
        name: 'firewall rules',
        ensure: async (signal) => (await this.#ensure(signal)).join('; ') || undefined,
      },
      { intervalMs, settleMs: RULES_SETTLE_MS, mostPauseMs: RULES_PAUSE_MS },
    );
  }

  /** Why rules keep the overlay's packets from passing, one clause each. */
  get troubles(): string[] {
    const { failure } = this;
    return [
      ...(failure === undefined ? [] : [`firewall rules: ${failure}`]),
      ...(this.#drops?.troubles ?? []),
    ];
  }

  /** Why the rules are not as wanted; `undefined` when they were at the last look. */
  get failure(): string | undefined {
    return this.#caretaker.failure;
  }

  get repairs(): number {
    return this.#caretaker.repairs;
  }

  /** The rules of the host changed. */
  notice(event: NftablesEvent): void {
    this.#firewall?.notify(event);
    // Of our own processes, each of which knows what it has written.
    if (event.type === 'changed' && this.#components.isWriter?.(event.pid)) return;
    this.#caretaker.poke();
    this.#drops?.poke();
  }

  /** Makes the rules as wanted, and keeps them so until the signal aborts. Rejects when they could not be made. */
  async apply(wanted: WantedRules, use: FirewallUse, signal: AbortSignal): Promise<void> {
    const before = this.#firewall;
    const other = before !== undefined && !isSameUse(this.#use, use);
    this.#wanted = wanted;
    if (before === undefined || other) {
      this.#firewall = this.#components.makeFirewall(use);
      this.#use = use;
    }
    if (this.#isKept) await this.#caretaker.lookNow(signal);
    else await this.#caretaker.start(signal);
    this.#isKept = true;
    this.#drops?.poke();
    // After the new rules are in force, so that there is no moment without any.
    if (other) await this.#removeLeftovers(() => before.removeAll(undefined, signal), signal);
  }

  /**
   * Watches what drops the overlay's packets although our rules are in place, until the signal aborts. It runs programs, so
   * a start calls it when it is over.
   */
  watchDrops(signal: AbortSignal): void {
    if (this.#drops !== undefined) return;
    const { watchDrops, log } = this.#components;
    this.#drops = watchDrops({
      wanted: () => this.#wanted ?? noRules(),
      firewall: { programs: (ended) => this.#inUse.programs(ended) },
      log,
    });
    this.#drops.start(signal);
  }

  get #inUse(): NetworkFirewall {
    this.#firewall ??= this.#components.makeFirewall({ mode: 'auto', instance: '' });
    return this.#firewall;
  }

  /** Removes what an earlier run left in firewalls that are not used now. A failure is a warning. */
  async removeLeftovers(signal: AbortSignal): Promise<void> {
    const [firewall, wanted] = [this.#firewall, this.#wanted];
    if (firewall === undefined || wanted === undefined) return;
    await this.#removeLeftovers(() => firewall.cleanOther(wanted, signal), signal);
  }

  /** What {@link apply} would write, without writing it. */
  plan(wanted: WantedRules, use: FirewallUse, signal: AbortSignal): Promise<Step[]> {
    return this.#components.makeFirewall(use).plan(wanted, signal);
  }

  async #ensure(signal: AbortSignal): Promise<readonly string[]> {
    const [firewall, wanted] = [this.#firewall, this.#wanted];
    return firewall === undefined || wanted === undefined ? [] : firewall.apply(wanted, signal);
  }

  async #removeLeftovers(remove: () => Promise<readonly string[]>, signal: AbortSignal): Promise<void> {
    const { log } = this.#components;
    try {
      const removed = await remove();
      if (removed.length > 0) log.info(`Removed rules of an earlier run: ${removed.join('; ')}`);
    } catch (error) {
      if (signal.aborted) throw error;
      log.warning(`Could not remove the rules of an earlier run: ${messageOf(error)}`);
    }
  }
}

const isSameUse = (a: FirewallUse | undefined, b: FirewallUse): boolean =>
  a?.mode === b.mode && a.instance === b.instance;
