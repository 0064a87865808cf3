import type {
  DescribedAttachment,
  DescribedContainer,
  DescribedEngine,
  DescribedImage,
  JsonObject,
  NewAttachment,
  NewContainer,
  PublishedPort,
} from '#src/docker/container-api.ts';
import { fieldsOf, listOf, readContainer, textOf } from '#src/docker/docker-answers.ts';

/*
 * The bodies of those calls of Docker's Engine API, 1.40 to 1.56, that make and describe containers (moby's
 * api/swagger.yaml and api/types/container).
 */

/** The answer to `GET /containers/ID/json`. */
export function readDescription(answer: unknown): DescribedContainer {
  const { Config, HostConfig, Image, Mounts, State } = fieldsOf(answer);
  const { ExitCode, Error: fault } = fieldsOf(State);
  const { id, name, running, image, networks } = readContainer(answer);
  return {
    id,
    name,
    running,
    exitCode: typeof ExitCode === 'number' ? ExitCode : 0,
    fault: textOf(fault),
    imageId: textOf(Image),
    image,
    config: fieldsOf(Config) as JsonObject,
    hostConfig: fieldsOf(HostConfig) as JsonObject,
    mounts: listOf(Mounts).map((mount) => {
      const { Type, Name, Source, Destination } = fieldsOf(mount);
      return {
        type: textOf(Type),
        name: textOf(Name),
        source: textOf(Source),
        destination: textOf(Destination),
      };
    }),
    networks: Object.entries(networks).map(
      ([network, { networkId, ipv4, ipv6, mac, aliases }]): DescribedAttachment => ({
        network,
        networkId,
        ipv4: withoutLength(ipv4),
        ipv6: withoutLength(ipv6),
        mac,
        aliases,
      }),
    ),
  };
}

const withoutLength = (text: string): string => text.replace(/\/.*/, '');

/** The body of `POST /containers/create`. */
export function creationBody({ config, hostConfig, network }: NewContainer): JsonObject {
  return {
    ...config,
    HostConfig: hostConfig,
    NetworkingConfig: {
      EndpointsConfig: network === undefined ? {} : { [network.network]: endpointConfig(network) },
    },
  };
}

/** What a container is in a network, for `POST /networks/ID/connect` and for its creation. */
export function endpointConfig({ ipv4, ipv6, aliases }: NewAttachment): JsonObject {
  return {
    IPAMConfig: {
      ...(ipv4 !== '' && { IPv4Address: ipv4 }),
      ...(ipv6 !== '' && { IPv6Address: ipv6 }),
    },
    Aliases: aliases,
  };
}

/** The ports in the answer to `GET /containers/json`. */
export function readPorts(answer: unknown): PublishedPort[] {
  return listOf(answer).flatMap((container) => {
    const { Names, Ports } = fieldsOf(container);
    const name = textOf(listOf(Names)[0]).replace(/^\//, '');
    return listOf(Ports).flatMap((it) => {
      const { IP, PublicPort, Type } = fieldsOf(it);
      if (typeof PublicPort !== 'number' || PublicPort === 0) return [];
      return [{ ip: textOf(IP), port: PublicPort, protocol: textOf(Type), container: name }];
    });
  });
}

/** The IDs in the answer to `GET /containers/json`. */
export const readIds = (answer: unknown): string[] =>
  listOf(answer)
    .map((container) => textOf(fieldsOf(container).Id))
    .filter(Boolean);

/** The answer to `GET /images/NAME/json`. */
export function readImage(answer: unknown): DescribedImage {
  const { Id, RootFS } = fieldsOf(answer);
  return { id: textOf(Id), layers: listOf(fieldsOf(RootFS).Layers).map(textOf) };
}

/** The answer to `GET /info`. */
export function readEngine(answer: unknown): DescribedEngine {
  const { DockerRootDir, ExperimentalBuild } = fieldsOf(answer);
  return { rootDir: textOf(DockerRootDir), isExperimental: ExperimentalBuild === true };
}
