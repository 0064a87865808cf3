import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, formatPrefix, parseIp, parseIpv4, parsePrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { addressesToAvoid, overlapRulesOf, refuseOverlap } from '#src/node/overlap.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';
import { type Route, RTPROT_KERNEL, RTPROT_WEFT } from '#src/state/object.ts';

const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const route = (destination: string, device: string, via?: string): Route => ({
  kind: 'route',
  destination: prefix(destination),
  type: 'unicast',
  device,
  ...(via !== undefined && { via: ip(via) }),
  onlink: false,
  metric: 0,
  protocol: RTPROT_KERNEL,
  scope: 0,
});
const config = (fields: string) => parseNetworkConfig(`{${fields},"Backend":{"Type":"vxlan"}}`);
const WHOLE = config('"Network":"10.0.0.0/8"');
const DOCUMENTED = config(
  '"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0"',
);
const LINKS = [
  { kind: 'link', name: 'eth0' },
  { kind: 'link', name: 'docker0', type: 'bridge' },
  { kind: 'link', name: 'flannel.1', type: 'vxlan' },
] as const;

/** The error's text, and the warnings, of a start on a host with these routes. */
function judge(network: typeof WHOLE, routes: readonly Route[], allowed = false) {
  const warnings: string[] = [];
  const log = { ...silentLogger, warning: (text: string) => warnings.push(text) };
  const facts = { routes, links: LINKS, underlay: 'eth0', ownDevices: ['flannel.1'], allowed };
  try {
    refuseOverlap(network.ranges, facts, log);
    return { warnings };
  } catch (error) {
    return { refused: (error as Error).message, warnings };
  }
}
const HOSTS = route('10.240.0.0/16', 'eth0');

test('the hosts’ network is refused where it is handed out', () => {
  assert.deepEqual(judge(WHOLE, [HOSTS]), {
    refused:
      "the subnets 10.0.1.0 to 10.255.255.0 (/24) of the network 10.0.0.0/8 overlap this host's route 10.240.0.0/16 dev eth0",
    warnings: [],
  });
});

test('flannel’s documented example: the hosts’ network is in the network, and not handed out', () => {
  assert.deepEqual(judge(DOCUMENTED, [HOSTS]), { warnings: [] });
  assert.match(judge(DOCUMENTED, [route('10.50.0.0/24', 'eth0')]).refused ?? '', /10\.50\.0\.0\/24 dev eth0/);
});

test('with the operator’s permission it is a warning', () => {
  const { refused, warnings } = judge(WHOLE, [HOSTS], true);
  assert.equal(refused, undefined);
  assert.equal(warnings.length, 1);
});

test('what is ours, on a bridge, or behind a gateway is not refused', () => {
  const before: Route = { ...route('10.5.9.0/24', 'eth0'), protocol: RTPROT_WEFT };
  const ours = [route('10.5.0.0/24', 'flannel.1'), route('10.5.1.0/24', 'docker0'), before];
  assert.deepEqual(judge(WHOLE, ours), { warnings: [] });
  // A flannel's route to one subnet is replaced; a route to everything private is partly hidden.
  const gateway = [route('10.5.2.0/24', 'eth0', '192.0.2.1'), route('10.0.0.0/8', 'eth0', '192.0.2.1')];
  assert.equal(judge(WHOLE, gateway).warnings.length, 1);
});

const UNDERLAY: Underlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip('10.240.0.5') },
  publicIp: { v4: ip('10.240.0.5') },
  prefixes: [prefix('10.240.0.0/16')],
  gateways: [ip('10.240.0.1')],
  chosenBy: 'the default route',
};
const OPTIONS = {
  allowOverlap: true,
  etcdEndpoints: ['http://10.3.3.3:2379', 'https://etcd.example:2379', 'http://[fd00::3]:2379', 'junk'],
};

test('what a host needs: itself, its gateways, and the servers that are known by address', () => {
  const { needed, connected, allowed } = overlapRulesOf(WHOLE.ranges, UNDERLAY, OPTIONS);
  assert.deepEqual(
    needed.map(({ ip }) => formatIp(ip)),
    ['10.240.0.5', '10.240.0.1', '10.3.3.3', formatIp(parseIp('fd00::3') ?? assert.fail())],
  );
  assert.deepEqual(connected.map(formatPrefix), ['10.240.0.0/16']);
  assert.equal(allowed, true);
});

test('a new subnet avoids those of them that could be handed out', () => {
  const avoid = (network: typeof WHOLE) =>
    addressesToAvoid(overlapRulesOf(network.ranges, UNDERLAY, OPTIONS)).map(formatPrefix);
  assert.deepEqual(avoid(WHOLE), ['10.240.0.5/32', '10.240.0.1/32', '10.3.3.3/32']);
  assert.deepEqual(avoid(DOCUMENTED), []);
});

test('an IPv6 address of this host on a device of an earlier path is no network of others', () => {
  const both = config('"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10::/48"');
  assert.deepEqual(judge(both, [route('fd00:10:0:7::/128', 'flannel-v6.9')]), { warnings: [] });
  assert.match(judge(both, [route('fd00:10:0:7::/64', 'eth1')]).refused ?? '', /overlap this host's route/);
});
