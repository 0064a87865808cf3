import assert from 'node:assert/strict';
import { basename } from 'node:path';
import type { TestContext } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { type Ip, parseIp } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { HOST_NAMESPACE, type KernelObject, KINDS, keyOf } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { networkNamespacePath, systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { until } from '#src/sys/until.ts';
import { type ScratchNamespace, scratchNamespace } from './scratch-namespace.ts';

/*
 * Hosts with tenants, as kernel state alone: each host is a namespace with eth0 on one switch, and has a second namespace
 * "weft" with the tenants' bridges and VXLAN devices, which a reconciler of its own keeps.
 */

export const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
export const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);
export const PORT = 8473;
const MTU = 1450;

/** A container of a tenant, in a namespace of its own. */
export interface TestContainer {
  readonly name: string;
  readonly vni: number;
  readonly ip: string;
  readonly ip6: string;
  readonly mac: Mac;
  readonly host: TenantHost;
  readonly namespace: ScratchNamespace;
}

export interface TenantHost {
  readonly vtep: string;
  readonly namespace: ScratchNamespace;
  /** Of the namespace "weft". */
  readonly weftPath: string;
  /** Runs a command in the namespace "weft". */
  readonly weft: (command: string) => string;
  readonly kernel: RtnetlinkKernel;
  readonly owner: Owner;
  /** The names of the devices in the namespace "weft" that a program made, sorted. */
  madeLinks(): Promise<string[]>;
  /** UDP packets to the tenants' port that have come to this host. */
  vxlanPackets(): number;
  want(objects: readonly KernelObject[]): Promise<void>;
  /** Resolves when what is wanted is in the kernel, and the reconciler has nothing left to try again. */
  isRight(what: string): Promise<void>;
}

const OWN_KINDS = ['link', 'bridge-port', 'address', 'fdb', 'bridge-fdb', 'neighbour', 'route'] as const;
/** With what the devices that all tenants share have in addition. */
const SHARED_KINDS = [...OWN_KINDS, 'bridge-vlan', 'vni'] as const;

const scopesOf = (kinds: Scope['kinds']): readonly Scope[] => [
  {
    kinds,
    owns: (object) =>
      (object.kind === 'bridge-fdb' && object.static) ||
      (object.kind === 'fdb' && object.permanent) ||
      (object.kind === 'neighbour' && object.permanent) ||
      object.kind === 'bridge-vlan' ||
      object.kind === 'vni' ||
      (object.kind === 'link' && !OF_THE_KERNEL.has(object.name)),
  },
];
/**
 * Linux puts these into each namespace, `lo` always and the others once the module of their tunnels is loaded
 * (ip-sysctl.rst: fb_tunnels_only_for_init_net). They can't be removed.
 */
const OF_THE_KERNEL: ReadonlySet<string> = new Set([
  'lo',
  'tunl0',
  'sit0',
  'ip6tnl0',
  'gre0',
  'gretap0',
  'erspan0',
  'ip6gre0',
  'ip_vti0',
  'ip6_vti0',
]);

let made = 0;

/** Hosts with the addresses 172.31.0.1 and on. */
export async function tenantHosts(
  t: TestContext,
  count: number,
  { shared = false }: { readonly shared?: boolean } = {},
): Promise<TenantHost[]> {
  const kinds = shared ? SHARED_KINDS : OWN_KINDS;
  const switchboard = scratchNamespace(t);
  switchboard.run('ip link add sw0 type bridge mcast_snooping 0');
  switchboard.run('ip link set sw0 up');
  const hosts: TenantHost[] = [];
  for (let number = 1; number <= count; number++) hosts.push(await tenantHost(t, switchboard, number, kinds));
  return hosts;
}

