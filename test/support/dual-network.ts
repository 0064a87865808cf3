import assert from 'node:assert/strict';
import { type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { formatIpv6, ipv6, parsePrefix6 } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';
import {
  FLANNELD,
  flagsFor,
  PREFIX,
  startFlanneld,
  subnetOf,
  waitForRoute,
  writeConfig,
} from './flanneld.ts';
import { waitForAnswer } from './pings.ts';
import { type Owner, testLab } from './test-lab.ts';

export interface DualOptions {
  /** Default 3. */
  readonly api?: 2 | 3;
  readonly config: string;
  /** The flanneld of each host, in order. Default two of ours. */
  readonly programs?: readonly string[];
  /** Added to the flags of the scenario. */
  readonly flags?: readonly string[];
}

/** A host of a network of both families, with a container that has an address in each. */
export interface DualNode {
  readonly host: Host;
  /** `fd77::1` on the underlay. */
  readonly host6: string;
  readonly flags: readonly string[];
  /** `10.0.65`; empty where the network has no IPv4. */
  readonly subnet: string;
  /** `fd00:10:0:7::/64`; empty where the network has no IPv6. */
  readonly subnet6: string;
  readonly subnetEnv: string;
  readonly container: Container;
  /** Of the container; empty where the network has no IPv6. */
  readonly address6: string;
}

export interface DualNetwork {
  readonly lab: Lab;
  readonly etcd: Etcd;
  readonly one: DualNode;
  readonly two: DualNode;
}

/**
 * Two hosts whose underlay has both families, and containers as plain namespaces:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 *          └───────────────────────── br0 172.16.70.0/24, fd77::/64 ─────────────────────────┘
 *
 * Resolves when each host has its routes to the other.
 */
export async function dualNetwork(t: Owner, options: DualOptions): Promise<DualNetwork> {
  const { api = 3, config, programs = [FLANNELD, FLANNELD] } = options;
  const lab = await testLab(t, { hosts: programs.length });
  const etcd = await Etcd.start(lab);
  await writeConfig(etcd, api, config);
  const nodes: DualNode[] = [];
  for (const [n, host] of lab.hosts.entries()) {
    await giveIpv6(host, n + 1);
    const flags = [...flagsFor(host, etcd), ...(options.flags ?? [])];
    nodes.push(await startDualNode(host, `fd77::${n + 1}`, flags, programs[n]));
  }
  const [one, two] = nodes;
  assert.ok(one && two);
  await waitForRoutes(one, two);
  // A bridge that is new looks for duplicates of its own IPv6 address first (RFC 4862 §5.4).
  for (const to of [two.container.address, two.address6])
    if (to !== '') await waitForAnswer(one.container, to);
  return { lab, etcd, one, two };
}

/** An address of the underlay in IPv6, at once: nobody else has it. */
export const giveIpv6 = (host: Host, n: number): Promise<void> =>
  host.batch([`addr add fd77::${n}/64 dev eth0 nodad`]);

/** Starts flanneld, then a bridge and a container with an address in each family that subnet.env names. */
export async function startDualNode(
  host: Host,
  host6: string,
  flags: readonly string[],
  program: string = FLANNELD,
): Promise<DualNode> {
  const { subnetEnv } = await startFlanneld(host, flags, program);
  const saidAs = (name: string): string => new RegExp(`^${name}=(.+)$`, 'm').exec(subnetEnv)?.[1] ?? '';
  const [bip, bip6] = [saidAs('FLANNEL_SUBNET'), saidAs('FLANNEL_IPV6_SUBNET')];
  // The lab's containers have IPv4, as Docker's have: a network without it leaves that on the host.
  await makeBridge(host, { bip: bip || '192.168.250.1/24', mtu: Number(saidAs('FLANNEL_MTU')) });
  const container = await makeContainer(host, 'c');
  const gateway = parsePrefix6(bip6);
  let address6 = '';
  if (gateway !== undefined) {
    address6 = formatIpv6(ipv6(gateway.address + 1n));
    await host.batch([`addr add ${bip6} dev docker0 nodad`]);
    // dockerd does so with --ipv6, flannel does not, and ours has done it.
    if (program !== FLANNELD) await host.must(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1']);
    await container.batch([
      `addr add ${address6}/${gateway.length} dev eth0 nodad`,
      `route add ::/0 via ${formatIpv6(gateway.address)}`,
    ]);
  }
  const subnet6 = gateway === undefined ? '' : `${formatIpv6(ipv6(gateway.address - 1n))}/${gateway.length}`;
  return { host, host6, flags, subnet: bip && subnetOf(subnetEnv), subnet6, subnetEnv, container, address6 };
}

/** The route to an IPv6 subnet as `ip -6 route` prints it; empty while there is none. */
export const route6 = async (host: Host, subnet6: string): Promise<string> =>
  (await host.must(['ip', '-6', 'route', 'show', subnet6])).trim();

export async function waitForRoutes(...nodes: readonly DualNode[]): Promise<void> {
  for (const { host } of nodes) {
    for (const other of nodes) {
      if (other.host === host) continue;
      if (other.subnet !== '') await waitForRoute(host, other.subnet);
      if (other.subnet6 === '') continue;
      await until(async () => (await route6(host, other.subnet6)) !== '', {
        what: `route to ${other.subnet6} on ${host.name}`,
        timeoutMs: 15_000,
        signal: host.signal,
      });
    }
  }
}

/** The value of a node's lease of both families. */
export async function readDualLease(etcd: Etcd, api: 2 | 3, { subnet, subnet6 }: DualNode): Promise<string> {
  const key = `${PREFIX}/subnets/${subnet}.0-24&${subnet6.replace('/', '-')}`;
  return (await etcd.must(api, api === 2 ? ['get', key] : ['get', '--print-value-only', key])).trimEnd();
}

/** One echo request of exactly this many bytes of IP packet, which may not be fragmented. */
export async function wholePacket(from: Container, to: string, bytes: number): Promise<boolean> {
  const headers = to.includes(':') ? 48 : 28;
  const { code } = await from.run([
    'ping',
    '-n',
    '-c1',
    '-W5',
    '-M',
    'do',
    '-s',
    String(bytes - headers),
    to,
  ]);
  return code === 0;
}
