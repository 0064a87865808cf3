import type { NetworkPlace } from '#src/diagnose/known-network.ts';
import type { TraceHandlers } from '#src/diagnose/trace/trace-handlers.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import type { WireguardKernel } from '#src/kernel/wireguard-kernel.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { Logger, LoggerSource } from '#src/lib/log.ts';
import type { SecretSource } from '#src/node/backend-secrets.ts';
import type { FastPathHost } from '#src/node/fast-path/fast-path-host.ts';
import type { NetworkClaims } from '#src/node/network-claims.ts';
import type { MakeFirewall } from '#src/node/network-rules.ts';
import type { KeepTable } from '#src/node/network-seal.ts';
import type { WatchDrops } from '#src/node/watch-drops.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KeptTableComponents, KeptTableOptions } from '#src/reconcile/rules/kept-table.ts';
import type { Networks } from '#src/registry/networks.ts';
import type { OpenedRegistry, OpenRegistryOptions } from '#src/registry/open-registry.ts';
import type { AddressAnnouncer } from '#src/sys/address-announcer.ts';
import type { ChildPrograms } from '#src/sys/child-program.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';
import type { MeasuringSockets } from '#src/sys/measuring-sockets.ts';
import type { Random } from '#src/sys/random.ts';
import type { RunShell } from '#src/sys/shell.ts';

/** What the networks of one host share. */
export interface NetworkHost {
  /** Who this node is, in every network. */
  readonly identity: string;
  readonly kernel: Kernel;
  readonly reconciler: Pick<Reconciler, 'own' | 'observe' | 'check' | 'retry' | 'stepMs'>;
  readonly claims: NetworkClaims;
  readonly locks: HostLocks;
  readonly announcer: AddressAnnouncer;
  /** Opens the registry of a network, and waits for its config; see registry/open-registry.ts. */
  readonly openRegistry: (request: RegistryRequest, signal: AbortSignal) => Promise<OpenedRegistry>;
  /** Opens what lists the networks below the daemon's prefix. */
  readonly openNetworks: (logger: Logger, signal: AbortSignal) => Promise<Networks>;
  readonly makeFirewall: MakeFirewall;
  /** What keeps a table of the host's packet filter. */
  readonly keepTable: (
    options: KeptTableOptions,
    shared: Pick<KeptTableComponents, 'log' | 'events'>,
  ) => ReturnType<KeepTable>;
  readonly watchDrops: WatchDrops;
  /** Whether a process was one of this daemon's that wrote rules of a network. */
  readonly isWriter?: (pid: number | undefined) => boolean;
  /** Calls back for every change of the host's packet filter; returns how to stop. */
  readonly observeRules: (listener: (event: NftablesEvent) => void) => () => void;
  /** For the preflight, which asks programs for their versions. */
  readonly commands: CommandRunner;
  /** How flows go past the host's rules; absent where they can't. */
  readonly fastPath?: FastPathHost;
  /** Runs the commands of backends that have some. */
  readonly shell: RunShell;
  /** Starts the programs of backends that have some. */
  readonly programs: ChildPrograms;
  readonly files: Files;
  /** Keys of the node, for backends that work with some. */
  readonly secrets: SecretSource;
  /** WireGuard's devices and peers, with their figures; absent where there is no kernel. */
  readonly wireguard?: Pick<WireguardKernel, 'reports' | 'scan'>;
  readonly folders: Folders;
  readonly clock: Clock;
  readonly random: Random;
  /** Loads what peers are measured with, once a network is up; absent where nothing is measured. */
  readonly measuring?: () => Promise<MeasuringSockets>;
  /** Loads what answers the traces of peers; absent where none is answered. */
  readonly traces?: (place: NetworkPlace) => Promise<TraceHandlers>;
  readonly createLogger: LoggerSource;
  /** Takes what happens in a network, or with `undefined` in the only one of a daemon. */
  readonly eventsOf: (network: string | undefined) => HostEvents;
  /** Called once a start has loaded what it needs. */
  readonly onLoaded: () => void;
}

export interface RegistryRequest extends Pick<OpenRegistryOptions, 'prefix' | 'lastConfig'> {
  readonly logger: Logger;
}
