import type { Kernel } from '#src/kernel/kernel.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { sharedReads } from '#src/kernel/shared-reads.ts';
import { silentEvents } from '#src/lib/host-events.ts';
import type { SecretSource } from '#src/node/backend-secrets.ts';
import type { FastPrograms } from '#src/node/fast-path/fast-path-host.ts';
import { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { removeOrphanedFastPaths } from '#src/node/fast-path/orphaned-fast-paths.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { NetworkClaims } from '#src/node/network-claims.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import { fastPathNote } from '#src/node/network-id.ts';
import { reconcilerOptions, wantsRules } from '#src/node/network-options.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import { watchDrops } from '#src/node/watch-drops.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { KeptTable } from '#src/reconcile/rules/kept-table.ts';
import { findPrograms } from '#src/reconcile/rules/programs.ts';
import { SharedPrograms, sharedRuleset } from '#src/reconcile/rules/shared-programs.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { openRegistry } from '#src/registry/open-registry.ts';
import { WatchSiblings } from '#src/registry/watch-siblings.ts';
import { type CommandRunner, versionsOnce } from '#src/sys/command.ts';
import type { ServiceManager } from '#src/sys/systemd-notify.ts';
import type { UnixHttp } from '#src/sys/unix-http.ts';

/** What the process has of its host. */
export interface HostComponents
  extends Pick<
    NetworkHost,
    | 'kernel'
    | 'files'
    | 'secrets'
    | 'wireguard'
    | 'folders'
    | 'locks'
    | 'shell'
    | 'programs'
    | 'announcer'
    | 'clock'
    | 'random'
    | 'measuring'
    | 'traces'
    | 'onLoaded'
    | 'createLogger'
  > {
  readonly kernel: Kernel;
  /** `looking`: the same for a plan, which writes nothing. */
  readonly secrets: SecretSource & { readonly looking: SecretSource };
  /** What carries kernel state beside rtnetlink and the settings below /proc/sys. */
  readonly actuators?: readonly Actuator[];
  /** What the fast path's programs have counted on the way of a VXLAN device; absent where there are no such programs. */
  readonly fastPrograms?: FastPrograms;
  /** Closes what was opened beside the kernel's sockets. What is in the kernel stays. */
  readonly close?: () => void;
  readonly ruleset: Ruleset;
  readonly http: UnixHttp;
  readonly commands: CommandRunner;
  /** Calls back for every change of the host's nftables rules, iptables-nft's among them. */
  readonly watchRules: (listener: (event: NftablesEvent) => void, signal: AbortSignal) => Promise<void>;
  readonly serviceManager: ServiceManager;
  /** Default: events go nowhere. */
  readonly eventsOf?: NetworkHost['eventsOf'];
  /** Sockets that systemd has handed over, by name. */
  readonly passedSockets: ReadonlyMap<string, number>;
  /** Whether only this process sees what it mounts; see sys/own-mounts.ts. */
  readonly hasOwnMounts: () => Promise<boolean>;
}

/** What the networks share, and what starts it. */
export interface SharedHost extends NetworkHost {
  readonly reconciler: Reconciler;
  /** Takes away the fast paths of networks that were served before, and are not among these prefixes now. */
  removeOrphans(served: readonly string[]): Promise<void>;
  /** Follows the kernel and the packet filter until the signal aborts. Resolves when both are followed. */
  start(signal: AbortSignal): Promise<void>;
}

/** The host as its networks see it. Nothing runs before `start`, but programs are asked for their versions. */
export function networkHost(
  components: HostComponents,
  options: FlanneldOptions,
  identity: string,
  signal: AbortSignal,
): SharedHost {
  const {
    kernel,
    actuators = [],
    commands,
    files,
    ruleset: own,
    clock,
    createLogger,
    watchRules,
  } = components;
  const versions = versionsOnce(commands);
  const ruleset = sharedRuleset(own);
  const shared = new SharedPrograms({ commands: versions, ruleset, clock });
  const { isWriter } = shared;
  const reads = sharedReads(kernel);
  const programs = wantsRules(options)
    ? findPrograms({ commands: versions, files, ruleset }, signal)
    : undefined;
  programs?.catch(() => {});
  const reconciler = new Reconciler(
    {
      actuators: [kernel, new SysctlActuator({ files }), ...actuators],
      clock,
      log: createLogger('reconciler'),
    },
    reconcilerOptions(options),
  );
  const siblings = new WatchSiblings();
  const listeners = new Set<(event: NftablesEvent) => void>();
  const fast = fastPathOf({ ...components, commands: versions }, options);
  return {
    ...components,
    kernel: reads,
    commands: versions,
    isWriter,
    identity,
    reconciler,
    eventsOf: components.eventsOf ?? (() => silentEvents),
    claims: new NetworkClaims(),
    ...fast,
    removeOrphans: async (served) => {
      const { users } = fast.fastPath ?? {};
      const shared = { ...components, users, reconciler, log: createLogger('fast-path') };
      await removeOrphanedFastPaths(shared, { places: options, served });
    },
    openNetworks: async (logger, ended) => {
      const { openNetworks } = await import('#src/registry/open-networks.ts');
      return openNetworks({ ...components, siblings, logger }, registryOptions(options), ended);
    },
    watchDrops: (request) => watchDrops({ ...components, kernel: reads, commands: shared, ruleset }, request),
    openRegistry: ({ logger, ...request }, ended) =>
      openRegistry({ ...components, siblings, logger }, { ...registryOptions(options), ...request }, ended),
    observeRules: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    keepTable: (request, shared) =>
      new KeptTable({ commands, ruleset, watchRules, clock, ...shared }, request),
    makeFirewall: (use) =>
      new Firewall(
        { commands: shared, files, ruleset, isWriter, log: createLogger('firewall'), programs },
        use,
      ),
    async start(life) {
      const notify = (event: NftablesEvent): void => {
        shared.notify(event);
        for (const listener of listeners) listener(event);
      };
      await Promise.all([reconciler.start(life), watchRules(notify, life)]);
    },
  };
}

/** Nothing of it is loaded before a network asks for it. */
function fastPathOf(
  { files, ruleset, commands, fastPrograms }: HostComponents,
  { stateDir }: FlanneldOptions,
): Pick<NetworkHost, 'fastPath'> {
  if (fastPrograms === undefined) return {};
  return {
    fastPath: {
      ...fastPrograms,
      users: new FastPathUsers(files, fastPathNote({ stateDir })),
      readFilters: async () => {
        const { readPacketFilters } = await import('#src/diagnose/facts/packet-filters.ts');
        return readPacketFilters({ commands, files, ruleset });
      },
      wireSockets: async () => (await import('#src/sys/wire-sockets.ts')).systemWireSockets,
    },
  };
}
