import type { DescribedContainer, DescribedMount, JsonObject } from '#src/docker/container-api.ts';
import type { MovedAttachment, MovedContainer, MovedPort } from '#src/driver/moves/move-record.ts';
import { isJsonObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';

export interface MoveFacts {
  readonly container: DescribedContainer;
  /** The tenant of one of Docker's networks here; `undefined` for a network of another driver. */
  readonly tenantOf: (networkId: string) => string | undefined;
  /** Files that it changed outside of volumes. */
  readonly changedFiles: number;
  /** Of its image. */
  readonly layers: readonly string[];
  /** The name of the host that it goes to. */
  readonly to: string;
  /** What is left here stays, stopped and under another name. */
  readonly keep: boolean;
  readonly anyImage: boolean;
  /** Its processes are frozen into this folder and restored from it; `undefined`: they end and start again. */
  readonly checkpoint: string | undefined;
}

export type MovePlan =
  | {
      readonly kind: 'move';
      readonly container: MovedContainer;
      /** What moves and what does not, for the user; one line each. */
      readonly lines: readonly string[];
    }
  | { readonly kind: 'refuse'; readonly reason: string; readonly remedy: string };

/** What moves of a container that is stopped here and started there, and what does not. */
export function planMove(facts: MoveFacts): MovePlan {
  const { container, tenantOf, anyImage, layers, checkpoint } = facts;
  const { name, image, imageId, config, hostConfig } = container;
  const refusal = faultOf(facts);
  if (refusal !== undefined) return { kind: 'refuse', ...refusal };
  // The network that a container was made with comes first: Docker takes it with the creation.
  const mode = textIn(hostConfig, 'NetworkMode');
  const isMode = ({ network, networkId }: { network: string; networkId: string }): boolean =>
    network === mode || networkId === mode || (network === 'bridge' && mode === 'default');
  const ordered = container.networks.toSorted((a, b) => Number(isMode(b)) - Number(isMode(a)));
  const networks = ordered.map(({ networkId, ipv4, ipv6, aliases }): MovedAttachment => {
    const tenant = tenantOf(networkId);
    if (tenant === undefined) return { tenant, ipv4: '', ipv6: '', aliases: [] };
    return { tenant, ipv4, ipv6, aliases };
  });
  const { MacAddress: _mac, ...kept } = config;
  const { NetworkMode: _mode, ContainerIDFile: _file, ...host } = hostConfig;
  const moved: MovedContainer = {
    name,
    image,
    imageId,
    layers,
    anyImage,
    config: kept,
    hostConfig: host,
    networks,
    ports: fixedPorts(hostConfig),
    ...(checkpoint !== undefined && { checkpoint }),
  };
  return { kind: 'move', container: moved, lines: linesOf(facts, moved) };
}

type Refusal = { readonly reason: string; readonly remedy: string };

function faultOf({ container, tenantOf }: MoveFacts): Refusal | undefined {
  const { name, running, config, hostConfig, networks } = container;
  const refuse = (why: string, remedy: string): Refusal => ({
    reason: `container ${name} can't be moved: ${why}`,
    remedy,
  });
  if (!running) return refuse('it does not run', 'start it, or make it on the other host by hand');
  const labels = config.Labels;
  if (isJsonObject(labels ?? null) && 'com.docker.swarm.service.id' in (labels as JsonObject))
    return refuse('it belongs to a service of swarm', 'let swarm place it');
  if (hostConfig.AutoRemove === true)
    return refuse(
      'Docker removes it as soon as it stops (--rm)',
      'it could not come back if the move fails: make it without --rm',
    );
  for (const field of ['NetworkMode', 'PidMode', 'IpcMode']) {
    const mode = textIn(hostConfig, field);
    if (mode.startsWith('container:'))
      return refuse(
        `it shares a namespace with another container (${field} ${mode})`,
        'both would have to move at once',
      );
  }
  const shared = ['VolumesFrom', 'Links'].find((field) => listIn(hostConfig, field).length > 0);
  if (shared !== undefined)
    return refuse(`it depends on other containers here (${shared})`, 'make it without that');
  const foreign = networks.find(
    ({ network, networkId }) => tenantOf(networkId) === undefined && network !== 'bridge',
  );
  if (foreign !== undefined)
    return refuse(
      `it is on network ${foreign.network}, which is this host's alone`,
      `"docker network disconnect ${foreign.network} ${name}" takes it off`,
    );
  if (!networks.some(({ networkId }) => tenantOf(networkId) !== undefined))
    return refuse('it is on no network of weft', '"docker network connect" puts it on one');
  return undefined;
}

function linesOf({ container, to, keep, changedFiles }: MoveFacts, moved: MovedContainer): string[] {
  const lines: string[] = [];
  const say = (what: string, text: string): void => void lines.push(`${what.padEnd(WIDTH)} ${text}`);
  const addressOf = new Map(container.networks.map(({ ipv4, ipv6, mac }) => [`${ipv4} ${ipv6}`, mac]));
  for (const { tenant, ipv4, ipv6, aliases } of moved.networks) {
    if (tenant === undefined) {
      say('new', `another address on the default bridge of ${to}`);
      continue;
    }
    const parts = [ipv4, ipv6, addressOf.get(`${ipv4} ${ipv6}`) ?? ''].filter(Boolean);
    const names = [moved.name, ...aliases.filter((alias) => alias !== moved.name)];
    say('moves', `network ${tenant}: ${parts.join(', ')}, as ${names.join(', ')}`);
  }
  say('moves', 'its configuration: command, environment, labels, limits, restart policy');
  for (const { ip, port, protocol } of moved.ports)
    say(
      'new',
      `published port ${port}/${protocol} at ${ip === '' ? `the addresses of ${to}` : ip}, and no longer here`,
    );
  if (hasFreePorts(container.hostConfig)) say('new', `published ports without a number get one on ${to}`);
  for (const mount of container.mounts) {
    const text = mountLine(mount, to);
    if (text !== undefined) say('stays', text);
  }
  if (changedFiles > 0) {
    const end = keep
      ? `they are in ${retiredName(moved.name)} afterwards`
      : 'they are gone afterwards, unless --keep';
    say('stays', `${changedFiles} files that it changed outside of volumes: ${end}`);
  }
  say(
    'stays',
    keep
      ? `the container, stopped, as ${retiredName(moved.name)}, with its log`
      : 'its log, which is removed with it',
  );
  for (const [what, text] of moved.checkpoint === undefined ? ENDING : FREEZING) say(what, text);
  return lines;
}

/** Which connections survive. */
const ENDING = [
  ['ends', 'every connection of TCP: the process ends here and starts there'],
  [
    'goes on',
    'what needs no connection (UDP) and clients that connect again: they find the same address and MAC',
  ],
] as const;
const FREEZING = [
  ['goes on', 'its processes, frozen here and restored there, and their connections inside its networks'],
  ['ends', 'connections by published ports and to the outside: their NAT is of this host'],
] as const;

/** `moves`, `new`, `stays`, `ends`, `goes on` */
const WIDTH = 8;

/** What the container is called that stays. */
export const retiredName = (name: string): string => `${name}-moved`;

function mountLine({ type, name, source, destination }: DescribedMount, to: string): string | undefined {
  switch (type) {
    case 'tmpfs':
      return `what is in memory at ${destination}`;
    case 'volume': {
      const title = /^[0-9a-f]{64}$/.test(name) ? name.slice(0, SHORT_ID) : name;
      return `volume ${title} at ${destination}: it finds the one of that name on ${to}, or an empty one`;
    }
    default:
      return `${source} at ${destination}: it finds what ${to} has there`;
  }
}

const SHORT_ID = 12;

/** `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}` */
function bindings(hostConfig: JsonObject): { ip: string; port: string; protocol: string }[] {
  const all = hostConfig.PortBindings ?? null;
  if (!isJsonObject(all)) return [];
  return Object.entries(all).flatMap(([inside, list]) =>
    (Array.isArray(list) ? list : []).filter(isJsonObject).map((binding: JsonObject) => ({
      ip: textIn(binding, 'HostIp'),
      port: textIn(binding, 'HostPort'),
      protocol: inside.split('/')[1] ?? 'tcp',
    })),
  );
}

function fixedPorts(hostConfig: JsonObject): MovedPort[] {
  return bindings(hostConfig).flatMap(({ ip, port, protocol }) => {
    const number = Number(port);
    return Number.isInteger(number) && number > 0 ? [{ ip, port: number, protocol }] : [];
  });
}

/** Without a number, or out of a range: Docker chooses. */
const hasFreePorts = (hostConfig: JsonObject): boolean =>
  hostConfig.PublishAllPorts === true || bindings(hostConfig).some(({ port }) => !(Number(port) > 0));

const textIn = (object: JsonObject, name: string): string => {
  const value: Json | undefined = object[name];
  return typeof value === 'string' ? value : '';
};

const listIn = (object: JsonObject, name: string): readonly Json[] => {
  const value: Json | undefined = object[name];
  return Array.isArray(value) ? value : [];
};
