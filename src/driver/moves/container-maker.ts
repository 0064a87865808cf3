import type { ContainerApi, NewAttachment, NewContainer } from '#src/docker/container-api.ts';
import type { DockerApi } from '#src/docker/docker-api.ts';
import { NETWORK_OPTION } from '#src/driver/address-requests.ts';
import { DRIVER } from '#src/driver/docker-comparison.ts';
import type { Checkpoints } from '#src/driver/moves/checkpoints.ts';
import type { MovedAttachment, MovedContainer, MovedPort } from '#src/driver/moves/move-record.ts';
import { WeftError } from '#src/lib/errors.ts';

export interface ContainerMakerComponents {
  readonly containers: ContainerApi;
  readonly checkpoints: Checkpoints;
  readonly docker: Pick<DockerApi, 'networks'>;
}

export interface ContainerMakerOptions {
  readonly hostName: string;
  /** Containers are made here for other hosts: `--accept-moves`. */
  readonly accepts: boolean;
}

/** Says by which move a container was made. */
const LABEL = 'weft.move';

/** Makes containers of other hosts here, as far as this host can have them. */
export class ContainerMaker {
  readonly #components: ContainerMakerComponents;
  readonly #options: ContainerMakerOptions;

  constructor(components: ContainerMakerComponents, options: ContainerMakerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Why the container can't be here; `undefined` when it can. */
  async faultOf(container: MovedContainer, signal: AbortSignal): Promise<string | undefined> {
    const { containers } = this.#components;
    const { hostName, accepts } = this.#options;
    const { name, image, ports } = container;
    if (!accepts)
      return `host ${hostName} takes no containers of other hosts: its flanneld runs without --accept-moves`;
    if ((await containers.describe(name, signal)) !== undefined)
      return `there is a container ${name} on host ${hostName} already`;
    if ((await this.#imageFor(container, signal)) === undefined) {
      const other = (await containers.image(image, signal)) !== undefined;
      return other
        ? `image ${image} is another one on host ${hostName}: bring the same one ("docker save ${image} | ssh ${hostName} docker load"), or add --any-image`
        : `image ${image} is not on host ${hostName}: "docker pull ${image}" there, or "docker save ${image} | ssh ${hostName} docker load"`;
    }
    for (const { tenant } of container.networks)
      if (tenant !== undefined && (await this.#networkOf(tenant, signal)) === undefined)
        return `network ${tenant} is not on host ${hostName}: a user removed it there`;
    if (container.checkpoint !== undefined) {
      const fault = await this.#faultOfCheckpoint(container.checkpoint, signal);
      if (fault !== undefined) return `its processes can't be restored on host ${hostName}: ${fault}`;
    }
    const taken = await this.#takenPort(ports, signal);
    if (taken !== undefined)
      return `port ${taken.port}/${taken.protocol} of host ${hostName} is that of container ${taken.container}`;
    return undefined;
  }

  /** Makes a container that does not run; its ID. Throws WeftError with the reason. */
  async make(move: string, container: MovedContainer, signal: AbortSignal): Promise<string> {
    const fault = this.#options.accepts ? undefined : await this.faultOf(container, signal);
    if (fault !== undefined) throw new WeftError('move', fault);
    return this.#components.containers.create(await this.#describe(move, container, signal), signal);
  }

  /** The IDs of what was made for a move. */
  madeFor(move: string, signal: AbortSignal): Promise<readonly string[]> {
    return this.#components.containers.withLabel(`${LABEL}=${move}`, signal);
  }

  async #faultOfCheckpoint(folder: string, signal: AbortSignal): Promise<string | undefined> {
    const { checkpoints } = this.#components;
    if (await checkpoints.sees(folder)) return checkpoints.fault(signal);
    return `${folder} is not there; --checkpoint-dir has to be a folder that both hosts see`;
  }

  async #describe(move: string, container: MovedContainer, signal: AbortSignal): Promise<NewContainer> {
    const { name, config, hostConfig, networks } = container;
    const attachments = await Promise.all(networks.map((attachment) => this.#attachment(attachment, signal)));
    const [first, ...further] = attachments;
    const labels = { ...(config.Labels as object | undefined), [LABEL]: move };
    const isOnBridge = first === undefined || networks[0]?.tenant === undefined;
    return {
      name,
      config: {
        ...config,
        Image: (await this.#imageFor(container, signal)) ?? container.image,
        Labels: labels,
      },
      hostConfig: { ...hostConfig, NetworkMode: isOnBridge ? 'default' : first.network },
      ...(!isOnBridge && { network: first }),
      further,
    };
  }

  async #attachment({ tenant, ...rest }: MovedAttachment, signal: AbortSignal): Promise<NewAttachment> {
    if (tenant === undefined) return { network: 'bridge', ...rest };
    const network = await this.#networkOf(tenant, signal);
    if (network === undefined)
      throw new WeftError('move', `network ${tenant} is not on host ${this.#options.hostName}`);
    return { network, ...rest };
  }

  /** The name of Docker's network of a tenant here. */
  async #networkOf(tenant: string, signal: AbortSignal): Promise<string | undefined> {
    const networks = await this.#components.docker.networks(DRIVER, signal);
    return networks.find(({ options }) => options[NETWORK_OPTION] === tenant)?.name;
  }

  /** By its name where that means the same files, else by its ID. */
  async #imageFor(container: MovedContainer, signal: AbortSignal): Promise<string | undefined> {
    const { containers } = this.#components;
    const { image, imageId, layers, anyImage } = container;
    const named = await containers.image(image, signal);
    const isSame = named?.id === imageId || (layers.length > 0 && named?.layers.join() === layers.join());
    if (named !== undefined && (anyImage || isSame)) return image;
    return (await containers.image(imageId, signal))?.id;
  }

  async #takenPort(ports: readonly MovedPort[], signal: AbortSignal) {
    if (ports.length === 0) return undefined;
    const taken = await this.#components.containers.publishedPorts(signal);
    return taken.find((it) =>
      ports.some(
        ({ ip, port, protocol }) =>
          port === it.port && protocol === it.protocol && (isAny(ip) || isAny(it.ip) || ip === it.ip),
      ),
    );
  }
}

const isAny = (ip: string): boolean => ip === '' || ip === '0.0.0.0' || ip === '::';
