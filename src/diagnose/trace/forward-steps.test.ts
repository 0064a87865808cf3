import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Filtered,
  type Forwarded,
  filterStep,
  forwardingStep,
  forwardingSysctls,
  type RouteExpectation,
  routeStep,
} from '#src/diagnose/trace/forward-steps.ts';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { type Ipv4, parseIpv4, parsePrefix } from '#src/lib/ip.ts';
import type { Route } from '#src/state/object.ts';

const ipv4 = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);

const [FROM, TO, VTEP] = [ipv4('10.0.1.2'), ipv4('10.0.2.2'), ipv4('10.0.2.0')];
const WAY = { outcome: 'way', type: 'unicast', device: 'flannel.1', via: VTEP, table: 254 } as const;
const REFUSED = { outcome: 'refused', message: 'refused' } as const;
const [FORWARD, OF_DEVICE] = forwardingSysctls('docker0', TO);
const ON = new Map([FORWARD, OF_DEVICE].map((path) => [path ?? '', '1']));
const PACKET: Forwarded = {
  ...{ from: FROM, to: TO, by: 'docker0', decision: WAY, plain: WAY, sysctls: ON },
};

const FORWARDING: readonly (readonly [string, Partial<Forwarded>, RegExp?])[] = [
  ['on', {}],
  ['off', { sysctls: new Map([...ON.keys()].map((path) => [path, '0'])) }, /-w net\.ipv4\.ip_forward=1$/],
  [
    'off for the device',
    { sysctls: new Map([...ON, [OF_DEVICE ?? '', '0']]) },
    /conf\.docker0\.forwarding=1$/,
  ],
  ['a refused source', { decision: { ...REFUSED, errno: 'EXDEV' } }, /rp_filter=2/],
  ['a refused source, since Linux 6.13', { decision: { ...REFUSED, errno: 'EINVAL' } }, /rp_filter=2/],
  ['no route: that is the next hop', { decision: { ...REFUSED, errno: 'ENETUNREACH' } }],
  [
    'a source that a policy table refuses: that is the next hop',
    { decision: { ...REFUSED, errno: 'EXDEV' }, plain: { ...WAY, table: 200 } },
  ],
];

for (const [name, change, remedy] of FORWARDING) {
  test(`forwarding: ${name}`, () => {
    const step = forwardingStep({ ...PACKET, ...change }, false);
    assert.equal(step.ok, remedy === undefined);
    if (remedy !== undefined) assert.match(step.remedy ?? '', remedy);
  });
}

const WANTED: Route = {
  ...{ kind: 'route', type: 'unicast', via: VTEP, device: 'flannel.1', onlink: true },
  ...{ destination: parsePrefix('10.0.2.0/24') ?? assert.fail(), metric: 0, protocol: 0, scope: 0 },
};
const EXPECTED: RouteExpectation = { id: 'route', about: '', wanted: WANTED };
const ROUTES: readonly (readonly [string, Partial<Forwarded>, Partial<RouteExpectation>, RegExp?])[] = [
  ['the wanted one', {}, {}],
  ['by another device', { decision: { ...WAY, device: 'eth0' } }, {}, /^ip route replace 10\.0\.2\.0\/24/],
  ['by another gateway', { decision: { ...WAY, via: FROM } }, {}, /^ip route replace/],
  ['a policy table', { decision: { ...WAY, device: 'eth0', table: 200 } }, {}, /ip rule show/],
  ['none', { decision: { ...REFUSED, errno: 'ENETUNREACH' } }, {}, /^ip route replace/],
  ['nobody has a lease for it', {}, { nobody: 'see the leases' }, /^see the leases$/],
  ['it is not known which', { decision: { ...WAY, device: 'eth0' } }, { wanted: undefined }],
  [
    'a gateway where there is none',
    { decision: { ...WAY, device: 'docker0' } },
    { id: 'arrival-route', wanted: undefined, device: 'docker0', isOnLink: true, expected: 'dev docker0' },
    /in the way of dev docker0/,
  ],
];

for (const [name, change, expected, remedy] of ROUTES) {
  test(`the route: ${name}`, () => {
    const step = routeStep({ ...PACKET, ...change }, { ...EXPECTED, ...expected });
    assert.equal(step.ok, remedy === undefined);
    if (remedy !== undefined) assert.match(step.remedy ?? '', remedy);
  });
}

const filtered = (rule: string): Filtered => {
  const text = ['*filter', ':FORWARD ACCEPT [0:0]', rule, 'COMMIT'].join('\n');
  const iptables = [{ program: 'iptables', saved: parseIptablesSave(text) }];
  const way = { by: 'docker0', out: 'flannel.1', state: 'new' } as const;
  return { from: FROM, to: TO, ...way, filters: { iptables, nftables: [] } };
};

test('the packet filter: a rule that drops it is named, with the command that shows it', () => {
  const step = filterStep('forward-filter', '', filtered('-A FORWARD -i docker0 -j DROP'));
  assert.equal(step.ok, false);
  assert.match(step.found[0] ?? '', /^iptables, table filter, chain FORWARD: /);
  assert.equal(step.command, 'iptables -t filter -S FORWARD');
  assert.equal(filterStep('forward-filter', '', filtered('-A FORWARD -i eth0 -j DROP')).ok, true);
});

test('the packet filter: a ping stands for all packets', () => {
  assert.equal(filterStep('forward-filter', '', filtered('-A FORWARD -p icmp -j DROP')).ok, false);
  const tunnel = { protocol: 'udp', port: 8472 } as const;
  const udp = { ...filtered('-A FORWARD -p icmp -j DROP'), carries: tunnel };
  assert.equal(filterStep('forward-filter', '', udp).ok, true);
});
