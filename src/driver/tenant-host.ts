import type { ContainerApi } from '#src/docker/container-api.ts';
import type { DockerApi } from '#src/docker/docker-api.ts';
import { AddressRequests } from '#src/driver/address-requests.ts';
import { askInTime } from '#src/driver/ask-in-time.ts';
import type { CallCounts } from '#src/driver/call-counts.ts';
import type { DeviceChoice } from '#src/driver/choose-devices.ts';
import { ChosenDevices } from '#src/driver/chosen-devices.ts';
import type { ContainerEnds } from '#src/driver/container-ends.ts';
import { DeadHosts } from '#src/driver/dead-hosts.ts';
import { describeDriver } from '#src/driver/describe-driver.ts';
import { DockerFollower } from '#src/driver/docker-follower.ts';
import type { WantedNetworks } from '#src/driver/docker-networks.ts';
import { bookPath, EndpointBook } from '#src/driver/endpoint-book.ts';
import { heldIn } from '#src/driver/held-places.ts';
import { HostDirectory } from '#src/driver/host-directory.ts';
import { LostTenants } from '#src/driver/lost-tenants.ts';
import { Moves } from '#src/driver/moves/moves.ts';
import type { NameServers } from '#src/driver/names/name-servers.ts';
import { NetworkRequests } from '#src/driver/network-requests.ts';
import { ownTenants } from '#src/driver/own-tenants.ts';
import { PluginServer } from '#src/driver/plugin-server.ts';
import { PresentTenants } from '#src/driver/present-tenants.ts';
import { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { formatIp, type Ip, parseIp } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import type { LoggerSource } from '#src/lib/log.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import type { CopyFolder, Folders } from '#src/sys/folders.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';
import type { Random } from '#src/sys/random.ts';
import type { HostRecord } from '#src/tenant/host-codec.ts';
import type { SegmentPlace } from '#src/tenant/segment-objects.ts';

export interface TenantHostComponents {
  readonly folders: RecordFolders;
  readonly calls?: CallCounts;
  /** Of the tenants' namespace. */
  readonly reconciler: Reconciler;
  readonly rules: TenantRules;
  readonly docker: DockerApi;
  readonly containers: ContainerApi;
  readonly commands: CommandRunner;
  /** Of the machine, for checkpoints. */
  readonly disk: Folders;
  readonly copy: CopyFolder;
  readonly names: NameServers;
  readonly ends: ContainerEnds;
  readonly files: Files;
  readonly locks: HostLocks;
  readonly clock: Clock;
  readonly random: Random;
  readonly createLogger: LoggerSource;
  readonly events: HostEvents;
  /** This host's place on the underlay, as it is now. */
  readonly place: () => TunnelPlace;
}

export interface TunnelPlace extends SegmentPlace {
  /** The underlay's device. */
  readonly device: string;
}

export interface TenantHostOptions {
  readonly stateDir: string;
  /** What does not change while the process runs. */
  readonly identity: Pick<HostRecord, 'id' | 'hostName' | 'bootId' | 'version'>;
  /** The networks that Docker has on this host. */
  readonly dockerNetworks: WantedNetworks;
  /** The driver's socket, where systemd has handed it over. */
  readonly passedSocket?: number | undefined;
  /** How long a host has to be gone before its addresses are free, in milliseconds; 0 is for ever. */
  readonly addressGraceMs: number;
  /** What the kernel can make segments of; asked again when nothing is left of devices that an earlier run has made. */
  readonly chooseDevices: () => Promise<DeviceChoice>;
  /** Other hosts may have containers made here. */
  readonly acceptsMoves: boolean;
}

const RECALL_MS = 3_000;

/**
 * Docker's driver on this host, from its socket to the kernel. Docker is answered from the first moment by what the book
 * has; the registry and Docker's API are waited for in the background.
 */
export class TenantHost {
  readonly #components: TenantHostComponents;
  readonly #options: TenantHostOptions;
  readonly #book: EndpointBook;
  readonly #owner: Owner;
  readonly #devices: ChosenDevices;
  /** When it aborts, calls that are under way are answered, and then all ends. */
  readonly #until: AbortSignal;
  readonly #life = new Lifetime();
  readonly #directory: TenantDirectory;
  readonly #hosts: HostDirectory;
  readonly #present: PresentTenants;
  readonly #deadHosts: DeadHosts;
  readonly #follower: DockerFollower;
  readonly #lost: LostTenants;
  readonly #server: PluginServer;
  readonly #moves: Moves;
  /** The kernel is looked after: what Docker asks for is made before it is answered. */
  readonly #ready = Promise.withResolvers<void>();
  #isServing = false;

  static async open(
    components: TenantHostComponents,
    options: TenantHostOptions,
    signal: AbortSignal,
  ): Promise<TenantHost> {
    const book = await EndpointBook.open(components, bookPath(options.stateDir));
    const choice = await options.chooseDevices();
    return new TenantHost(components, options, { book, choice }, signal);
  }

  private constructor(
    components: TenantHostComponents,
    options: TenantHostOptions,
    { book, choice }: { readonly book: EndpointBook; readonly choice: DeviceChoice },
    until: AbortSignal,
  ) {
    const { events, ...others } = components;
    const { createLogger, reconciler, place } = others;
    this.#components = components;
    this.#options = options;
    this.#book = book;
    this.#until = until;
    const { signal } = this.#life;
    const log = createLogger('tenants');
    this.#owner = ownTenants(reconciler, () => this.#devices?.kind ?? choice.kind, events);
    this.#devices = new ChosenDevices(
      { owner: this.#owner, place, heldPlaces: () => heldIn(reconciler) },
      { choice, chooseAgain: options.chooseDevices, onChange: () => reconciler.check() },
    );
    const shared = { ...others, log, book, signal };
    // The other watchers of the same registry would note the same.
    this.#directory = new TenantDirectory({ ...shared, events });
    const { id } = options.identity;
    this.#hosts = new HostDirectory(
      { ...shared, self: () => this.#self() },
      { onChange: () => this.#setPeers() },
    );
    this.#present = new PresentTenants(
      {
        ...shared,
        owner: this.#owner,
        devices: this.#devices,
        directory: this.#directory,
        self: () => ({ id, vtep: place().vtep }),
        hostName: (host) => this.#hosts.nameOf(host),
      },
      signal,
    );
    this.#deadHosts = new DeadHosts(
      { ...shared, self: id, hosts: () => this.#hosts.known, present: () => this.#present.all() },
      { graceMs: options.addressGraceMs },
    );
    this.#ready.promise.catch(() => {});
    this.#lost = new LostTenants({ ...shared, directory: this.#directory });
    const requests = { ...shared, directory: this.#directory, present: this.#present };
    const addresses = new AddressRequests(requests);
    const network = new NetworkRequests({
      ...requests,
      rangeOf: (tenant, family) => addresses.rangeOf(tenant, family),
      hearsDocker: () => this.#follower.isConnected,
      recall: (networkId) => this.#recall(networkId),
      onNetworks: () => this.#hosts.publishSoon(),
    });
    this.#follower = new DockerFollower(
      { ...requests, log: createLogger('docker'), networks: network },
      { wanted: options.dockerNetworks },
    );
    this.#server = new PluginServer(
      { ...components, logger: createLogger('driver'), network, addresses, ready: this.#ready.promise },
      { passed: options.passedSocket },
    );
    this.#moves = new Moves(
      { ...shared, hosts: this.#hosts, present: this.#present, log: createLogger('moves') },
      {
        self: id,
        hostName: options.identity.hostName,
        stateDir: options.stateDir,
        accepts: options.acceptsMoves,
      },
    );
  }

  /** Why tenants are not as they should be on this host, one clause each. */
  get troubles(): string[] {
    const { rules } = this.#components;
    const state = this.#directory.state;
    return [
      ...(state.kind === 'retrying' ? [`the tenants' registry does not answer: ${state.reason}`] : []),
      ...[rules.trouble, rules.weakness].filter((it) => it !== undefined),
      ...(this.#book.trouble === undefined ? [] : [this.#book.trouble]),
      ...(this.#follower.trouble === undefined ? [] : [this.#follower.trouble]),
      ...this.#owner.status.failing.map(({ key, reason }) => `${key}: ${reason}`),
      ...Array.from(this.#present.all(), ({ trouble }) => trouble ?? []).flat(),
    ];
  }

  /** The networks of the driver on this host. */
  get networks(): DriverNetwork[] {
    return describeDriver({ book: this.#book, present: this.#present });
  }

  /** Runs until the signal aborts, and rejects with its reason. What is in the kernel stays. `onServing`: it has started. */
  async run(onServing: () => void): Promise<never> {
    const { reconciler, rules, clock, createLogger } = this.#components;
    const { signal } = this.#life;
    const log = createLogger('tenants');
    if (this.#book.fault !== undefined) log.error(this.#book.fault);
    const end = (): void => void this.#end();
    this.#until.addEventListener('abort', end, { once: true });
    try {
      this.#until.throwIfAborted();
      await this.#server.start();
      this.#setPeers();
      await this.#present.resume();
      await rules.start(signal);
      reconciler.observe((event) => this.#present.hear(event));
      await reconciler.start(signal);
      this.#ready.resolve();
      this.#isServing = true;
      onServing();
      const stop = this.#directory.observe(() => {
        this.#lost.look();
        this.#present.openBooked();
      });
      signal.addEventListener('abort', stop, { once: true });
      this.#life.run((ended) => this.#book.keepWritten({ clock, log }, ended));
      this.#life.run((ended) => this.#directory.run(ended));
      this.#life.run((ended) => this.#hosts.run(ended));
      this.#life.run((ended) => this.#present.tidyAtInterval(ended));
      this.#life.run((ended) => this.#deadHosts.run(ended));
      this.#life.run((ended) => this.#followDocker(ended));
      this.#life.run((ended) => this.#allowRemoval(ended));
      this.#life.run((ended) => this.#moves.run(ended));
      return await this.#life.ended();
    } finally {
      this.#until.removeEventListener('abort', end);
      this.#ready.reject(
        new WeftError('driver-ended', "Docker's driver could not start", {
          remedy: 'repeat the command; the log of flanneld says why',
        }),
      );
      await this.#server.stop();
      await this.#life.stop();
      await this.#present.stop();
      await this.#book.close();
    }
  }

  async #end(): Promise<void> {
    if (this.#isServing) await this.#server.stop();
    this.#life.fail(this.#until.reason);
  }

  /** This host has another place on the underlay. */
  moved(): void {
    this.#devices.moved();
    this.#present.moved();
    this.#hosts.publish();
    this.#setPeers();
  }

  /** Docker's networks are made from what the registry has, so that has to be known. */
  async #followDocker(signal: AbortSignal): Promise<never> {
    await orAborted(this.#directory.listed, signal);
    return this.#follower.run(signal);
  }

  /** Entries that an earlier run made may be right until the registry says otherwise. */
  async #allowRemoval(signal: AbortSignal): Promise<void> {
    await orAborted(this.#directory.listed, signal);
    // What a lost book had is Docker's to say: a port that is removed takes its container's device along.
    if (this.#book.isNew) await orAborted(this.#present.isCompared, signal);
    for (const present of this.#present.all()) await orAborted(present.addresses.isListed, signal);
    this.#owner.allowRemoval();
  }

  #self(): HostRecord {
    const { networks, removed } = this.#book.state;
    return { ...this.#options.identity, vtep: this.#components.place().vtep, docker: networks, removed };
  }

  async #recall(networkId: string): Promise<string | undefined> {
    const question = { what: "look up one of Docker's networks", ms: RECALL_MS, signal: this.#life.signal };
    const tenant = await askInTime(question, (deadline) => this.#hosts.recall(networkId, deadline));
    if (tenant === undefined) return undefined;
    const known = await askInTime(question, (deadline) => this.#directory.read(tenant, deadline));
    if (known === undefined) return undefined;
    await this.#book.change((state) => ({ ...state, networks: { ...state.networks, [networkId]: tenant } }));
    this.#hosts.publishSoon();
    return tenant;
  }

  /** Frames are taken from hosts of the network: before the registry answers, from those of the last run. */
  #setPeers(): void {
    const { rules, place, createLogger } = this.#components;
    const complain = (error: unknown): void => createLogger('tenants').error(messageOf(error));
    const known = new Set<Ip>(this.#hosts.vteps());
    if (!this.#hosts.isListed)
      for (const text of this.#book.state.vteps) known.add(parseIp(text) ?? place().vtep);
    const texts = [...known].map(formatIp).sort();
    if (texts.join() !== this.#book.state.vteps.join())
      this.#book.change((state) => ({ ...state, vteps: texts })).catch(complain);
    rules.setPeers({ underlays: [place().device], vteps: [...known] }).catch(complain);
  }
}
