import type { Container } from '#src/lab/container.ts';
import { crossWire, type Hop, hop, linesOf } from '#src/lab/hop.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { WeftError } from '#src/lib/errors.ts';

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
  const hops = [leaveContainer, crossBridge, findRoute, findVtep, findHost, crossUnderlay, enterContainer];
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

const crossUnderlay = (path: Path): Promise<Hop> => crossWire(path, "the tunnel's ends");

async function enterContainer({ from, to }: Path): Promise<Hop> {
  const { ms } = await pingOnce(from, to);
  const route = linesOf(await to.host.must(['ip', 'route', 'get', to.address]), / dev docker0 /);
  const about = `unwrapped, the packet goes through docker0 into ${to.name}, which answers the same way back`;
  const seen = ms === undefined ? [] : [...route, `ping ${to.address}: answered in ${ms} ms`];
  return hop(to.host.name, about, `ip route get ${to.address}`, seen);
}
