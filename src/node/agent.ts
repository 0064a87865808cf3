import { setTimeout as delay } from 'node:timers/promises';
import type { Backend, PreparedBackend, Requirement } from '#src/backend/backend.ts';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { readSubnetFile } from '#src/docker/subnet-file.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { equalPrefix, formatIp, formatPrefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { VERSION } from '#src/lib/version.ts';
import { join } from '#src/membership/join.ts';
import type { Membership, PeerMessage } from '#src/membership/membership.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { checkHost } from '#src/node/check-host.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { followUnderlay } from '#src/node/follow-underlay.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { startServers } from '#src/node/node-servers.ts';
import { Overlay, type OverlayComponents, type OverlayPlace } from '#src/node/overlay.ts';
import { overlayOptions } from '#src/node/overlay-options.ts';
import { readableConfig } from '#src/node/readable-config.ts';
import { backendUnderlay, refuseHarm } from '#src/node/refuse-harm.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import { Memory, networkName, type Remembered } from '#src/node/remembered.ts';
import { chooseUnderlay, type HostFacts, readHostFacts, type Underlay } from '#src/node/underlay.ts';
import { LoopDelay } from '#src/observe/loop-delay.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { findPrograms, type Programs } from '#src/reconcile/rules/programs.ts';
import { openRegistry } from '#src/registry/open-registry.ts';
import type { Registry } from '#src/registry/registry.ts';
import { type CommandRunner, versionsOnce } from '#src/sys/command.ts';
import type { Folders } from '#src/sys/folders.ts';
import type { ServiceManager } from '#src/sys/systemd-notify.ts';

export interface AgentComponents extends Omit<OverlayComponents, 'firewall'> {
  readonly kernel: Kernel;
  readonly ruleset: Ruleset;
  readonly commands: CommandRunner;
  readonly folders: Folders;
  readonly serviceManager: ServiceManager;
  /** Called once a start has loaded what it needs. */
  readonly onLoaded: () => void;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** How long a start waits for the registry before it forwards with what it remembers. */
const PATIENCE_MS = 3_000;
/** What is remembered is written at most this often. */
const REMEMBER_EVERY_MS = 30_000;
const STATUS_EVERY_MS = 5_000;

/**
 * One host's agent: builds the parts and starts them in flannel's order, then keeps the lease and follows the peers until
 * the signal aborts. What it made in the kernel stays when it stops: packets go on while it restarts.
 */
export class Agent {
  readonly #options: FlanneldOptions;
  readonly #components: AgentComponents;
  readonly #log: Logger;
  /** For the start: two of its steps ask which programs there are. */
  readonly #versions: CommandRunner;
  #identity = '';
  #overlay: Overlay | undefined;
  #membership: Membership | undefined;
  #programs: Promise<Programs> | undefined;
  #registry: Registry | undefined;
  readonly #loopDelay = new LoopDelay();
  #configText = '';
  #startedAt = 0;
  /** What is being waited for, before the network is up. */
  #waitingFor: string | undefined = 'the start to begin';

  constructor(options: FlanneldOptions, components: AgentComponents) {
    this.#options = options;
    this.#components = components;
    this.#log = components.createLogger('agent');
    this.#versions = versionsOnce(components.commands);
  }

