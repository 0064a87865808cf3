import { parseIpv4 } from '#src/lib/ip.ts';
import type { Node } from './network.ts';

/** The two ends of a trace. */
export interface TracedPair {
  readonly one: Node;
  readonly two: Node;
}

/** Something that stops packets at one known hop. */
export interface TraceFault {
  readonly name: string;
  /** Commands, by where they run: a host, or the container on it. */
  readonly start: (pair: TracedPair) => Promise<unknown>;
  readonly end: (pair: TracedPair) => Promise<unknown>;
  /** `there h2 arrival-filter`; h1 has the first end, h2 the second. */
  readonly stopsAt: string;
}

type Where = 'h1' | 'h2' | 'c1' | 'c2';

/** Runs shell lines in one place; `$A` and `$B` are the containers' addresses, `$AS` and `$BS` their subnets, `$AG` and `$BG` their gateways, `$AV` and `$BV` the VTEPs, `$P1` and `$P2` the hosts'; `$NA` is A as a number, and so on. */
export const shellOn = (where: Where, script: string) => async (pair: TracedPair) => {
  const { one, two } = pair;
  const node = where.endsWith('1') ? one : two;
  const machine = where.startsWith('h') ? node.host : node.container;
  const words = {
    A: one.container.address,
    B: two.container.address,
    AS: `${one.subnet}.0/24`,
    BS: `${two.subnet}.0/24`,
    AV: `${one.subnet}.0`,
    BV: `${two.subnet}.0`,
    AG: `${one.subnet}.1`,
    BG: `${two.subnet}.1`,
    P1: one.host.address,
    P2: two.host.address,
  };
  const numbers = (['A', 'B', 'P1', 'P2'] as const).map((name) => `N${name}=${parseIpv4(words[name])}`);
  const variables = [...Object.entries(words).map(([name, value]) => `${name}=${value}`), ...numbers];
  await machine.must(['env', ...variables, 'sh', '-ec', script]);
};

const fault = (stopsAt: string, name: string, where: Where, start: string, end: string): TraceFault => ({
  ...{ name, stopsAt },
  start: shellOn(where, start),
  end: shellOn(where, end),
});

/** A chain of its own that drops something, and its end. */
const drop = (stopsAt: string, name: string, where: 'h1' | 'h2', hook: string, match: string): TraceFault =>
  fault(
    stopsAt,
    name,
    where,
    `nft "table inet trouble { chain c { type filter hook ${hook} priority 10; policy accept; ${match} drop; }; }"`,
    'nft delete table inet trouble',
  );

const CHANGE_MAC = `
  ip -o link show flannel.1 | sed "s/.*ether //; s/ .*//" > /run/own
  ip neigh show dev flannel.1 nud permanent | sed "s/^/neigh replace /; s/ PERMANENT/ dev flannel.1 nud permanent/" > /run/neighbours
  ip link set flannel.1 address 02:00:00:00:00:08`;
/** The kernel takes the neighbours away with the old MAC. */
const RESTORE_MAC = 'ip link set flannel.1 address $(cat /run/own); ip -batch /run/neighbours';

