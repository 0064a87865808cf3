/** The part of Docker's Engine API (1.40 and later) that the driver needs, outside of any plugin call. */
export interface DockerApi {
  /** The networks of a driver, each with its containers on this host. */
  networks(driver: string, signal: AbortSignal): Promise<readonly DockerNetwork[]>;

  /** Makes a network; its ID. Throws WeftError `docker-api` with Docker's own words, `docker-exists` for a name that is taken. */
  createNetwork(network: NewDockerNetwork, signal: AbortSignal): Promise<string>;

  /** True when it is gone; false when a container is on it. */
  removeNetwork(id: string, signal: AbortSignal): Promise<boolean>;

  /** A container by ID or name; `undefined` when there is none. */
  container(id: string, signal: AbortSignal): Promise<DockerContainer | undefined>;

  /** What happens from now on; ends by throwing: the signal's reason, or WeftError `docker-api` when Docker is gone. */
  events(signal: AbortSignal): AsyncIterable<DockerEvent>;
}

export interface DockerNetwork {
  readonly id: string;
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly endpoints: readonly DockerEndpoint[];
}

/** A running container's endpoint in a network. */
export interface DockerEndpoint {
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
  readonly image: string;
  /** By the network's name. */
  readonly networks: Readonly<Record<string, DockerAttachment>>;
}

export interface DockerAttachment {
  readonly networkId: string;
  readonly endpointId: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  /** Compose's services and `--network-alias`; engines add the short ID. */
  readonly aliases: readonly string[];
}

export type DockerEvent =
  /** The process runs; after `docker start --checkpoint`: it is restored. */
  | { readonly type: 'start' | 'die' | 'rename'; readonly container: string }
  | { readonly type: 'connect' | 'disconnect'; readonly network: string; readonly container: string }
  | { readonly type: 'network-created' | 'network-removed'; readonly network: string };
