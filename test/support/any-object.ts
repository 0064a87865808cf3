import fc from 'fast-check';
import { formatPrefix, ipv4, ipv6, prefix4, prefix6 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import { Secret } from '#src/lib/secret.ts';
import type {
  BridgePort,
  FdbEntry,
  IkeConnection,
  KernelObject,
  Link,
  Route,
  WireguardPeer,
  XfrmPolicy,
} from '#src/state/object.ts';

/** Few values of everything, so that objects often meet in a slot, and often differ there. */
const small = fc.integer({ min: 0, max: 2 });
const mac = small.map((n) => macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n)));
const device = fc.constantFrom('flannel.1', 'eth0');
const set = fc.constantFrom('flannel.1', 'flannel.2');
const ip4 = small.map((n) => ipv4(n * 0x7fffffff));
const ip = fc.oneof(
  small.map((n) => ipv4(n * 0x7fffffff)),
  small.map((n) => ipv6(BigInt(n) << 100n)),
);
const prefix = fc.oneof(
  fc.tuple(small, fc.constantFrom(24, 32)).map(([n, length]) => prefix4(ipv4(n * 0x7fffff00), length)),
  fc.tuple(small, fc.constantFrom(64, 128)).map(([n, length]) => prefix6(ipv6(BigInt(n) << 64n), length)),
);
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });

function withoutUndefined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

const link: fc.Arbitrary<Link> = fc
  .record({
    kind: fc.constant('link' as const),
    name: device,
    mac: optional(mac),
    mtu: optional(fc.constantFrom(1400, 1450)),
    up: optional(fc.boolean()),
    master: optional(fc.constantFrom('br-1', 'br-2', null)),
    bridge: optional(fc.boolean().map((multicastSnooping) => ({ multicastSnooping }))),
    ipip: optional(
      fc
        .record({
          local: optional(small.map((n) => ipv4(n * 0x7fffffff + 1))),
          ttl: small,
          pathMtuDiscovery: fc.boolean(),
        })
        .map((ipip) => withoutUndefined<NonNullable<Link['ipip']>>(ipip as never)),
    ),
    vxlan: optional(
      fc
        .record({
          vni: small,
          local: optional(ip),
          group: optional(ip),
          port: fc.constant(8472),
          learning: fc.boolean(),
          gbp: fc.boolean(),
          socketIn: optional(fc.constantFrom('host' as const, 'elsewhere' as const)),
        })
        .map((vxlan) => withoutUndefined<NonNullable<Link['vxlan']>>(vxlan as never)),
    ),
  })
  .map((fields) => withoutUndefined<Link>(fields as never));

const route: fc.Arbitrary<Route> = fc
  .record({
    kind: fc.constant('route' as const),
    destination: prefix,
    type: fc.constantFrom('unicast' as const, 'blackhole' as const),
    via: optional(ip),
    device: optional(device),
    onlink: fc.boolean(),
    metric: fc.constantFrom(0, 1, 1024),
    protocol: fc.constantFrom(3, 87),
    scope: fc.constantFrom(0, 253),
  })
  .map((fields) => withoutUndefined<Route>(fields as never));

export const anyPolicy: fc.Arbitrary<XfrmPolicy> = fc
  .record({
    kind: fc.constant('xfrm-policy' as const),
    direction: fc.constantFrom('in' as const, 'out' as const, 'fwd' as const),
    source: prefix,
    destination: prefix,
    action: fc.constantFrom('allow' as const, 'block' as const),
    priority: small,
    tunnel: optional(
      fc.record(
        { source: ip, destination: ip, requestId: fc.constantFrom(11, 12) },
        { noNullPrototype: true },
      ),
    ),
    other: optional(fc.constant('2 templates')),
  })
  .map((fields) => withoutUndefined<XfrmPolicy>(fields as never));

