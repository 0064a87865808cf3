import type { NetworkIntent } from '#src/node/network-intent.ts';
import type { FirewallUse } from '#src/node/network-rules.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';

/** Held by the network of a host that has flannel's own names in the packet filter. */
const DEFAULT_NAMES_LOCK = 'weft-default-names';

/**
 * The names of one network's chains and tables. The first network of a host has flannel's own; a second flanneld, and
 * every network with a name, has its backend's number behind them. A network keeps its names across restarts.
 */
export class FirewallNames {
  readonly #locks: HostLocks;
  readonly #isNamed: boolean;
  #instance: string | undefined;
  #unlock: (() => Promise<void>) | undefined;

  constructor({ locks }: { readonly locks: HostLocks }, { isNamed }: { readonly isNamed: boolean }) {
    this.#locks = locks;
    this.#isNamed = isNamed;
  }

  /** What is behind flannel's names; `undefined` before {@link choose}. */
  get instance(): string | undefined {
    return this.#instance;
  }

  /** `own`: the backend's number. `remembered`: what the last run had. Chosen once, until {@link release}. */
  async choose(own: string, remembered: string | undefined): Promise<void> {
    if (this.#instance !== undefined) return;
    const mayBeDefault = !this.#isNamed && (remembered === undefined || remembered === '');
    this.#unlock = mayBeDefault ? await this.#locks.claim(DEFAULT_NAMES_LOCK) : undefined;
    this.#instance = this.#unlock === undefined ? own : '';
  }

  /** What the last run had, or what a start would choose: for a plan, which must not take what a running flanneld has. */
  async foresee(own: string, remembered: string | undefined): Promise<void> {
    if (remembered === '' && !this.#isNamed) this.#instance = '';
    else await this.choose(own, remembered);
  }

  /** What the rules of the intent need. */
  use({ config }: NetworkIntent): FirewallUse {
    return { mode: config.nftables ? 'nftables' : 'auto', instance: this.#instance ?? '' };
  }

  async release(): Promise<void> {
    const unlock = this.#unlock;
    this.#unlock = undefined;
    this.#instance = undefined;
    await unlock?.();
  }
}
