import { Capture } from '#src/lab/capture.ts';
import type { Container } from '#src/lab/container.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { decodeVxlan, type VxlanFrame } from '#src/lab/vxlan-frame.ts';
import { WeftError } from '#src/lib/errors.ts';
import { until } from '#src/sys/until.ts';

/** After the ping was answered, or not. */
const CAUGHT_MS = 2_000;

/** One place that a packet passes. */
export interface Hop {
  /** Where: a container or host. */
  readonly place: string;
  /** What happens there, for readers who do not know VXLAN. */
  readonly about: string;
  /** The command that shows it. */
  readonly command: string;
  /** The relevant lines of its output. */
  readonly seen: readonly string[];
  /** Whether it is as it must be. */
  readonly ok: boolean;
}

/**
 * Sends one packet from a container to one on another host and shows each hop with ordinary tools, the frame on the
 * wire included. Stops after the first hop that is not as it must be. For the vxlan backend: throws WeftError `lab-walk`
 * on a host without its device.
 */
export async function* walkPacket(
  from: Container,
  to: Container,
  device = 'flannel.1',
): AsyncGenerator<Hop, void, void> {
  const hops = [leaveContainer, crossBridge, findRoute, findVtep, findHost, crossWire, enterContainer];
  if ((await from.host.run(['ip', 'link', 'show', device])).code !== 0) {
    throw new WeftError('lab-walk', `${from.host.name} has no device ${device}`, {
      remedy: 'only a network with the backend vxlan can be walked',
    });
  }
  const path: Path = { from, to, device, nextHop: '', mac: '' };
  for (const look of hops) {
    const hop = await look(path);
    yield hop;
    if (!hop.ok) return;
  }
}

interface Path {
  readonly from: Container;
  readonly to: Container;
  readonly device: string;
  /** Found on the way: the route's gateway, and the MAC it has on the overlay. */
  nextHop: string;
  mac: string;
}

async function leaveContainer({ from, to }: Path): Promise<Hop> {
  const seen = linesOf(await from.must(['ip', 'route', 'get', to.address]), / via /);
  const about = `${to.address} is not in the container's own subnet: the packet goes to its gateway, the bridge`;
  return hop(from.name, about, `ip route get ${to.address}`, seen);
}

async function crossBridge({ from }: Path): Promise<Hop> {
  const seen = linesOf(await from.host.must(['ip', '-br', 'link', 'show', 'master', 'docker0']), /veth/);
  const about = 'a veth pair, a cable in software, ends in the bridge docker0 of the host';
  return hop(from.host.name, about, 'ip -br link show master docker0', seen);
}

async function findRoute(path: Path): Promise<Hop> {
  const { from, to, device } = path;
  const subnet = to.address.replace(/\.\d+$/, '.0/24');
  const seen = linesOf(await from.host.must(['ip', 'route', 'show', subnet]), new RegExp(`dev ${device}`));
  path.nextHop = / via (\S+)/.exec(seen[0] ?? '')?.[1] ?? '';
  const about = `the other host's whole subnet lies behind ${device}, the overlay's device`;
  return hop(from.host.name, about, `ip route show ${subnet}`, seen);
}

async function findVtep(path: Path): Promise<Hop> {
  const { from, device, nextHop } = path;
  const seen = linesOf(await from.host.must(['ip', 'neigh', 'show', nextHop, 'dev', device]), /PERMANENT/);
  path.mac = / lladdr (\S+)/.exec(seen[0] ?? '')?.[1] ?? '';
  const about =
    "the MAC of the other host's tunnel end is known from the registry, so no ARP request is sent";
  return hop(from.host.name, about, `ip neigh show ${nextHop} dev ${device}`, seen);
}

async function findHost({ from, to, device, mac }: Path): Promise<Hop> {
  const seen = linesOf(
    await from.host.must(['bridge', 'fdb', 'show', 'dev', device]),
    new RegExp(`^${mac} .*dst ${to.host.address} `),
  );
  const about = `that MAC is behind ${to.host.address}: the frame is wrapped into a UDP packet and sent to this one host, never flooded`;
  return hop(from.host.name, about, `bridge fdb show dev ${device}`, seen);
}

async function crossWire({ from, to }: Path): Promise<Hop> {
  const filter = `udp and src host ${from.host.address} and dst host ${to.host.address}`;
  const capture = await Capture.start(to.host, 'eth0', filter);
  try {
    await pingOnce(from, to);
    const caught = async () =>
      (await capture.frames())
        .map(decodeVxlan)
        .find((it) => it?.innerIp.source === from.address && it.innerIp.destination === to.address);
    // tcpdump writes the packet a little later.
    const waiting = { what: 'frame', timeoutMs: CAUGHT_MS, signal: to.signal };
    const frame = await until(caught, waiting).catch((error: unknown) => {
      if (to.signal?.aborted) throw error;
      return undefined;
    });
    const about = 'on the wire: a UDP packet from host to host like any other, with the whole frame in it';
    return hop(
      to.host.name,
      about,
      `tcpdump -i eth0 -T vxlan ${filter}`,
      frame === undefined ? [] : layersOf(frame),
    );
  } finally {
    await capture.stop();
  }
}

async function enterContainer({ from, to }: Path): Promise<Hop> {
  const { ms } = await pingOnce(from, to);
  const route = linesOf(await to.host.must(['ip', 'route', 'get', to.address]), / dev docker0 /);
  const about = `unwrapped, the packet goes through docker0 into ${to.name}, which answers the same way back`;
  const seen = ms === undefined ? [] : [...route, `ping ${to.address}: answered in ${ms} ms`];
  return hop(to.host.name, about, `ip route get ${to.address}`, seen);
}

/** The layers of a VXLAN packet, one a line, outermost first. */
function layersOf(frame: VxlanFrame): string[] {
  const { outerEthernet, outerIp, udp, vxlan, innerEthernet, innerIp } = frame;
  const names: Readonly<Record<number, string>> = { 1: 'ICMP', 6: 'TCP', 17: 'UDP' };
  return [
    `Ethernet  ${outerEthernet.source} > ${outerEthernet.destination}`,
    `  IP        ${outerIp.source} > ${outerIp.destination}   the hosts`,
    `    UDP       port ${udp.sourcePort} > ${udp.destinationPort}`,
    `      VXLAN     flags 0x${vxlan.flags.toString(16).padStart(2, '0')}, network (VNI) ${vxlan.vni}`,
    `        Ethernet  ${innerEthernet.source} > ${innerEthernet.destination}   the tunnel's ends`,
    `          IP        ${innerIp.source} > ${innerIp.destination}   the containers`,
    `            ${names[innerIp.protocol] ?? `protocol ${innerIp.protocol}`}, ${frame.length} bytes in all, ${frame.overhead} of them the wrapper`,
  ];
}

const hop = (place: string, about: string, command: string, seen: readonly string[]): Hop => ({
  place,
  about,
  command,
  seen,
  ok: seen.length > 0,
});

const linesOf = (text: string, pattern: RegExp): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => pattern.test(line));