  /** Why packets don't flow as they should, one clause each; nothing when they do. */
  get troubles(): string[] {
    const keeper = this.#membership?.trouble;
    return [
      ...(this.#waitingFor === undefined ? [] : [`waiting for ${this.#waitingFor}`]),
      ...(this.#overlay?.troubles() ?? []),
      ...(keeper === undefined ? [] : [keeper]),
    ];
  }

  status(): NodeStatus {
    const { clock } = this.#components;
    const overlay = this.#overlay;
    const troubles = this.troubles;
    const registry = this.#membership?.registry;
    const certainAt = registry?.certainAt;
    return {
      version: VERSION,
      node: this.#identity,
      ready: troubles.length === 0,
      troubles,
      ...(overlay !== undefined && { network: overlay.description }),
      registry: {
        description: this.#registry?.description ?? this.#options.etcdEndpoints.join(','),
        state: registry?.state ?? 'connecting',
        ...(certainAt !== undefined && { ageSeconds: (clock.monotonic() - certainAt) / 1000 }),
      },
      peers: {
        accepted: overlay?.table.accepted ?? 0,
        quarantined: Array.from(overlay?.leftOut() ?? [], ([lease, reason]) => ({ lease, reason })),
      },
      kernel: overlay?.kernelStatus ?? { wanted: 0, failing: [], repairs: 0, checks: 0 },
      eventLoopDelayMs: this.#loopDelay.take(),
    };
  }

  /** Runs until the signal aborts, and rejects with its reason; or with what made a start impossible. */
  async run(signal: AbortSignal): Promise<never> {
    this.#startedAt = this.#components.clock.monotonic();
    this.#loopDelay.start();
    const stopServers = await startServers({ ...this.#components, log: this.#log }, this.#options, {
      troubles: () => this.troubles,
      status: () => this.status(),
    });
    // Whatever fails ends everything: a supervisor starts us anew.
    const failure = new AbortController();
    const all = AbortSignal.any([signal, failure.signal]);
    try {
      return await this.#run(all, (error) => failure.abort(error));
    } finally {
      failure.abort();
      await stopServers();
      this.#loopDelay.stop();
    }
  }

  async #run(signal: AbortSignal, fail: (error: unknown) => void): Promise<never> {
    const { createLogger, clock, files, random, ruleset } = this.#components;
    const options = this.#options;
    this.#waitFor(`the network config ${options.etcdPrefix}/config`);
    // What takes time and needs nothing else is begun first; a rejection is waited for below.
    const opening = openRegistry(
      { clock, files, random, logger: createLogger('registry') },
      registryOptions(options),
      signal,
    );
    opening.catch(() => {});
    this.#programs = wantsRules(options)
      ? findPrograms({ commands: this.#versions, files, ruleset }, signal)
      : undefined;
    this.#programs?.catch(() => {});
    this.#identity = await readNodeIdentity({ files, log: this.#log }, options.stateDir);
    const memory = new Memory({ files, log: this.#log }, options.stateDir, options.etcdPrefix);
    const remembered = await memory.recall();
    if (remembered !== undefined && (await isSlow(opening, PATIENCE_MS)))
      await this.#restore(remembered, signal);
    const { registry, config } = await opening;
    this.#components.onLoaded();
    this.#registry = registry;
    try {
      const read = await readableConfig({ registry, clock, log: this.#log }, config, signal, () =>
        this.#waitFor('a network config that can be used'),
      );
      this.#configText = read.text;
      await this.#join(registry, read.config, remembered, signal, fail);
      const stopped = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => stopped.reject(signal.reason), { once: true });
      void this.#remember(memory, signal).catch(fail);
      void this.#tellStatus(signal).catch(fail);
      return await stopped.promise;
    } finally {
      await this.#write(memory);
      await registry.close();
    }
  }

  /** Says what a start waits for. A host that forwards already waits for nothing. */
  #waitFor(what: string): void {
    if (this.#overlay === undefined) this.#waitingFor = what;
  }

  /** Takes or takes back the lease, brings the network up, and follows the registry from there. */
  async #join(
    registry: Registry,
    config: NetworkConfig,
    remembered: Remembered | undefined,
    signal: AbortSignal,
    fail: (error: unknown) => void,
  ): Promise<void> {
    const { clock, random, createLogger, kernel, files } = this.#components;
    const options = this.#options;
    for (const warning of config.warnings)
      this.#log.warning(`Network config: ${warning}; flannel 0.28 would refuse it`);
    // It takes the store a while, and the host is looked at meanwhile.
    const listing = registry.list(signal);
    listing.catch(() => {});
    const facts = await readHostFacts(kernel);
    const underlay = await this.#chooseUnderlay(facts);
    this.#log.info(
      `Using interface with name ${underlay.name} and address ${formatIp(underlay.address)}, chosen by ${underlay.chosenBy}; public IP ${formatIp(underlay.publicIp)}`,
    );
    const previous = await readSubnetFile(files, options.subnetFile);
    const host = this.#prepare(config, facts);
    refuseHarm(config, host, underlay, facts, options.allowOverlap, this.#log);
    await this.#check(config, host.requirements, signal);
    this.#waitFor('a lease');
    const ttlSeconds = options.leaseTtl / 1000;
    const membership = await join(
      { registry, clock, random, createLogger },
      {
        config,
        claimant: { node: this.#identity, publicIp: underlay.publicIp },
        previous: previous.subnet,
        avoid: (remembered?.peers ?? []).flatMap(({ name }) => parseSubnetName(name)?.v4 ?? []),
        ttlSeconds,
        marginSeconds: options.subnetLeaseRenewMargin * 60,
        listing,
        attributesFor: (taken) => this.#attributes(host.make(backendUnderlay(underlay), taken), underlay),
      },
      signal,
    );
    const { own } = membership;
    const subnet = own.subnets.v4;
    if (subnet === undefined) throw new WeftError('lease', `the lease ${own.record.name} has no IPv4 subnet`);
    this.#log.info(`Lease acquired: ${formatPrefix(subnet)}`);
    const backend = host.make(backendUnderlay(underlay), membership.attributes);
    this.#membership = membership;
    const overlay = await this.#bringUp({ config, subnet, underlay, backend, previous }, signal);
    followUnderlay(
      { kernel, log: this.#log },
      {
        overlay,
        host,
        choose: (facts) => this.#chooseUnderlay(facts),
        publish: (made, at) => {
          membership.reconnect();
          membership.publish(this.#attributes(made, at));
        },
      },
      signal,
    );
    // Programs and disks are waited for while the peers are taken.
    await Promise.all([overlay.isSetUp, this.#followPeers(membership, overlay, signal, fail)]);
    await this.#ready(overlay);
    await overlay.removeLeftovers(signal);
  }

  /** Forwards with what the last run knew, until the registry answers. */
  async #restore(remembered: Remembered, signal: AbortSignal): Promise<void> {
    try {
      const { kernel, files, clock } = this.#components;
      const config = parseNetworkConfig(remembered.config);
      const subnet = parseSubnetName(remembered.own.name)?.v4;
      const own = decodeAttributes(remembered.own.value);
      if (subnet === undefined || !own.ok) return;
      const facts = await readHostFacts(kernel);
      const underlay = await this.#chooseUnderlay(facts);
      const host = this.#prepare(config, facts);
      refuseHarm(config, host, underlay, facts, this.#options.allowOverlap, this.#log);
      const previous = await readSubnetFile(files, this.#options.subnetFile);
      const backend = host.make(backendUnderlay(underlay), own.attributes);
      const overlay = await this.#bringUp({ config, subnet, underlay, backend, previous }, signal);
      await overlay.isSetUp.catch((error) => {
        this.#overlay = undefined;
        throw error;
      });
      const peers = remembered.peers.map((peer) => ({
        ...peer,
        revision: 0n,
        expiry: { kind: 'reservation' } as const,
      }));
      await overlay.replacePeers(peers);
      await overlay.owner.settled();
      const age = Math.round((clock.now() - remembered.at) / 1000);
      this.#log.warning(
        `The registry does not answer: forwarding with subnet ${formatPrefix(subnet)} and the ${overlay.table.accepted} peers known ${age} s ago`,
      );
      await this.#ready(overlay);
    } catch (error) {
      if (isAbort(error)) throw error;
      this.#log.warning(`Could not forward with what is remembered: ${messageOf(error)}`);
    }
  }

  #prepare(config: NetworkConfig, { links }: HostFacts): PreparedBackend {
    const instance = networkName(this.#options.etcdPrefix);
    return prepareBackend(config, { links, identity: this.#identity, instance });
  }

  async #check(
    config: NetworkConfig,
    requirements: readonly Requirement[],
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#overlay !== undefined) return;
    const kind = config.nftables ? 'nftables' : 'iptables';
    const firewall = wantsRules(this.#options) ? kind : undefined;
    await checkHost(
      { ...this.#components, commands: this.#versions, log: this.#log },
      { requirements, firewall, ipv4: true, ipv6: false },
      signal,
    );
  }

  async #bringUp(place: OverlayPlace, signal: AbortSignal): Promise<Overlay> {
    const running = this.#overlay;
    if (running !== undefined) return this.#goOn(running, place);
    const { commands, createLogger, files, ruleset } = this.#components;
    const mode = place.config.nftables ? 'nftables' : 'auto';
    const firewall = new Firewall(
      { commands, files, ruleset, log: createLogger('firewall'), programs: this.#programs },
      { mode },
    );
    const overlay = new Overlay({ ...this.#components, firewall }, place, overlayOptions(this.#options));
    this.#waitFor('the host to be set up');
    await overlay.start(signal);
    this.#overlay = overlay;
    return overlay;
  }

  /** The registry answers after a start without it: it must agree, or containers would be renumbered under way. */
  async #goOn(running: Overlay, place: OverlayPlace): Promise<Overlay> {
    const { config, subnet, backend } = running.place;
    const same =
      equalPrefix(subnet, place.subnet) &&
      equalPrefix(config.network, place.config.network) &&
      backend.type === place.backend.type;
    if (!same) {
      throw new WeftError(
        'renumbered',
        `the registry has another subnet for this host, ${formatPrefix(place.subnet)} instead of the remembered ${formatPrefix(subnet)}`,
        { remedy: 'restart flanneld and Docker to take it' },
      );
    }
    if (place.underlay.address !== running.place.underlay.address)
      await running.moveTo(place.underlay, place.backend);
    return running;
  }

  /** Hands what the registry says to the overlay, one message after the other. Resolves when the first is programmed. */
  async #followPeers(
    membership: Membership,
    overlay: Overlay,
    signal: AbortSignal,
    fail: (error: unknown) => void,
  ): Promise<void> {
    this.#waitFor('the peers to be programmed');
    const first = Promise.withResolvers<void>();
    let last: Promise<void> = Promise.resolve();
    const take = async (message: PeerMessage): Promise<void> => {
      if (message.kind === 'batch') return overlay.changePeers(message.events);
      await overlay.replacePeers(message.records);
      first.resolve();
    };
    const deliver = (message: PeerMessage): void => {
      last = last.then(() => take(message));
      last.catch(fail);
    };
    membership.follow(deliver, signal).catch(fail);
    await first.promise;
    overlay.owner.allowRemoval();
    await overlay.owner.settled();
  }

  async #chooseUnderlay(facts: HostFacts): Promise<Underlay> {
    return chooseUnderlay(this.#options, facts, this.#components.kernel);
  }

  #attributes(backend: Backend, underlay: Underlay): LeaseAttributes {
    return { publicIp: underlay.publicIp, ...backend.published, node: this.#identity };
  }

  async #ready(overlay: Overlay): Promise<void> {
    const again = this.#waitingFor === undefined;
    this.#waitingFor = undefined;
    const ms = Math.round(this.#components.clock.monotonic() - this.#startedAt);
    const { subnet, backend } = overlay.place;
    this.#log.info(
      `Running backend ${backend.type}: subnet ${formatPrefix(subnet)}, ${overlay.table.accepted} peers, ${again ? 'the registry is back' : `ready after ${ms} ms`}`,
    );
    await this.#components.serviceManager.ready(this.#status());
  }

  #status(): string {
    const overlay = this.#overlay;
    if (overlay === undefined) return this.troubles.join('; ');
    const { subnet } = overlay.place;
    const [trouble] = this.troubles;
    return `subnet ${formatPrefix(subnet)}, ${overlay.table.accepted} peers${trouble === undefined ? '' : `; ${trouble}`}`;
  }

  async #tellStatus(signal: AbortSignal): Promise<void> {
    for (let said = this.#status(); ; ) {
      await this.#components.clock.sleep(STATUS_EVERY_MS, signal);
      const now = this.#status();
      if (now !== said) await this.#components.serviceManager.status(now);
      said = now;
    }
  }

  async #remember(memory: Memory, signal: AbortSignal): Promise<void> {
    for (let last = ''; ; ) {
      const version = this.#version;
      if (version !== last) await this.#write(memory);
      last = version;
      await this.#components.clock.sleep(REMEMBER_EVERY_MS, signal);
    }
  }

  /** Another text whenever there is something else to remember. */
  get #version(): string {
    const own = this.#membership?.own.record;
    return `${this.#overlay?.table.version} ${own?.name} ${own?.value}`;
  }

  async #write(memory: Memory): Promise<void> {
    const membership = this.#membership;
    const table = this.#overlay?.table;
    if (membership === undefined || table === undefined) return;
    const { name, value } = membership.own.record;
    await memory.remember({
      at: this.#components.clock.now(),
      config: this.#configText,
      own: { name, value },
      peers: [...table.records()],
    });
  }
}

const wantsRules = ({ ipMasq, iptablesForwardRules }: FlanneldOptions): boolean =>
  ipMasq || iptablesForwardRules;

async function isSlow(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    const settled = promise.then(
      () => false,
      () => false,
    );
    return await Promise.race([settled, delay(ms, true, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}