const ikeConnection: fc.Arbitrary<IkeConnection> = fc
  .record({
    kind: fc.constant('ike-connection' as const),
    local: ip,
    remote: ip,
    localSubnet: prefix,
    remoteSubnet: prefix,
    proposal: optional(fc.constantFrom('aes128gcm16', 'aes256')),
    encapsulated: optional(fc.boolean()),
    secret: optional(small.map((n) => Secret.ofText(String(n)))),
    isUp: fc.boolean(),
  })
  .map((fields) => withoutUndefined<IkeConnection>(fields as never));

const bridgePort: fc.Arbitrary<BridgePort> = fc
  .record({
    kind: fc.constant('bridge-port' as const),
    device,
    learning: optional(fc.boolean()),
    neighSuppress: optional(fc.boolean()),
    locked: optional(fc.boolean()),
  })
  .map((fields) => withoutUndefined<BridgePort>(fields as never));

const publicKey = small.map((n) => Buffer.alloc(32, n + 1).toString('base64'));

const wireguardPeer: fc.Arbitrary<WireguardPeer> = fc
  .record({
    kind: fc.constant('wireguard-peer' as const),
    device,
    publicKey,
    endpoint: fc.record({ ip, port: fc.constantFrom(51_820, 51_821) }),
    allowedIps: fc.uniqueArray(prefix, { maxLength: 2, selector: formatPrefix }),
    presharedKey: optional(small.map((n) => Secret.copyOf(new Uint8Array(32).fill(n + 1)))),
    keepalive: fc.constantFrom(0, 25),
  })
  .map((fields) => withoutUndefined<WireguardPeer>(fields as never));

/** An object of any kind. */
export const anyObject: fc.Arbitrary<KernelObject> = fc.oneof(
  link,
  bridgePort,
  fc.record({
    kind: fc.constant('bridge-fdb' as const),
    mac,
    bridge: fc.constantFrom('br-1', 'br-2'),
    device,
    static: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('address' as const), prefix, device }),
  fc
    .record({
      kind: fc.constant('fdb' as const),
      mac,
      destination: ip,
      device,
      permanent: fc.boolean(),
      via: optional(fc.constantFrom('weft-wg.1', 'weft-wg.2')),
    })
    .map((fields) => withoutUndefined<FdbEntry>(fields as never)),
  fc.record({ kind: fc.constant('neighbour' as const), ip, mac, device, permanent: fc.boolean() }),
  route,
  wireguardPeer,
  fc.record({
    kind: fc.constant('wireguard-device' as const),
    device,
    publicKey,
    listenPort: fc.constantFrom(51_820, 51_821),
    fwmark: fc.constantFrom(0, 1),
  }),
  anyPolicy,
  ikeConnection,
  fc.record({
    kind: fc.constant('sysctl' as const),
    path: fc.constantFrom('net/ipv4/ip_forward', 'net/ipv4/conf/flannel.1/forwarding'),
    value: fc.constantFrom('0', '1'),
  }),
  fc.record({
    kind: fc.constant('fast-path' as const),
    set,
    underlay: device,
    vtep: ip4,
    mac,
    vni: small,
    port: fc.constantFrom(8472, 4789),
    freshMs: fc.constantFrom(0, 1000),
    tcp: fc.boolean(),
    generation: small,
  }),
  fc.record({
    kind: fc.constant('fast-peer' as const),
    set,
    subnet: fc
      .tuple(small, fc.constantFrom(24, 32))
      .map(([n, length]) => prefix4(ipv4(n * 0x7fffff00), length)),
    vtep: ip4,
    mac,
  }),
  fc.record({ kind: fc.constant('fast-local' as const), set, ip: ip4, device, mac }),
  fc.record({
    kind: fc.constant('fast-hook' as const),
    set,
    device,
    program: fc.constantFrom(
      'from-container' as const,
      'from-wire' as const,
      'note-out' as const,
      'note-in' as const,
    ),
    isCurrent: fc.boolean(),
  }),
);
