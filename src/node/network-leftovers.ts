import { dirname, join } from 'node:path';
import type { FoundState, NetworkTrace } from '#src/backend/backend.ts';
import { leftovers, sealsOf } from '#src/backend/catalogue.ts';
import { readSubnetFile } from '#src/docker/subnet-file.ts';
import type { Overlays } from '#src/firewall/rules.ts';
import { SEALED_TABLE, sealedTableName } from '#src/firewall/sealed-port.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { equalPrefix, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { familiesOf, type PerFamily } from '#src/lib/per-family.ts';
import { Memory, type Remembered } from '#src/membership/remembered.ts';
import type { Subnets } from '#src/network/lease.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { networksOf, type Ranges } from '#src/network/subnet-range.ts';
import { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import {
  artefactsOf,
  driverSocket,
  fastPathNote,
  type NetworkId,
  subnetFolder,
} from '#src/node/network-id.ts';
import { overlaysOf } from '#src/node/network-intent.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { readInterfaces, readRoutes } from '#src/node/underlay/host-facts.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import type { IkeConnection, KernelObject, Link, XfrmPolicy } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';

export interface CleanRequest {
  readonly options: FlanneldOptions;
  /** The network whose things are removed, or every one. */
  readonly what: NetworkId | 'all';
}

/** What flanneld left on this host, as `weft cleanup` removes it and its script says it. Docker's driver's part is apart. */
export interface NetworkLeftovers {
  /** Fast paths, devices with everything on them, and routes over other devices. */
  readonly operations: readonly Operation[];
  readonly rules: readonly RulesLeftover[];
  /** Tables of nftables, as `nft` names them: `inet NAME`. */
  readonly tables: readonly string[];
  /** The networks for which a setting of the host was changed, by their prefixes; `all` of them. */
  readonly fastPaths: string;
  /** Paths. Only those that are there. */
  readonly files: readonly string[];
}

/** Rules under the names of one network; with `bare`, also those without a chain that flannel 0.9 made. */
export interface RulesLeftover {
  readonly firewall: Firewall;
  readonly bare: Overlays | undefined;
}

/** What is known of one network: a file of its own, or subnet.env. */
interface Trace {
  readonly remembered: Remembered | undefined;
  readonly config: NetworkConfig | undefined;
  readonly networks: PerFamily<Prefix4, Prefix6>;
  readonly subnets: Subnets;
  readonly files: readonly string[];
}

/**
 * Looks for what flanneld made on this host for one network, or for all. Changes nothing. Throws WeftError `running` while a
 * flanneld serves a network that is meant.
 */
export async function findNetworkLeftovers(
  components: HostComponents,
  { options, what }: CleanRequest,
): Promise<NetworkLeftovers> {
  const { kernel, files, createLogger } = components;
  const log = createLogger('cleanup');
  await refuseWhileRunning(components, options, what);
  const traces =
    what === 'all'
      ? await allTraces(components, options, log)
      : [await traceOf(components, options, what, log)];
  const found = {
    ...(await readInterfaces(kernel)),
    ...(await readRoutes(kernel, { reach: undefined })),
    ...(await readIpsec(components)),
  };
  const objects =
    what === 'all' ? leftovers(found, 'all') : traces.flatMap((trace) => leftoversOf(trace, found));
  const paths: string[] = [];
  for (const path of new Set(traces.flatMap((trace) => trace.files))) {
    if ((await files.read(path)) !== undefined) paths.push(path);
  }
  // A flanneld that was killed left its socket.
  paths.push(...(await socketsOf(components, options, what)));
  const users = new FastPathUsers(files, fastPathNote(options));
  const noted = what === 'all' ? [] : ((await users.devicesOf(what.prefix)) ?? []);
  const going = [...noted, ...objects.flatMap((object) => (object.kind === 'link' ? object.name : []))];
  const fast = await readFastPaths(components, what, new Set(going), found.links);
  return {
    operations: [...fast, ...objects].map((object): Operation => ({ verb: 'remove', object })),
    fastPaths: what === 'all' ? what : what.prefix,
    rules: rulesOf(components, traces, what === 'all'),
    tables: await tablesOf(components, traces, what === 'all'),
    files: paths,
  };
}

/** What the backend ipsec made, in the kernel and in a charon that runs. */
async function readIpsec({
  actuators = [],
}: HostComponents): Promise<Pick<FoundState, 'policies' | 'connections'>> {
  const policies: XfrmPolicy[] = [];
  const connections: IkeConnection[] = [];
  for (const actuator of actuators)
    await actuator.scan?.({ kinds: ['xfrm-policy', 'ike-connection'] }, (object) => {
      if (object.kind === 'xfrm-policy') policies.push(object);
      else if (object.kind === 'ike-connection') connections.push(object);
    });
  return { policies, connections };
}

/**
 * The fast paths of these devices, which go, and of devices that have gone already: settings, and hooks on other devices. Maps go with
 * them. A kernel without BPF has none.
 */
async function readFastPaths(
  { actuators = [], createLogger }: HostComponents,
  what: NetworkId | 'all',
  going: ReadonlySet<string>,
  links: readonly Link[],
): Promise<KernelObject[]> {
  const found: KernelObject[] = [];
  const there = new Set(links.map(({ name }) => name));
  for (const actuator of actuators)
    await actuator
      .scan?.({ kinds: ['fast-path', 'fast-hook'] }, (object) => {
        if (!('set' in object)) return;
        if (what === 'all' || going.has(object.set) || !there.has(object.set)) found.push(object);
      })
      .catch((error) =>
        createLogger('cleanup').verbose(1, `Could not look for fast paths: ${messageOf(error)}`),
      );
  return found;
}

function leftoversOf({ networks, config }: Trace, found: Parameters<typeof leftovers>[0]) {
  const network = { ...(config && networksOf(config.ranges)), ...networks };
  if (familiesOf(network).length === 0) return [];
  const trace: NetworkTrace = {
    network,
    ...(config !== undefined && { options: config.backend.options }),
  };
  return leftovers(found, trace);
}

/** What closes ports to plain packets. A kernel that can not list its tables has none. */
async function tablesOf(
  { ruleset }: HostComponents,
  traces: readonly Trace[],
  all: boolean,
): Promise<string[]> {
  const own = traces.flatMap(({ networks, config }) =>
    config === undefined
      ? []
      : sealsOf({ network: networks, options: config.backend.options }).map(sealedTableName),
  );
  const names = (await ruleset.tables('inet')) ?? [];
  return names
    .filter((name) => own.includes(name) || (all && SEALED_TABLE.test(name)))
    .map((name) => `inet ${name}`);
}

/** The rules under the names that each network had, and under flannel's own where nothing says otherwise. */
function rulesOf(
  { commands, files, ruleset, createLogger }: HostComponents,
  traces: readonly Trace[],
  all: boolean,
): RulesLeftover[] {
  const log = createLogger('cleanup');
  const overlays = traces.map(({ networks, subnets }): Overlays | undefined => {
    const found = overlaysOf(networks, subnets);
    return familiesOf(found).length === 0 ? undefined : found;
  });
  const instances = new Set(traces.map(({ remembered }) => remembered?.instance ?? ''));
  if (all) instances.add('');
  return [...instances].map((instance) => ({
    firewall: new Firewall({ commands, files, ruleset, log }, { mode: 'auto', instance }),
    bare: overlays.find((_, index) => (traces[index]?.remembered?.instance ?? '') === instance),
  }));
}

async function traceOf(
  { files }: HostComponents,
  options: FlanneldOptions,
  id: NetworkId,
  log: Logger,
): Promise<Trace> {
  const { stateFile, subnetFile } = artefactsOf(id, options);
  const remembered = await new Memory({ files, log }, stateFile).recall();
  const config = remembered && parsed(remembered.config);
  const previous = await readSubnetFile(files, subnetFile);
  // A file that two networks were given by mistake belongs to the network that it names.
  const isOurs =
    config === undefined ||
    familiesOf(previous.networks).length === 0 ||
    isOf(config.ranges, previous.networks);
  return {
    remembered,
    config,
    networks: isOurs || config === undefined ? previous.networks : networksOf(config.ranges),
    subnets: isOurs ? previous.subnets : {},
    files: isOurs ? [subnetFile, stateFile] : [stateFile],
  };
}

/** Whether a file names this network: the networks of the families that it has are the config's. */
const isOf = (ranges: Ranges, named: PerFamily<Prefix4, Prefix6>): boolean =>
  familiesOf(named).every((family) => {
    const [network, range] = [named[family], ranges[family]];
    return network !== undefined && range !== undefined && equalPrefix(network, range.network);
  });

/** Every network that left a file on this host. */
async function allTraces(
  components: HostComponents,
  options: FlanneldOptions,
  log: Logger,
): Promise<Trace[]> {
  const { files, folders } = components;
  const only = await traceOf(components, options, { prefix: options.etcdPrefix }, log);
  const traces = [only];
  for (const name of await folders.list(options.stateDir)) {
    if (!/^network-[0-9a-f]{12}\.json$/.test(name)) continue;
    const stateFile = join(options.stateDir, name);
    const remembered = await new Memory({ files, log }, stateFile).recall();
    const config = remembered && parsed(remembered.config);
    const networks = config === undefined ? {} : networksOf(config.ranges);
    traces.push({ remembered, config, networks, subnets: {}, files: [stateFile] });
  }
  for (const folder of new Set([subnetFolder(options), dirname(options.subnetFile)])) {
    for (const name of await folders.list(folder).catch(() => [])) {
      if (!name.endsWith('.env')) continue;
      const path = join(folder, name);
      const previous = await readSubnetFile(files, path);
      if (familiesOf(previous.networks).length === 0) continue;
      traces.push({
        remembered: undefined,
        config: undefined,
        ...previous,
        files: [path],
      });
    }
  }
  return traces;
}

/** The sockets that are there, whether or not somebody listens. */
async function socketsOf(
  { folders }: HostComponents,
  options: FlanneldOptions,
  what: NetworkId | 'all',
): Promise<string[]> {
  const paths = (await folders.list(options.stateDir)).map((name) => join(options.stateDir, name));
  if (what !== 'all') return paths.filter((path) => path === artefactsOf(what, options).socket);
  return paths.filter((path) => /\/network-[0-9a-f]{12}\.sock$/.test(path) || path === driverSocket(options));
}

async function refuseWhileRunning(
  components: HostComponents,
  options: FlanneldOptions,
  what: NetworkId | 'all',
): Promise<void> {
  const { locks } = components;
  const sockets = await socketsOf(components, options, what);
  const answers = await Promise.all(sockets.map((path) => askNode(path)));
  const unlock = what === 'all' ? undefined : await locks.claim(artefactsOf(what, options).lock);
  await unlock?.();
  const isLocked = what !== 'all' && unlock === undefined;
  if (!isLocked && answers.every((answer) => answer === undefined)) return;
  throw new WeftError('running', 'flanneld runs on this host, and would repair everything that is removed', {
    remedy: 'stop it first: systemctl stop flanneld',
  });
}

function parsed(config: string): NetworkConfig | undefined {
  try {
    return parseNetworkConfig(config);
  } catch {
    return undefined;
  }
}