/** Each on a healthy network whose flanneld does not run, so that nothing is mended. */
export const TRACE_FAULTS: readonly TraceFault[] = [
  fault(
    'there h1 bridge',
    'the port is disabled',
    'h1',
    'bridge link set dev veth-c state 0',
    'bridge link set dev veth-c state 3',
  ),
  fault(
    'there h1 container',
    'a container without a default route',
    'c1',
    'ip route del default',
    'ip route add default via $AG',
  ),
  fault(
    'there h1 container',
    'a container whose device is down',
    'c1',
    'ip link set eth0 down',
    'ip link set eth0 up; ip route add default via $AG',
  ),
  fault(
    'there h1 bridge',
    'the port of the container is down',
    'h1',
    'ip link set veth-c down',
    'ip link set veth-c up',
  ),
  fault(
    'there h1 bridge',
    'the port is not in the bridge',
    'h1',
    'ip link set veth-c nomaster',
    'ip link set veth-c master docker0',
  ),
  fault('there h1 bridge', 'the bridge is down', 'h1', 'ip link set docker0 down', 'ip link set docker0 up'),
  fault(
    'there h1 forwarding',
    'forwarding is off',
    'h1',
    'sysctl -qw net.ipv4.ip_forward=0',
    'sysctl -qw net.ipv4.ip_forward=1',
  ),
  fault(
    'there h1 forwarding',
    'forwarding of the bridge is off',
    'h1',
    'sysctl -qw net.ipv4.conf.docker0.forwarding=0',
    'sysctl -qw net.ipv4.conf.docker0.forwarding=1',
  ),
  fault(
    'there h1 route',
    'a policy rule takes the range elsewhere',
    'h1',
    'ip route add default via 172.16.70.1 table 200; ip rule add to 10.0.0.0/16 lookup 200',
    'ip rule del to 10.0.0.0/16 lookup 200; ip route flush table 200',
  ),
  fault(
    'there h1 route',
    'the route to the peer is gone',
    'h1',
    'ip route del $BS',
    'ip route add $BS via $BV dev flannel.1 onlink',
  ),
  fault(
    'there h1 forward-filter',
    'the policy of FORWARD is DROP',
    'h1',
    'nft "table ip trouble { chain c { type filter hook forward priority 0; policy drop; }; }"',
    'nft delete table ip trouble',
  ),
  drop('there h1 forward-filter', 'a drop before routing', 'h1', 'prerouting', 'ip daddr $B'),
  drop('there h1 forward-filter', 'a drop behind routing', 'h1', 'postrouting', 'oifname flannel.1'),
  fault(
    'there h1 neighbour',
    "the neighbour of the peer's VTEP is gone",
    'h1',
    'MAC=$(ip neigh show $BV dev flannel.1 | sed "s/.*lladdr //; s/ .*//"); echo $MAC > /run/mac; ip neigh del $BV dev flannel.1',
    'ip neigh replace $BV lladdr $(cat /run/mac) dev flannel.1 nud permanent',
  ),
  fault(
    'there h1 neighbour',
    "the neighbour has another MAC than the peer's lease",
    'h1',
    'MAC=$(ip neigh show $BV dev flannel.1 | sed "s/.*lladdr //; s/ .*//"); echo $MAC > /run/mac; ip neigh replace $BV lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent',
    'ip neigh replace $BV lladdr $(cat /run/mac) dev flannel.1 nud permanent',
  ),
  fault(
    'there h1 fdb',
    'the forwarding entry is gone',
    'h1',
    'MAC=$(ip neigh show $BV dev flannel.1 | sed "s/.*lladdr //; s/ .*//"); echo $MAC > /run/mac; bridge fdb del $MAC dev flannel.1 dst $P2 self',
    'bridge fdb add $(cat /run/mac) dev flannel.1 dst $P2 self permanent',
  ),
  fault(
    'there h1 fdb',
    'the forwarding entry leads to another host',
    'h1',
    'MAC=$(ip neigh show $BV dev flannel.1 | sed "s/.*lladdr //; s/ .*//"); echo $MAC > /run/mac; bridge fdb replace $MAC dev flannel.1 dst 172.16.70.193 self permanent',
    'bridge fdb replace $(cat /run/mac) dev flannel.1 dst $P2 self permanent',
  ),
  fault('there h1 device', 'the VTEP has another MAC than it published', 'h1', CHANGE_MAC, RESTORE_MAC),
  fault(
    'there h1 underlay',
    'the underlay has no route to the peer',
    'h1',
    'ip route add unreachable $P2/32',
    'ip route del unreachable $P2/32',
  ),
  drop('there h1 output-filter', 'the wrapped packet is not let out', 'h1', 'output', 'udp dport 8472'),
  drop('there h2 input-filter', 'the wrapped packet is not let in', 'h2', 'input', 'udp dport 8472'),
  fault('there h2 arrival-device', "the peer's VTEP has another MAC", 'h2', CHANGE_MAC, RESTORE_MAC),
  fault(
    'there h2 arrival-forwarding',
    'the peer does not forward',
    'h2',
    'sysctl -qw net.ipv4.ip_forward=0',
    'sysctl -qw net.ipv4.ip_forward=1',
  ),
  fault(
    'there h2 arrival-forwarding',
    'the peer checks sources, and its route back leads elsewhere',
    'h2',
    'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=1; ip route replace $AS via 172.16.70.1; ',
    'sysctl -qw net.ipv4.conf.flannel/1.rp_filter=0; ip route replace $AS via $AV dev flannel.1 onlink',
  ),
  drop('there h2 arrival-filter', 'the peer drops what it forwards', 'h2', 'forward', 'ip daddr $B'),
  fault(
    'there h2 arrival-route',
    "the peer's bridge has no address",
    'h2',
    'ip addr del $BG/24 dev docker0',
    'ip addr add $BG/24 brd + dev docker0',
  ),
  fault(
    'there h2 arrival-bridge',
    'the port of the other container is down',
    'h2',
    'ip link set veth-c down',
    'ip link set veth-c up',
  ),
  fault(
    'there h2 arrival-bridge',
    'the bridge has a MAC that the container has no more',
    'h2',
    'ip neigh replace $B lladdr 02:00:00:00:00:06 dev docker0 nud permanent',
    'ip neigh del $B dev docker0',
  ),
  fault(
    'there h2 arrival-container',
    'the device of the other container is down',
    'c2',
    'ip link set eth0 down',
    'ip link set eth0 up; ip route add default via $BG',
  ),
  fault(
    'back h2 container',
    'the other container has no way back',
    'c2',
    'ip route del default',
    'ip route add default via $BG',
  ),
  fault(
    'back h2 route',
    'the peer has no route back',
    'h2',
    'ip route del $AS',
    'ip route add $AS via $AV dev flannel.1 onlink',
  ),
  drop(
    'back h2 forward-filter',
    'the peer drops answers',
    'h2',
    'forward',
    'ip saddr $B ct state established',
  ),
  drop('back h1 input-filter', 'answers are not let in', 'h1', 'input', 'udp dport 8472 ip saddr $P2'),
  drop('back h1 arrival-filter', 'answers are not forwarded', 'h1', 'forward', 'ip saddr $B'),
];
