import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import type { Eye } from '#src/diagnose/trace/eye.ts';
import { findInside, type Inside, type ListNamespaces, portsOf } from '#src/diagnose/trace/find-inside.ts';
import { containsAddress, type Ip } from '#src/lib/ip.ts';
import type { Address, BridgePort, Link, Neighbour } from '#src/state/object.ts';

/** One host as a trace found it: its devices, and what is behind its bridge. */
export interface HostFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly ports: readonly BridgePort[];
  /** The containers' bridge: the device with an address of this host's subnet. */
  readonly bridge: Link | undefined;
  readonly gateway: Address | undefined;
  /** The container with the address that the trace is about; `undefined` when its namespace can't be found. */
  readonly inside: Inside | undefined;
  /** Every container behind the bridge was looked into, and none has the address. */
  readonly isNowhere: boolean;
  /** What the bridge knows of that address by ARP. */
  readonly neighbour: Neighbour | undefined;
}

/** Reads what both ends of a way have in common: a container's address, and the host's bridge. */
export async function readHost(
  eye: Eye,
  known: Pick<KnownNetwork, 'subnet' | 'backend'>,
  address: Ip,
  namespaces: ListNamespaces,
): Promise<HostFacts> {
  const objects = await eye.kernel.dump({ kinds: ['link', 'address', 'bridge-port'] });
  const links = objects.filter((object) => object.kind === 'link');
  const addresses = objects.filter((object) => object.kind === 'address');
  const ports = objects.filter((object) => object.kind === 'bridge-port');
  const gateway = gatewayOf(known, addresses, links);
  const bridge = links.find(({ name }) => name === gateway?.device);
  const neighbours =
    bridge === undefined ? [] : await eye.kernel.dump({ kinds: ['neighbour'], device: bridge.name });
  const candidates =
    bridge === undefined
      ? links.filter(({ peerNamespaceId }) => peerNamespaceId !== undefined)
      : [...portsOf(links, bridge.name), ...links.filter(({ type, master }) => type === 'veth' && !master)];
  const { inside, complete } = await findInside(eye, candidates, address, namespaces);
  const neighbour = neighbours.find(
    (object): object is Neighbour => object.kind === 'neighbour' && object.ip === address,
  );
  const isNowhere = inside === undefined && complete && bridge !== undefined;
  return { links, addresses, ports, bridge, gateway, inside, isNowhere, neighbour };
}

/** The address that containers have as their gateway; docker0's where two devices have one, as a half-made bridge may. */
function gatewayOf(
  { subnet, backend }: Pick<KnownNetwork, 'subnet' | 'backend'>,
  addresses: readonly Address[],
  links: readonly Link[],
): Address | undefined {
  const own = backend?.devices ?? [];
  const held = addresses.filter(
    ({ prefix, device }) =>
      containsAddress(subnet, prefix.address) &&
      prefix.length < (prefix.family === 4 ? 32 : 128) &&
      !own.includes(device),
  );
  return (
    held.find(({ device }) => links.some(({ name, type }) => name === device && type === 'bridge')) ?? held[0]
  );
}
