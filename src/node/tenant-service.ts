import { ContainerClient } from '#src/docker/container-client.ts';
import { DockerClient } from '#src/docker/docker-client.ts';
import { parseDockerHost } from '#src/docker/docker-host.ts';
import { chooseDevices, type DeviceChoice } from '#src/driver/choose-devices.ts';
import { ContainerEnds } from '#src/driver/container-ends.ts';
import { PASSED_NAME } from '#src/driver/plugin-socket.ts';
import { TenantHost, type TunnelPlace } from '#src/driver/tenant-host.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { isDriverAskedFor } from '#src/node/docker-presence.ts';
import { DriverCounts } from '#src/node/driver-counts.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import { reconcilerOptions } from '#src/node/network-options.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { TenantNamespace } from '#src/node/tenant-namespace.ts';
import { ofDockersNetworks, tenantIdentity, tenantNames } from '#src/node/tenant-parts.ts';
import { tenantRules } from '#src/node/tenant-rules.ts';
import { placeOf } from '#src/node/tunnel-place.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { readHostFacts } from '#src/node/underlay/host-facts.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';
import { readUnderlayFlags, type UnderlaySelection } from '#src/node/underlay/underlay-selection.ts';
import { UnderlayFollower } from '#src/node/underlay-follower.ts';
import type { DriverFigures } from '#src/observe/driver-figures.ts';
import type { DriverStatus } from '#src/observe/driver-status.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { SlotView } from '#src/reconcile/slot-view.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { DeferredFolders } from '#src/registry/deferred-folders.ts';
import { openRecordFolders } from '#src/registry/open-record-folders.ts';
import { systemCopyFolder, systemFolders } from '#src/sys/folders.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { isNetworkNamespace, systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

export interface TenantServiceComponents
  extends Pick<
    HostComponents,
    | 'clock'
    | 'commands'
    | 'files'
    | 'locks'
    | 'random'
    | 'kernel'
    | 'ruleset'
    | 'watchRules'
    | 'createLogger'
    | 'passedSockets'
    | 'hasOwnMounts'
  > {
  readonly reconciler: NetworkHost['reconciler'];
  readonly events: HostEvents;
  /** The identity of this host. */
  readonly identity: string;
}

const RETRY_MS = 5_000;
/**
 * Why the driver is not served where nobody has asked for it, without being a trouble: what a process may do does not change;
 * another flanneld of this host may serve it.
 */
const REFUSALS: readonly string[] = ['netns', 'netns-make', 'netns-hidden', 'plugin-socket'];
const REFUSED_MS = 60_000;
/** Docker's driver as a service of the daemon: it starts again when it fails. The networks go on. */
export class TenantService {
  readonly #components: TenantServiceComponents;
  readonly #options: FlanneldOptions;
  readonly #counts: DriverCounts;
  #host: TenantHost | undefined;
  #reconciler: Reconciler | undefined;
  /** Of the tenants' namespace. */
  #inside: Reconciler | undefined;
  #namespace: TenantNamespace | undefined;
  #failure: string | undefined;
  /** Why the driver, which nobody has asked for, is not served. */
  #refusal: string | undefined;

  constructor(components: TenantServiceComponents, options: FlanneldOptions) {
    this.#components = components;
    this.#options = options;
    this.#counts = new DriverCounts(components);
  }

