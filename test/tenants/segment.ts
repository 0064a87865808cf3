import type { TestContext } from 'node:test';
import { linkLocalOf } from '#src/firewall/tenant-ports.ts';
import { monitorNftables } from '#src/kernel/nftables-monitor.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { type Ip, parseIp } from '#src/lib/ip.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { TableHost } from '#src/reconcile/rules/kept-table.ts';
import { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import { systemClock } from '#src/sys/clock.ts';
import { commandsIn, systemCommands } from '#src/sys/command.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { Namespace } from '../firewall/namespace.ts';
import { type FrameSocket, openFrames } from '../support/frames.ts';

/*
 * One tenant on two hosts, made by hand:
 *
 *     a 10.5.0.2 ─ pa ┐                                       ┌ pc ─ c 10.5.0.4
 *     b 10.5.0.3 ─ pb ┴ br-70001 ─ vx-70001 ══ UDP 8473 ══ vx-70001 ┘
 *     └──── namespace weft of h1 ────┘     ║               └ weft of h2 ┘
 *     a eth1 172.18.0.2 ─ docker_gwbridge ─ h1 192.0.2.1 ─┬─ h2 192.0.2.2
 *                          (masquerade)                   └─ stranger 192.0.2.9
 *
 * The bridges flood, and answer nothing themselves, so that a lie meets nothing but the rules.
 */
export const VNI = 70_001;
export const PORT = 8473;

export const ip = (text: string): Ip => {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new TypeError(`no address: ${text}`);
  return parsed;
};
export const mac = (text: string): Mac => {
  const parsed = parseMac(text);
  if (parsed === undefined) throw new TypeError(`no MAC: ${text}`);
  return parsed;
};

export interface Member {
  readonly namespace: Namespace;
  /** Its device in the bridge. */
  readonly port: string;
  readonly mac: Mac;
  readonly v4: Ip;
  readonly v6: Ip;
  readonly linkLocal: Ip;
  readonly frames: FrameSocket;
}

export interface SegmentHost {
  readonly host: Namespace;
  readonly weft: Namespace;
  readonly address: string;
}

export interface Segment {
  readonly h1: SegmentHost;
  readonly h2: SegmentHost;
  readonly stranger: Namespace;
  readonly a: Member;
  readonly b: Member;
  readonly c: Member;
}

export async function makeSegment(t: TestContext): Promise<Segment> {
  const underlay = await Namespace.make(t);
  await underlay.must('ip link add br0 type bridge mcast_snooping 0');
  await underlay.must('ip link set br0 up');
  const onUnderlay = async (number: number): Promise<Namespace> => {
    const namespace = await Namespace.make(t);
    await batch(namespace, [
      'link set lo up',
      `link add eth0 type veth peer name u${number} netns ${underlay.name}`,
      `addr add 192.0.2.${number}/24 dev eth0`,
      'link set eth0 up',
    ]);
    await batch(underlay, [`link set u${number} master br0 up`]);
    return namespace;
  };
  const makeHost = async (number: number): Promise<SegmentHost> => {
    const host = await onUnderlay(number);
    const weft = await Namespace.make(t);
    const address = `192.0.2.${number}`;
    await batch(host, [
      `link add vx-${VNI} mtu 1450 type vxlan id ${VNI} local ${address} remote 192.0.2.${3 - number} dstport ${PORT} nolearning`,
      `link set vx-${VNI} netns ${weft.name}`,
    ]);
    await batch(weft, [
      `link add br-${VNI} type bridge mcast_snooping 0`,
      `link set vx-${VNI} master br-${VNI} up`,
      `link set br-${VNI} up`,
    ]);
    return { host, weft, address };
  };
  const [h1, h2, stranger] = [await makeHost(1), await makeHost(2), await onUnderlay(9)];
  const a = await makeMember(t, h1, 'a', 2);
  const b = await makeMember(t, h1, 'b', 3);
  const c = await makeMember(t, h2, 'c', 4);
  await giveWayOut(h1.host, a.namespace);
  const namespaces = [underlay, stranger, ...[h1, h2].flatMap(({ host, weft }) => [host, weft])];
  for (const namespace of [...namespaces, a.namespace, b.namespace, c.namespace]) await carriersIn(namespace);
  return { h1, h2, stranger, a, b, c };
}

/**
 * The kernel notes a carrier by and by, and until then it drops what is sent, and a bridge forwards nothing to such a port. A
 * VXLAN device has no carrier that it could note.
 */
async function carriersIn(namespace: Namespace): Promise<void> {
  const areThere = async (): Promise<boolean> => {
    const text = await namespace.must('ip -j link show');
    const links = JSON.parse(text) as { ifname: string; operstate: string }[];
    return links.every(({ ifname, operstate }) => ifname === 'lo' || ['UP', 'UNKNOWN'].includes(operstate));
  };
  await until(areThere, { what: `carriers in ${namespace.name}` });
}

async function makeMember(
  t: TestContext,
  { weft }: SegmentHost,
  name: string,
  number: number,
): Promise<Member> {
  const namespace = await Namespace.make(t);
  const port = `p${name}`;
  const own = mac(`02:42:0a:05:00:0${number}`);
  await batch(namespace, [
    'link set lo up',
    `link add eth0 address ${own} mtu 1450 type veth peer name ${port} netns ${weft.name}`,
  ]);
  await batch(weft, [`link set ${port} master br-${VNI} up`]);
  await namespace.must('sysctl -qw net.ipv6.conf.eth0.dad_transmits=0');
  await batch(namespace, [
    'link set eth0 up',
    `addr add 10.5.0.${number}/24 dev eth0`,
    `addr add fd00:5::${number}/64 dev eth0 nodad`,
  ]);
  const [link] = JSON.parse(await namespace.must('ip -j link show eth0')) as { ifindex: number }[];
  return {
    namespace,
    port,
    mac: own,
    v4: ip(`10.5.0.${number}`),
    v6: ip(`fd00:5::${number}`),
    linkLocal: linkLocalOf(own),
    frames: await openFrames(t, pathOf(namespace), link?.ifindex ?? 0),
  };
}

/** As dockerd makes docker_gwbridge, with a container on it. */
async function giveWayOut(host: Namespace, container: Namespace): Promise<void> {
  await host.must('sysctl -qw net.ipv4.ip_forward=1');
  await batch(host, [
    'link add docker_gwbridge type bridge',
    'addr add 172.18.0.1/16 dev docker_gwbridge',
    'link set docker_gwbridge up',
    `link add gw type veth peer name eth1 netns ${container.name}`,
    'link set gw master docker_gwbridge up',
  ]);
  await batch(container, [
    'addr add 172.18.0.2/16 dev eth1',
    'link set eth1 up',
    'route add default via 172.18.0.1',
  ]);
  await host.must(
    'nft -f -',
    `table ip docker {
	chain postrouting {
		type nat hook postrouting priority 100;
		ip saddr 172.18.0.0/16 oifname != "docker_gwbridge" masquerade
	}
}
`,
  );
}

export async function batch(namespace: Namespace, lines: readonly string[]): Promise<void> {
  await namespace.must('ip -batch -', `${lines.join('\n')}\n`);
}

export const pathOf = ({ name }: Namespace): string => `/run/netns/${name}`;

export function tableHostOf(namespace: Namespace): TableHost {
  const components = { netlink: systemNetlink, clock: systemClock };
  const place = { namespace: pathOf(namespace) };
  return {
    commands: commandsIn(systemCommands, place.namespace),
    ruleset: new NftablesRuleset(components, place),
    watchRules: (listener, signal) => monitorNftables(components, place, listener, signal),
  };
}

/** Not started. Looks that no event asked for are further apart than any test. */
export const rulesOf = ({ host, weft }: SegmentHost, log: Logger = silentLogger): TenantRules =>
  new TenantRules(
    { inside: tableHostOf(weft), host: tableHostOf(host), clock: systemClock, log },
    { port: PORT, intervalMs: 600_000 },
  );

export const identityOf = ({ mac: own, v4, v6 }: Member) => ({ mac: own, addresses: [v4, v6] });

/** The rules of a host with its containers, kept until the signal aborts. */
export async function guard(
  signal: AbortSignal,
  host: SegmentHost,
  members: readonly Member[],
): Promise<TenantRules> {
  const rules = rulesOf(host);
  for (const member of members) await rules.setPort(member.port, identityOf(member));
  const other = host.address === '192.0.2.1' ? '192.0.2.2' : '192.0.2.1';
  await rules.setPeers({ vteps: [ip(other)], underlays: ['eth0'] });
  await rules.start(signal);
  if (rules.trouble !== undefined) throw new Error(rules.trouble);
  return rules;
}
