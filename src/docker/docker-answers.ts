import type {
  DockerAttachment,
  DockerContainer,
  DockerEndpoint,
  DockerEvent,
  DockerNetwork,
  NewDockerNetwork,
} from '#src/docker/docker-api.ts';

/*
 * The bodies of Docker's Engine API, 1.40 to 1.56 (moby's api/swagger.yaml and api/types). Fields that an engine leaves out
 * or gives as `null` are empty ones.
 */

type Fields = Readonly<Record<string, unknown>>;

/** The answer to `GET /networks`, which names no containers since API 1.28. */
export function readNetworks(answer: unknown): DockerNetwork[] {
  return listOf(answer).map((network) => {
    const { Id, Name, Options, Labels } = fieldsOf(network);
    return { id: textOf(Id), name: textOf(Name), options: textsOf(Options), labels: textsOf(Labels) };
  });
}

/** The networks in the answer to `GET /containers/json`. */
export function readNetworksInUse(answer: unknown): Set<string> {
  const settings = listOf(answer).map((container) => fieldsOf(fieldsOf(container).NetworkSettings));
  const attachments = settings.flatMap(({ Networks }) => Object.values(fieldsOf(Networks)));
  return new Set(attachments.map((attachment) => textOf(fieldsOf(attachment).NetworkID)).filter(Boolean));
}

/** The endpoints in the answer to `GET /networks/ID`. */
export function readEndpoints(answer: unknown): DockerEndpoint[] {
  const { Containers } = fieldsOf(answer);
  return Object.entries(fieldsOf(Containers)).map(([container, it]) => readEndpoint(container, it));
}

function readEndpoint(container: string, answer: unknown): DockerEndpoint {
  const { Name, EndpointID, MacAddress, IPv4Address, IPv6Address } = fieldsOf(answer);
  return {
    container,
    name: textOf(Name),
    endpoint: textOf(EndpointID),
    ipv4: textOf(IPv4Address),
    ipv6: textOf(IPv6Address),
    mac: textOf(MacAddress),
  };
}

/** The answer to `GET /containers/ID/json`. */
export function readContainer(answer: unknown): DockerContainer {
  const { Id, Name, State, Config, NetworkSettings } = fieldsOf(answer);
  const { Running, Pid } = fieldsOf(State);
  const id = textOf(Id);
  const { Networks, SandboxKey } = fieldsOf(NetworkSettings);
  const networks = Object.entries(fieldsOf(Networks));
  return {
    id,
    name: textOf(Name).replace(/^\//, ''),
    running: Running === true,
    pid: typeof Pid === 'number' ? Pid : 0,
    sandbox: textOf(SandboxKey),
    image: textOf(fieldsOf(Config).Image),
    networks: Object.fromEntries(networks.map(([name, it]) => [name, readAttachment(id, it)])),
  };
}

function readAttachment(container: string, answer: unknown): DockerAttachment {
  const it = fieldsOf(answer);
  const shortId = container.slice(0, SHORT_ID);
  return {
    networkId: textOf(it.NetworkID),
    endpointId: textOf(it.EndpointID),
    ipv4: withLength(it.IPAddress, it.IPPrefixLen),
    ipv6: withLength(it.GlobalIPv6Address, it.GlobalIPv6PrefixLen),
    mac: textOf(it.MacAddress),
    aliases: listOf(it.Aliases)
      .map(textOf)
      .filter((alias) => alias !== '' && alias !== shortId),
  };
}

/** Letters of a container's ID that engines before 25 put among its aliases. */
const SHORT_ID = 12;

function withLength(address: unknown, length: unknown): string {
  const text = textOf(address);
  return text === '' || typeof length !== 'number' ? '' : `${text}/${length}`;
}

/** The events that {@link readEvent} reads: the filter of `GET /events`. */
export const EVENT_FILTERS = {
  type: ['container', 'network'],
  event: ['start', 'die', 'rename', 'connect', 'disconnect', 'create', 'destroy', 'remove'],
} as const;

/** A line of `GET /events`; `undefined` for an event that is none of ours. */
export function readEvent(answer: unknown): DockerEvent | undefined {
  const { Type, Action, Actor } = fieldsOf(answer);
  const { ID, Attributes } = fieldsOf(Actor);
  const id = textOf(ID);
  if (id === '') return undefined;
  if (Type === 'container') {
    return Action === 'start' || Action === 'die' || Action === 'rename'
      ? { type: Action, container: id }
      : undefined;
  }
  if (Type !== 'network') return undefined;
  if (Action === 'connect' || Action === 'disconnect') {
    return { type: Action, network: id, container: textOf(fieldsOf(Attributes).container) };
  }
  if (Action === 'create') return { type: 'network-created', network: id };
  // `remove` is swarm's word.
  return Action === 'destroy' || Action === 'remove' ? { type: 'network-removed', network: id } : undefined;
}

/** The body of `POST /networks/create`. Engines from 1.44 on always check for a name that is taken. */
export function networkBody(network: NewDockerNetwork): Fields {
  const { name, driver, options, labels, internal, enableIpv6, ipam } = network;
  return {
    Name: name,
    CheckDuplicate: true,
    Driver: driver,
    Options: options,
    Labels: labels,
    Internal: internal,
    EnableIPv6: enableIpv6,
    IPAM: {
      Driver: ipam.driver,
      Options: ipam.options,
      Config: ipam.config.map(({ subnet, range, gateway, auxiliary }) => ({
        Subnet: subnet,
        ...(range !== undefined && { IPRange: range }),
        ...(gateway !== undefined && { Gateway: gateway }),
        ...(auxiliary !== undefined && { AuxiliaryAddresses: auxiliary }),
      })),
    },
  };
}

export const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? (value as Fields) : {};

export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

const textsOf = (value: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(fieldsOf(value)).map(([name, text]) => [name, textOf(text)]));
