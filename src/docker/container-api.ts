import type { Json } from '#src/network/lease.ts';

export type JsonObject = { readonly [name: string]: Json };

/**
 * The part of Docker's Engine API (1.40 and later) that moves containers. Containers are named by ID or name. All throw
 * WeftError `docker-api` without an answer from Docker, `docker-refused` for one that says no.
 */
export interface ContainerApi {
  /** What a container is; `undefined` when there is none. */
  describe(container: string, signal: AbortSignal): Promise<DescribedContainer | undefined>;

  /** Makes a container that does not run; its ID. Throws WeftError `docker-exists` for a name that is taken. */
  create(container: NewContainer, signal: AbortSignal): Promise<string>;

  /** Resolves when its process runs, or is restored from a checkpoint of the container's own. Does nothing for one that runs. */
  start(container: string, signal: AbortSignal, checkpoint?: string): Promise<void>;

  /** Writes the state of its processes into a folder below `folder`, and ends them. They run on when that fails. */
  freeze(
    container: string,
    checkpoint: { readonly folder: string; readonly name: string },
    signal: AbortSignal,
  ): Promise<void>;

  /** SIGTERM, or the container's own signal, and SIGKILL after `graceSeconds`. Does nothing for one that does not run. */
  stop(container: string, graceSeconds: number, signal: AbortSignal): Promise<void>;

  /** Removes it, also while it runs; its volumes stay. Does nothing when there is none. */
  remove(container: string, signal: AbortSignal): Promise<void>;

  /** Gives it another name, and never starts it by itself. */
  retire(container: string, name: string, signal: AbortSignal): Promise<void>;

  /** How many files it changed in its own file system, outside of volumes. */
  changedFiles(container: string, signal: AbortSignal): Promise<number>;

  /** An image by name or ID; `undefined` when it is not here. */
  image(image: string, signal: AbortSignal): Promise<DescribedImage | undefined>;

  engine(signal: AbortSignal): Promise<DescribedEngine>;

  /** The ports of this host that running containers have. */
  publishedPorts(signal: AbortSignal): Promise<readonly PublishedPort[]>;

  /** Those made with a label, by `NAME=VALUE`; their IDs. */
  withLabel(label: string, signal: AbortSignal): Promise<readonly string[]>;
}

/** A container as far as it is needed to make another one like it. */
export interface DescribedContainer {
  readonly id: string;
  /** Without the slash. */
  readonly name: string;
  readonly running: boolean;
  readonly exitCode: number;
  /** Docker's words for why it could not start; empty where it could. */
  readonly fault: string;
  readonly imageId: string;
  /** As it was named when the container was made. */
  readonly image: string;
  /** Engine's own objects, as `POST /containers/create` takes them. */
  readonly config: JsonObject;
  readonly hostConfig: JsonObject;
  readonly mounts: readonly DescribedMount[];
  readonly networks: readonly DescribedAttachment[];
}

export interface DescribedImage {
  /** Engines that keep images in containerd have other IDs than those before. */
  readonly id: string;
  /** Digests of the layers' content: the same for the same files, whatever keeps the image. */
  readonly layers: readonly string[];
}

export interface DescribedEngine {
  /** `/var/lib/docker` */
  readonly rootDir: string;
  /** It makes checkpoints. */
  readonly isExperimental: boolean;
}

export interface DescribedMount {
  /** `bind`, `volume`, `tmpfs`, … */
  readonly type: string;
  /** Of a volume. */
  readonly name: string;
  /** On the host. */
  readonly source: string;
  /** In the container. */
  readonly destination: string;
}

export interface DescribedAttachment {
  readonly network: string;
  readonly networkId: string;
  /** Without lengths; empty where there is none. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  /** Without the container's short ID. */
  readonly aliases: readonly string[];
}

export interface NewContainer {
  readonly name: string;
  readonly config: JsonObject;
  readonly hostConfig: JsonObject;
  /** The one of its network mode; engines before 25 take no more at the creation. */
  readonly network?: NewAttachment;
  readonly further: readonly NewAttachment[];
}

export interface NewAttachment {
  readonly network: string;
  /** Empty for any. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly aliases: readonly string[];
}

export interface PublishedPort {
  /** Of the host; empty or unspecified for all addresses. */
  readonly ip: string;
  readonly port: number;
  readonly protocol: string;
  /** The container's name. */
  readonly container: string;
}
