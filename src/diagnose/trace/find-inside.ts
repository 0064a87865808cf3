import type { Eye } from '#src/diagnose/trace/eye.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Ip } from '#src/lib/ip.ts';
import type { Address, Link } from '#src/state/object.ts';

/** A container's own network, as its namespace shows it. */
export interface Inside {
  readonly eye: Eye;
  /** The device with the address, in there. */
  readonly link: Link;
  readonly address: Address;
  /** The other end of the pair, on the host; absent when it is not among the devices that were asked for. */
  readonly port?: Link;
}

/** Files that stand for the network namespaces of this machine: the same one may be there under several. */
export type ListNamespaces = () => Promise<readonly string[]>;

/** What was found behind the ports. `complete`: the namespace behind each of them was looked into. */
export interface SearchInside {
  readonly inside: Inside | undefined;
  readonly complete: boolean;
}

/**
 * The container that has the address, behind one of the ports: a veth pair's end on the host. Other namespaces of the machine may
 * have the same address, so the pair decides, by the number of its other end's namespace.
 */
export async function findInside(
  eye: Eye,
  ports: readonly Link[],
  address: Ip,
  namespaces: ListNamespaces,
): Promise<SearchInside> {
  const numbers = await eye.numbersOf(await namespaces());
  let complete = true;
  for (const port of ports) {
    const path = port.peerNamespaceId === undefined ? undefined : numbers.get(port.peerNamespaceId);
    const looked = path === undefined ? 'closed' : await lookAt(eye, path, address, port);
    if (looked === 'closed') complete = false;
    else if (looked !== undefined) return { inside: looked, complete };
  }
  return { inside: undefined, complete };
}

/** `closed`: this process may not enter the namespace, or it has just gone. */
async function lookAt(
  eye: Eye,
  path: string,
  address: Ip,
  port: Link,
): Promise<Inside | 'closed' | undefined> {
  try {
    return await insideAt(eye.at(path), address, port);
  } catch (error) {
    if (error instanceof WeftError && error.code === 'netns') return 'closed';
    throw error;
  }
}

async function insideAt(eye: Eye, address: Ip, port: Link): Promise<Inside | undefined> {
  const [links, found] = await Promise.all([eye.kernel.links(), eye.kernel.dump({ kinds: ['address'] })]);
  const own = found.find(
    (object): object is Address => object.kind === 'address' && object.prefix.address === address,
  );
  const link = links.find(({ name, index }) => name === own?.device && index === port.peerIndex);
  return own === undefined || link === undefined ? undefined : { eye, link, address: own, port };
}

/** The devices in a bridge. */
export const portsOf = (links: readonly Link[], bridge: string): Link[] =>
  links.filter(({ master }) => master === bridge);
