/**
 * The part of Docker's Engine API (1.40 and later) that the driver needs, outside of any plugin call. All throw WeftError
 * `docker-api` without an answer from Docker, `docker-refused` for one that says no.
 */
export interface DockerApi {
  /** The networks of a driver on this host. */
  networks(driver: string, signal: AbortSignal): Promise<readonly DockerNetwork[]>;

  /** The IDs of the networks, of any driver, that running containers are in. */
  networksInUse(signal: AbortSignal): Promise<ReadonlySet<string>>;

  /** The endpoints in a network on this host; none in one that is gone. */
  endpoints(networkId: string, signal: AbortSignal): Promise<readonly DockerEndpoint[]>;

  /** Makes a network; its ID. Throws WeftError `docker-refused` with Docker's own words, `docker-exists` for a name that is taken. */
  createNetwork(network: NewDockerNetwork, signal: AbortSignal): Promise<string>;

  /** True when it is gone; false when a container is on it. */
  removeNetwork(id: string, signal: AbortSignal): Promise<boolean>;

  /** A container by ID or name; `undefined` when there is none. */
  container(id: string, signal: AbortSignal): Promise<DockerContainer | undefined>;

  /**
   * What happens from this call on, also before the first event is read: a list that is made in between is never older than
   * the events. An event may come twice. Ends by throwing: the signal's reason, or WeftError `docker-api` when Docker is gone.
   */
  events(signal: AbortSignal): AsyncIterable<DockerEvent>;
}

export interface DockerNetwork {
  readonly id: string;
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** A running container's endpoint in a network. */
export interface DockerEndpoint {
  /** 64 hex digits; `ep-` and the endpoint's ID where Docker has an endpoint that no container is in. */
  readonly container: string;
  readonly name: string;
  readonly endpoint: string;
  /** `10.5.0.11/24`; empty where there is none. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
}

export interface NewDockerNetwork {
  readonly name: string;
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly internal: boolean;
  readonly enableIpv6: boolean;
  readonly ipam: {
    readonly driver: string;
    readonly options: Readonly<Record<string, string>>;
    readonly config: readonly {
      readonly subnet: string;
      readonly range?: string;
      readonly gateway?: string;
      readonly auxiliary?: Readonly<Record<string, string>>;
    }[];
  };
}

export interface DockerContainer {
  readonly id: string;
  /** Without the slash. */
  readonly name: string;
  readonly running: boolean;
  /** Its process in this host's numbers; 0 when it does not run. */
  readonly pid: number;
  /** The path of its network namespace; empty when it does not run. */
  readonly sandbox: string;
  /** As it was named when the container was made. */
  readonly image: string;
  /** By the network's name. */
  readonly networks: Readonly<Record<string, DockerAttachment>>;
}

export interface DockerAttachment {
  readonly networkId: string;
  /** Empty, as the addresses are, while the container does not run. */
  readonly endpointId: string;
  /** As in DockerEndpoint. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  /** Compose's services and `--network-alias`, without the short ID that engines before 25 add. */
  readonly aliases: readonly string[];
}

export type DockerEvent =
  /**
   * The process runs, and Join came before; after `docker start --checkpoint`: it is restored. `die` comes before the
   * `disconnect` of its networks with engine 20.10, after it with 29.
   */
  | { readonly type: 'start' | 'die' | 'rename'; readonly container: string }
  | { readonly type: 'connect' | 'disconnect'; readonly network: string; readonly container: string }
  | { readonly type: 'network-created' | 'network-removed'; readonly network: string };
