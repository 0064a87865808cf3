import { equalPrefix, ipv4, masked, netmask4, type Prefix4, prefix4 } from '#src/lib/ip.ts';

/**
 * Whether the kernel's IPv4 routes, as /proc/net/route lists them (`fib_route_seq_show`, net/ipv4/fib_trie.c), send
 * exactly this prefix through a gateway. What `ip route show | grep "PREFIX via"` would find.
 */
export function hasGatewayRoute(procNetRoute: string, prefix: Prefix4): boolean {
  return procNetRoute
    .split('\n')
    .slice(1)
    .some((line) => {
      const [, destination, gateway, , , , , mask] = line.split('\t');
      if (destination === undefined || gateway === undefined || mask === undefined) return false;
      const length = LENGTH_OF_MASK.get(hostOrder(mask));
      if (length === undefined || hostOrder(gateway) === 0) return false;
      return equalPrefix(prefix4(hostOrder(destination), length), masked(prefix));
    });
}

const LENGTH_OF_MASK = new Map(Array.from({ length: 33 }, (_, length) => [netmask4(length), length]));

/** The kernel prints a big-endian word as the machine's own: both of Node's Linux architectures are little-endian. */
function hostOrder(hex: string): ReturnType<typeof ipv4> {
  const word = Number.parseInt(hex, 16);
  return ipv4(((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24));
}