async function tenantHost(
  t: TestContext,
  switchboard: ScratchNamespace,
  number: number,
  kinds: Scope['kinds'],
): Promise<TenantHost> {
  const vtep = `172.31.0.${number}`;
  const namespace = scratchNamespace(t);
  switchboard.run(`ip link add s${number} type veth peer name eth0 netns ${basename(namespace.path)}`);
  switchboard.run(`ip link set s${number} master sw0 up`);
  namespace.run(`ip address add ${vtep}/24 dev eth0`);
  namespace.run('ip link set eth0 up');
  namespace.run('nft add table ip count');
  namespace.run('nft add chain ip count in { type filter hook prerouting priority 0 ; }');
  namespace.run(`nft add rule ip count in udp dport ${PORT} counter`);
  const name = `weft-test-${process.pid}-w${++made}`;
  await systemNetworkNamespaces.ensure(name);
  t.after(() => systemNetworkNamespaces.remove(name));
  const files = new NamespaceFiles(networkNamespacePath(name));
  // Devices in there speak no IPv6 of their own, but may have neighbours of it.
  await files.write('/proc/sys/net/ipv6/conf/default/addr_gen_mode', '1');
  const kernel = new RtnetlinkKernel(
    { netlink: systemNetlink },
    { namespace: networkNamespacePath(name), hostNamespace: namespace.path },
  );
  t.after(() => kernel.close());
  const reconciler = new Reconciler(
    { actuators: [kernel, new SysctlActuator({ files })], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const scopes = scopesOf(kinds);
  const owner = reconciler.own({ name: 'tenants', scopes: () => scopes });
  owner.allowRemoval();
  await reconciler.start(t.signal);
  let wanted: readonly KernelObject[] = [];
  return {
    vtep,
    namespace,
    weftPath: networkNamespacePath(name),
    weft: (command) => namespace.run(`ip netns exec ${name} ${command}`),
    kernel,
    owner,
    async madeLinks() {
      const names = (await kernel.links()).map(({ name }) => name);
      return names.filter((name) => !OF_THE_KERNEL.has(name)).sort();
    },
    vxlanPackets: () => Number(/packets (\d+)/.exec(namespace.run('nft list table ip count'))?.[1]),
    async want(objects) {
      wanted = objects;
      owner.set('own', objects);
      await owner.settled();
      assert.deepEqual(owner.status.failing, []);
    },
    async isRight(what) {
      await until(
        async () => {
          const found = new Map((await kernel.dump({ kinds })).map((object) => [keyOf(object), object]));
          return wanted.every((object) => {
            const there = found.get(keyOf(object));
            return there !== undefined && KINDS.of(object).isAsWanted(object, there);
          });
        },
        { what },
      );
      // What failed while something else was missing is tried again after a pause.
      await until(() => owner.status.failing.length === 0, { what: `end of failures: ${what}` }).catch(
        (error: Error) => assert.fail(`${error.message}: ${JSON.stringify(owner.status.failing)}`),
      );
    },
  };
}

/** A container with its far end of the pair moved in, as dockerd does. Its pair has to be wanted first: see {@link portOf}. */
export function moveIn({ name, namespace, host, ...container }: TestContainer): void {
  host.namespace.run(`ip link set w${name} netns ${basename(namespace.path)} name eth0`);
  namespace.run(`ip address add ${container.ip}/24 dev eth0`);
  namespace.run(`ip address add ${container.ip6}/64 dev eth0 nodad`);
  namespace.run('ip link set eth0 up');
}

/** The network of a VNI on a host: bridge and VXLAN device. */
export function networkOf(vni: number, { vtep }: TenantHost): KernelObject[] {
  const [bridge, device] = [`br-${vni}`, `vx-${vni}`];
  return [
    {
      kind: 'link',
      name: device,
      master: bridge,
      mtu: MTU,
      up: true,
      vxlan: { vni, local: ip(vtep), port: PORT, learning: false, gbp: false, socketIn: 'host' },
    },
    {
      kind: 'link',
      name: bridge,
      mac: mac('02:57:00:01:11:71'),
      mtu: MTU,
      up: true,
      bridge: { multicastSnooping: false },
    },
    {
      kind: 'bridge-port',
      device,
      learning: false,
      neighSuppress: true,
      flood: false,
      mcastFlood: false,
      bcastFlood: false,
    },
  ];
}

/** A container that is on this host. */
export function portOf({ name, vni, mac }: TestContainer, peerNamespace = HOST_NAMESPACE): KernelObject[] {
  const [bridge, device, peer] = [`br-${vni}`, `p${name}`, peerNamespace === 'host' ? `w${name}` : 'eth0'];
  return [
    {
      kind: 'link',
      name: device,
      master: bridge,
      mtu: MTU,
      up: true,
      veth: { peer, peerNamespace, peerMac: mac, peerMtu: MTU },
    },
    { kind: 'bridge-port', device, learning: false, locked: true },
    { kind: 'bridge-fdb', mac, bridge, device, static: true },
  ];
}

/** A container that is on another host. */
export function entriesOf({ vni, mac, host, ...container }: TestContainer): KernelObject[] {
  const [bridge, device] = [`br-${vni}`, `vx-${vni}`];
  const neighbour = { kind: 'neighbour', mac, device: bridge, permanent: true } as const;
  return [
    { kind: 'bridge-fdb', mac, bridge, device, static: true },
    { kind: 'fdb', mac, destination: ip(host.vtep), device, permanent: true },
    { ...neighbour, ip: ip(container.ip) },
    { ...neighbour, ip: ip(container.ip6) },
  ];
}