  get troubles(): string[] {
    if (this.#failure !== undefined) return [this.#failure];
    const { trouble } = this.#namespace ?? {};
    return [...(trouble === undefined ? [] : [trouble]), ...(this.#host?.troubles ?? [])];
  }

  status(): DriverStatus {
    return {
      state: this.#state,
      troubles: this.troubles,
      networks: this.#host?.networks ?? [],
    };
  }

  /** What is wanted and was found in the tenants' namespace; nothing while the driver does not run. */
  view(): Iterable<SlotView> {
    return this.#inside?.view() ?? [];
  }

  /** See {@link Reconciler.stepMs}. */
  get stepMs(): number {
    return this.#reconciler?.stepMs ?? 0;
  }

  figures(): Promise<DriverFigures> {
    return this.#counts.figures();
  }

  get #state(): DriverStatus['state'] {
    if (this.#host !== undefined) return 'on';
    return this.#refusal === undefined ? 'starting' : 'off';
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    while (!signal.aborted) {
      let pauseMs = RETRY_MS;
      try {
        await this.#serve(signal);
      } catch (error) {
        if (signal.aborted) return;
        pauseMs = this.#stumble(error);
      }
      await clock.sleep(pauseMs, signal);
    }
  }

  get #isAskedFor(): boolean {
    return isDriverAskedFor(this.#components, this.#options);
  }

  /** Logs each cause once. How long to wait before the next start. */
  #stumble(error: unknown): number {
    const log = this.#components.createLogger('tenants');
    if (!this.#isAskedFor && error instanceof WeftError && REFUSALS.includes(error.code)) {
      const refusal = messageOf(error);
      if (refusal !== this.#refusal) log.info(`Docker's driver is not served: ${refusal}`);
      this.#refusal = refusal;
      this.#failure = undefined;
      return REFUSED_MS;
    }
    if (error instanceof WeftError && error.code === 'netns-replaced') {
      log.warning(`Docker's driver starts again: ${messageOf(error)}`);
      return 0;
    }
    const failure = `Docker's driver ended: ${messageOf(error)}`;
    if (failure !== this.#failure) log.error(`${failure}; it is started again until it runs`);
    this.#failure = failure;
    return RETRY_MS;
  }

  get #dockerSocket(): string {
    return parseDockerHost(this.#options.dockerHost);
  }

  async #serve(signal: AbortSignal): Promise<void> {
    const { createLogger, clock } = this.#components;
    const namespace = await TenantNamespace.open({
      namespaces: systemNetworkNamespaces,
      clock,
      log: createLogger('tenants'),
      hasOwnMounts: await this.#components.hasOwnMounts(),
    });
    this.#namespace = namespace;
    this.#refusal = undefined;
    try {
      await this.#serveIn(namespace, signal);
    } finally {
      this.#namespace = undefined;
      namespace.close();
    }
  }

  async #serveIn(tenants: TenantNamespace, signal: AbortSignal): Promise<void> {
    const { createLogger, clock, kernel, passedSockets } = this.#components;
    const namespace = tenants.path;
    const selection = await readUnderlayFlags(this.#options);
    const underlay = chooseUnderlay(selection, await readHostFacts(kernel, selection));
    const life = new Lifetime(signal);
    const inside = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace });
    let place = placeOf(underlay, this.#options);
    const registry = registryOptions(this.#options);
    const opening = openRecordFolders(
      { ...this.#components, logger: createLogger('registry') },
      registry,
      life.signal,
    );
    // Docker is answered, and the kernel looked after, before the registry answers.
    const folders = new DeferredFolders(opening, `etcd at ${registry.endpoints}`);
    try {
      const reconciler = new Reconciler(
        {
          actuators: [inside, new SysctlActuator({ files: new NamespaceFiles(namespace) })],
          clock,
          log: createLogger('reconciler'),
        },
        reconcilerOptions(this.#options),
      );
      this.#inside = reconciler;
      this.#reconciler = reconciler;
      const host = await TenantHost.open(
        {
          ...this.#components,
          folders,
          reconciler,
          calls: this.#counts.calls,
          rules: this.#counts.follow(tenantRules(this.#components, this.#options)),
          docker: new DockerClient({ http: systemUnixHttp, clock }, { socket: this.#dockerSocket }),
          containers: new ContainerClient({ http: systemUnixHttp, clock }, { socket: this.#dockerSocket }),
          names: tenantNames(this.#components, namespace),
          disk: systemFolders,
          copy: systemCopyFolder,
          ends: new ContainerEnds({
            ports: inside,
            open: (sandbox) => new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: sandbox }),
            settings: (sandbox) => new NamespaceFiles(sandbox),
            isThere: isNetworkNamespace,
          }),
          place: () => place,
        },
        {
          stateDir: this.#options.stateDir,
          identity: await tenantIdentity(this.#components),
          dockerNetworks: this.#options.dockerNetworks,
          passedSocket: passedSockets.get(PASSED_NAME),
          addressGraceMs: this.#options.addressGrace,
          acceptsMoves: this.#options.acceptMoves,
          chooseDevices: () => this.#chooseDevices(inside, place),
        },
        life.signal,
      );
      this.#host = host;
      life.run((ended) =>
        this.#followUnderlay({ selection, underlay }, ended, (to) => {
          place = placeOf(to, this.#options);
          host.moved();
        }),
      );
      life.run(() =>
        host.run(() => {
          this.#failure = undefined;
        }),
      );
      life.run((ended) => tenants.follow(ended));
      await life.ended();
    } finally {
      await life.stop();
      this.#host = undefined;
      this.#inside = undefined;
      inside.close();
      await folders.close();
    }
  }

  async #chooseDevices(inside: RtnetlinkKernel, place: TunnelPlace): Promise<DeviceChoice> {
    const choice = await chooseDevices(inside, place);
    const log = this.#components.createLogger('tenants');
    if (choice.kind === 'shared') log.info("One VXLAN device carries all of Docker's networks");
    else log.info(`Each of Docker's networks has a VXLAN device: ${choice.reason}`);
    return choice;
  }

  async #followUnderlay(
    { selection, underlay }: { readonly selection: UnderlaySelection; readonly underlay: Underlay },
    signal: AbortSignal,
    onMove: (to: Underlay) => void,
  ): Promise<never> {
    const { kernel, clock, reconciler, createLogger, events } = this.#components;
    const follower = new UnderlayFollower(
      {
        kernel,
        clock,
        log: createLogger('underlay'),
        events: ofDockersNetworks(events),
        observe: (listener) => reconciler.observe(listener),
      },
      {
        selection,
        underlay,
        subnets: {},
        onMove: async (to) => onMove(to),
        onGone: () => {},
        onSame: async () => {},
      },
    );
    return follower.follow(signal);
  }
}
