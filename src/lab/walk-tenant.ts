import type { Container } from '#src/lab/container.ts';
import { crossWire, type Hop, hop, linesOf } from '#src/lab/hop.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { WeftError } from '#src/lib/errors.ts';

/**
 * As `walkPacket`, between two containers of one of Docker's networks of weft, whose bridges are in the namespace `weft` of
 * each host. Throws WeftError `lab-walk` where the container is in no such bridge.
 */
export async function* walkTenant(from: Container, to: Container): AsyncGenerator<Hop, void, void> {
  const vni = await vniOf(from);
  const path: Path = { from, to, bridge: `br-${vni}`, tunnel: `vx-${vni}`, mac: '' };
  for (const look of [leaveContainer, findNeighbour, crossBridge, findHost, crossUnderlay, enterContainer]) {
    const seen = await look(path);
    yield seen;
    if (!seen.ok) return;
  }
}

interface Path {
  readonly from: Container;
  readonly to: Container;
  readonly bridge: string;
  readonly tunnel: string;
  /** That of the container at the other end, found on the way. */
  mac: string;
}

const inTenants = (words: string): string[] => ['ip', 'netns', 'exec', 'weft', ...words.split(' ')];

/** By the bridge that the container's other end is in: a MAC may be in several. */
async function vniOf(from: Container): Promise<string> {
  const [link] = await from.ip(['link', 'show', 'dev', 'eth0']);
  const { stdout } = await from.host.run(inTenants('ip -o link'));
  const port = stdout.split('\n').find((line) => line.startsWith(`${link?.link_index}: `));
  const vni = / master br-(\d+) /.exec(port ?? '')?.[1];
  if (vni !== undefined) return vni;
  throw new WeftError('lab-walk', `${from.name} is in no bridge of a Docker network of weft`, {
    remedy: 'the containers that "weft lab up --network" made can be walked between',
  });
}

async function leaveContainer({ from, to }: Path): Promise<Hop> {
  const words = `ip route get ${to.address}`;
  const about = `${to.address} is in the container's own subnet, though on another host: no gateway is on the way`;
  return hop(from.name, about, words, linesOf(await from.must(words.split(' ')), / dev eth0 /));
}

async function findNeighbour(path: Path): Promise<Hop> {
  const { from, to, bridge } = path;
  const words = `ip neigh show ${to.address} dev ${bridge}`;
  const seen = linesOf(await from.host.must(inTenants(words)), / PERMANENT/);
  path.mac = / lladdr (\S+)/.exec(seen[0] ?? '')?.[1] ?? '';
  const about =
    "the container's ARP request is answered by its own host, from the registry: it goes to no other host";
  return hop(from.host.name, about, `ip netns exec weft ${words}`, seen);
}

async function crossBridge({ from, bridge }: Path): Promise<Hop> {
  const words = `ip -br link show master ${bridge}`;
  const about = `the network's bridge, in a namespace of its own: the ports of its containers here, and the tunnel to the other hosts`;
  const seen = linesOf(await from.host.must(inTenants(words)), /^(p|vx-)/);
  return hop(from.host.name, about, `ip netns exec weft ${words}`, seen);
}

async function findHost({ from, to, tunnel, mac }: Path): Promise<Hop> {
  const words = `bridge fdb show dev ${tunnel}`;
  const seen = linesOf(
    await from.host.must(inTenants(words)),
    new RegExp(`^${mac} .*dst ${to.host.address} `),
  );
  const about = `that MAC is on ${to.host.address}: the frame is wrapped into a UDP packet and sent to this one host, never flooded`;
  return hop(from.host.name, about, `ip netns exec weft ${words}`, seen);
}

const crossUnderlay = (path: Path): Promise<Hop> => crossWire(path, 'the containers');

async function enterContainer({ from, to, bridge }: Path): Promise<Hop> {
  const { ms } = await pingOnce(from, to);
  const words = `ip -br link show master ${bridge}`;
  const ports = linesOf(await to.host.must(inTenants(words)), /^p/);
  const about = `unwrapped, the frame is in the bridge of the same number, and goes into ${to.name}, which answers the same way back`;
  const seen = ms === undefined ? [] : [...ports, `ping ${to.address}: answered in ${ms} ms`];
  return hop(to.host.name, about, `ip netns exec weft ${words}`, seen);
}
