import { type Dockerd, readDockerd } from '#src/diagnose/facts/dockerd.ts';
import { absentFact, type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { type Handshake, type HandshakeSources, readHandshakes } from '#src/diagnose/facts/handshakes.ts';
import {
  type IpRule,
  type PolicyRoute,
  readIpRules,
  readPolicyRoutes,
} from '#src/diagnose/facts/ip-rules.ts';
import { type LinkManager, readLinkManagers } from '#src/diagnose/facts/link-managers.ts';
import { type Offloads, readOffloads } from '#src/diagnose/facts/offloads.ts';
import { type OwnRules, type PacketFilter, readPacketFilter } from '#src/diagnose/facts/packet-filter.ts';
import { joinReach, type PeerReach, probesIn, readReach } from '#src/diagnose/facts/reach.ts';
import { type RegistrySeen, readRegistry } from '#src/diagnose/facts/registry.ts';
import { readSysctls, type Sysctls } from '#src/diagnose/facts/sysctls.ts';
import { conntrackSize, readNeighbourSize, type TableSize } from '#src/diagnose/facts/table-sizes.ts';
import { readUdpSockets, type UdpSocket } from '#src/diagnose/facts/udp-sockets.ts';
import {
  askDaemon,
  type DaemonAnswer,
  type KnownNetwork,
  type NetworkPlace,
  readKnownNetwork,
} from '#src/diagnose/known-network.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { OpenRegistryOptions } from '#src/registry/open-registry.ts';
import type { Address, FdbEntry, KernelObject, Link, Neighbour, Route } from '#src/state/object.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import type { AskHttp } from '#src/sys/http-question.ts';
import { kernelRelease } from '#src/sys/kernel-release.ts';
import type { ProcessList, RunningProgram } from '#src/sys/process-list.ts';
import type { Random } from '#src/sys/random.ts';
import type { UnixHttp } from '#src/sys/unix-http.ts';

/** The flags of flanneld by which a host is judged. */
export interface DiagnoseOptions {
  readonly registry: OpenRegistryOptions;
  /** Masquerading; subnet.env says it, too. */
  readonly ipMasq: boolean;
  readonly forwardRules: boolean;
  readonly randomFully: boolean;
  /** The bit by which Docker knows the overlay's packets; 0 for none. */
  readonly dockerMark: number;
  /** `--public-ip`: other hosts reach this one by an address that none of its devices has. */
  readonly publicIp: string;
  /** `--public-ipv6`: likewise. */
  readonly publicIpv6: string;
  readonly leaseTtlMs: number;
}

export interface DiagnoseComponents {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  readonly ruleset: Ruleset;
  readonly commands: CommandRunner;
  readonly files: Files;
  readonly folders: Folders;
  readonly clock: Clock;
  readonly random: Random;
  readonly processes: ProcessList;
  readonly ask: AskHttp;
  readonly http: UnixHttp;
  /** What WireGuard says of the peers of a device. */
  readonly reports: HandshakeSources['reports'];
}

/** All that a diagnosis reads of one network and its host. Reading changes nothing. */
export interface HostFacts {
  readonly place: NetworkPlace;
  readonly options: DiagnoseOptions;
  readonly daemon: DaemonAnswer;
  readonly network: Fact<KnownNetwork>;
  /** The text of subnet.env; `undefined` where there is no such file. */
  readonly subnetFile: string | undefined;
  readonly programs: readonly RunningProgram[];
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** Of the main table. */
  readonly routes: readonly Route[];
  /** On the overlay's devices. */
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  /** The kernel's way to the public IP of peers, by the lease's name; of the first of a large network. */
  readonly ways: ReadonlyMap<string, RouteLookup | undefined>;
  /** The same in each family in which a peer publishes an address. */
  readonly waysOfFamilies: ReadonlyMap<string, PerFamily<RouteLookup>>;
  readonly sysctls: Sysctls;
  readonly ipRules: Fact<readonly IpRule[]>;
  readonly policyRoutes: Fact<readonly PolicyRoute[]>;
  readonly sockets: Fact<readonly UdpSocket[]>;
  readonly dockerd: Fact<Dockerd>;
  readonly linkManagers: readonly LinkManager[];
  readonly offloads: Fact<Offloads>;
  readonly conntrack: Fact<TableSize>;
  readonly neighbourTable: Fact<TableSize>;
  readonly filter: Fact<PacketFilter>;
  readonly registry: Fact<RegistrySeen>;
  readonly reach: Fact<readonly PeerReach[]>;
  /** Types of device that the backend makes, and whether the kernel has them. */
  readonly modules: Fact<readonly ModuleSeen[]>;
  /** Absent where the network has no WireGuard device. */
  readonly handshakes: Fact<readonly Handshake[]>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface ModuleSeen {
  readonly module: string;
  readonly buildOption: string;
  /** Loaded or built in. */
  readonly loaded: boolean;
  /** Its file is among the running kernel's; `undefined` where these are not on this host. */
  readonly installed: boolean | undefined;
}

const NO_NETWORK =
  'nothing on this host says what the network should be: flanneld does not answer, and there is neither a state file nor a subnet.env';

/** So many peers' ways are looked up. */
const MOST_WAYS = 64;

/** Reads everything at once; each question has a deadline of its own. */
export async function readHostFacts(
  components: DiagnoseComponents,
  place: NetworkPlace,
  options: DiagnoseOptions,
  signal: AbortSignal,
): Promise<HostFacts> {
  const { kernel, commands, files, clock, processes } = components;
  // Alone: loading what reads the registry holds this process up, and flanneld would seem to be silent.
  const daemon = await askDaemon(place);
  const found = await readKnownNetwork(components, place, daemon);
  const network = found === undefined ? unknownFact(NO_NETWORK) : knownFact(found);
  const programs = processes.here();
  const devices = found?.backend?.devices ?? [];
  const subnetFile = await files.read(place.subnetFile).catch(() => undefined);
  const own = found && ownRulesOf(found, subnetFile, options);
  const registry = readRegistry(components, options.registry, found?.own?.lease, signal);
  const ipRules = readIpRules(commands);
  const policyRoutes = readPolicyRoutes(commands);
  const sockets = readUdpSockets(commands);
  const filter = readPacketFilter(components, own, signal);
  const dockerd = readDockerd(files, programs);
  const linkManagers = readLinkManagers(components, programs, devices);
  const reach =
    found === undefined
      ? Promise.resolve<HostFacts['reach']>(unknownFact(NO_NETWORK))
      : readReach({ ...components, now: () => clock.now() }, found, found.peers);
  const probes =
    daemon.state === 'running'
      ? components.http.get(place.socket, '/v1/peers', { timeoutMs: 1_000, signal })
      : undefined;
  const links = await kernel.links();
  const sysctls = await readSysctls(
    files,
    links.map(({ name }) => name),
  );
  const handshakes = handshakesOn(components, links, devices, signal);
  const objects = await kernel.dump({ kinds: ['address', 'route'] });
  const onDevices = (
    await Promise.all(devices.map((device) => kernel.dump({ kinds: ['neighbour', 'fdb'], device })))
  ).flat();
  return {
    place,
    options,
    daemon,
    network,
    subnetFile,
    programs,
    links,
    addresses: only(objects, 'address'),
    routes: only(objects, 'route'),
    neighbours: only(onDevices, 'neighbour'),
    fdb: only(onDevices, 'fdb'),
    ways: await readWays(kernel, found),
    waysOfFamilies: await readWaysOfFamilies(kernel, found),
    sysctls,
    ipRules: await ipRules,
    policyRoutes: await policyRoutes,
    sockets: await sockets,
    dockerd: await dockerd,
    linkManagers: await linkManagers,
    offloads: await readOffloads(
      commands,
      devices.find((device) => links.some(({ name }) => name === device)),
    ),
    conntrack: conntrackSize(sysctls),
    neighbourTable: await readNeighbourSize(files, sysctls),
    filter: await filter,
    registry: await registry,
    reach: withProbes(await reach, probesIn(await probes)),
    modules: await readModules(components, found),
    handshakes: await handshakes,
    now: clock.now(),
  };
}

async function handshakesOn(
  components: HandshakeSources,
  links: readonly Link[],
  devices: readonly string[],
  signal: AbortSignal,
): Promise<HostFacts['handshakes']> {
  const there = links.filter(({ name, type }) => type === 'wireguard' && devices.includes(name));
  if (there.length === 0) return absentFact('the network has no WireGuard device here');
  try {
    const names = there.map(({ name }) => name);
    return knownFact(await readHandshakes(components, names, signal));
  } catch (error) {
    return unknownFact(`WireGuard could not be asked: ${messageOf(error)}`);
  }
}

const only = <K extends KernelObject['kind']>(
  objects: readonly KernelObject[],
  kind: K,
): Extract<KernelObject, { kind: K }>[] =>
  objects.filter((object): object is Extract<KernelObject, { kind: K }> => object.kind === kind);

/** The rules that flanneld keeps, as far as its flags are known: subnet.env says whether it masquerades. */
export function wantedRulesOf(
  { networks, subnets, backend, underlay }: KnownNetwork,
  subnetFile: string | undefined,
  options: DiagnoseOptions,
): WantedRules | undefined {
  if (backend === undefined) return undefined;
  const { devices, underlay: byUnderlay } = backend.inbound;
  return {
    ...(networks.v4 && subnets.v4 && { v4: { network: networks.v4, subnet: subnets.v4 } }),
    ...(networks.v6 && subnets.v6 && { v6: { network: networks.v6, subnet: subnets.v6 } }),
    masquerade: options.ipMasq || /^FLANNEL_IPMASQ=true$/m.test(subnetFile ?? ''),
    forward: options.forwardRules,
    randomFully: options.randomFully,
    arriveBy: byUnderlay && underlay !== undefined ? [...devices, underlay.name] : devices,
    dockerMark: options.dockerMark,
  };
}

function ownRulesOf(
  network: KnownNetwork,
  subnetFile: string | undefined,
  options: DiagnoseOptions,
): OwnRules | undefined {
  const wanted = wantedRulesOf(network, subnetFile, options);
  const { config, instance } = network;
  // What is behind the names of its rules is known from the state file only.
  if (wanted === undefined || config === undefined) return undefined;
  return { wanted, mode: config.nftables ? 'nftables' : 'auto', instance };
}

const withProbes = (reach: HostFacts['reach'], probed: readonly PeerReach[]): HostFacts['reach'] =>
  reach.kind === 'known' ? knownFact(joinReach(reach.value, probed)) : reach;

async function readWays(
  kernel: DiagnoseComponents['kernel'],
  network: KnownNetwork | undefined,
): Promise<HostFacts['ways']> {
  const ways = new Map<string, RouteLookup | undefined>();
  for (const { lease, publicIp } of network?.peers.slice(0, MOST_WAYS) ?? [])
    if (publicIp !== undefined) ways.set(lease, await kernel.routeTo(publicIp));
  return ways;
}

async function readWaysOfFamilies(
  kernel: DiagnoseComponents['kernel'],
  network: KnownNetwork | undefined,
): Promise<HostFacts['waysOfFamilies']> {
  const ways = new Map<string, PerFamily<RouteLookup>>();
  for (const { lease, attributes } of network?.peers.slice(0, MOST_WAYS) ?? []) {
    const { publicIp, publicIpv6 } = attributes;
    const v4 = publicIp && (await kernel.routeTo(publicIp));
    const v6 = publicIpv6 && (await kernel.routeTo(publicIpv6));
    ways.set(lease, { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) });
  }
  return ways;
}

async function readModules(
  { files }: Pick<DiagnoseComponents, 'files'>,
  network: KnownNetwork | undefined,
): Promise<HostFacts['modules']> {
  if (network === undefined) return unknownFact(NO_NETWORK);
  if (network.requirements.length === 0) return absentFact('the backend needs nothing of the kernel');
  const list = await files.read(`/lib/modules/${kernelRelease()}/modules.dep`).catch(() => undefined);
  const builtIn = await files.read(`/lib/modules/${kernelRelease()}/modules.builtin`).catch(() => '');
  const modules = network.requirements.map(async ({ module, buildOption, evidence }) => ({
    module,
    buildOption,
    loaded:
      (await files.read(evidence).catch(() => undefined)) !== undefined ||
      builtIn?.includes(`/${module}.ko`) === true,
    installed: list === undefined ? undefined : list.includes(`/${module}.ko`),
  }));
  return knownFact(await Promise.all(modules));
}
