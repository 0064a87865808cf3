import { messageOf } from '#src/lib/errors.ts';
import type { NotedEvent } from '#src/lib/host-events.ts';
import type { ChangePlan } from '#src/network/change-plan.ts';
import type { Subnets } from '#src/network/lease.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { type ConfigChange, judgeConfigChange, judgeFamilies } from '#src/node/config-change.ts';
import type { Draft } from '#src/node/intent-maker.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { followConfig } from '#src/registry/follow-config.ts';
import type { Registry } from '#src/registry/registry.ts';

export interface FollowedConfig {
  readonly registry: Registry;
  /** The text in force. */
  readonly text: string;
  /** Why that is the text of an earlier run; absent where the registry has it. */
  readonly missing: string | undefined;
}

/** The network whose config it is. */
export interface ConfiguredNetwork {
  /** What is in force. */
  readonly now: () => Draft;
  readonly subnets: Subnets;
  /** Runs a step that may change the network; such steps run one after the other. */
  readonly inOrder: (step: () => Promise<void>) => Promise<void>;
  /** Puts another draft in force. After a rejection the network tries again. */
  readonly adopt: (next: Draft) => Promise<void>;
  /** Others hear why this host can't take part in a change; with `undefined`, that there is none it can't take part in. */
  readonly refuseChange: (plan: ChangePlan | undefined, why: string) => void;
}

/**
 * Follows the config of one network in the registry. A change that is possible in place is made.
 * Any other is a trouble that names the field, and the network stays as it was.
 */
export class ConfigFollower {
  readonly #parts: NetworkParts;
  readonly #registry: Registry;
  readonly #network: ConfiguredNetwork;
  #text: string;
  #trouble: string | undefined;

  constructor(parts: NetworkParts, { registry, text, missing }: FollowedConfig, network: ConfiguredNetwork) {
    this.#parts = parts;
    this.#registry = registry;
    this.#network = network;
    this.#text = text;
    this.#trouble = missing;
  }

  /** The text in force. */
  get text(): string {
    return this.#text;
  }

  /** Why the network is not as the registry says; `undefined` when it is. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Follows until the signal aborts, and rejects with its reason. */
  follow(signal: AbortSignal): Promise<never> {
    const { host, log } = this.#parts;
    return followConfig(
      { registry: this.#registry, clock: host.clock, random: host.random, log },
      {
        text: this.#trouble === undefined ? this.#text : undefined,
        onText: (text) => this.#network.inOrder(() => this.#take(text)),
      },
      signal,
    );
  }

  async #take(text: string | undefined): Promise<void> {
    const { log, id } = this.#parts;
    if (text === undefined) {
      this.#complain(
        `the network config ${id.prefix}/config is gone from the registry; write it again: the network goes on as it was`,
      );
      return;
    }
    let plan: ChangePlan | undefined;
    let change: ConfigChange;
    let next: Draft | undefined;
    try {
      const config = this.#parse(text);
      plan = config.change;
      const now = this.#network.now();
      const family = judgeFamilies(now.config, config);
      // Before a draft: the underlay in use has no address in a family that is new.
      next = family === undefined ? await this.#draft(config) : undefined;
      change = family ?? judgeConfigChange(now, next ?? now, this.#network.subnets);
    } catch (error) {
      this.#complain(`the network config in the registry can't be used: ${messageOf(error)}`);
      if (plan !== undefined) this.#network.refuseChange(plan, messageOf(error));
      return;
    }
    if (change.kind === 'refused') {
      this.#complain(
        `the network config in the registry can't be applied while the network runs: ${change.reason}; write the old value again and use "weft network change", or restart flanneld, then Docker, on every host to take it`,
      );
      if (plan !== undefined) this.#network.refuseChange(plan, change.reason);
      return;
    }
    this.#text = text;
    if (this.#trouble !== undefined) {
      log.info('The network config in the registry is in force');
      this.#note('info', 'The config in the registry is in force');
    }
    this.#trouble = undefined;
    if (change.kind === 'same' || next === undefined) {
      if (plan === undefined) this.#network.refuseChange(undefined, '');
      return;
    }
    log.info(`The network config changed: ${change.what.join(', ')}; applying it`);
    this.#note('info', `It changed, and is applied: ${change.what.join(', ')}`);
    await this.#network.adopt(next).catch(() => {});
  }

  #draft(config: NetworkConfig): Promise<Draft> {
    return this.#parts.maker.draft(config, { current: this.#network.now().underlay });
  }

  #parse(text: string): NetworkConfig {
    return parseNetworkConfig(text, this.#registry.api === 'v2' ? 'v0.9.1' : 'head');
  }

  #complain(trouble: string): void {
    if (trouble !== this.#trouble) {
      this.#parts.log.error(trouble);
      this.#note('error', trouble);
    }
    this.#trouble = trouble;
  }

  #note(severity: NotedEvent['severity'], text: string): void {
    const { events, id } = this.#parts;
    events.note({ type: 'config', severity, subject: `${id.prefix}/config`, text });
  }
}
