import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  arrivalStep,
  bridgeStep,
  type ContainerFacts,
  containerStep,
} from '#src/diagnose/trace/container-steps.ts';
import type { Inside } from '#src/diagnose/trace/find-inside.ts';
import type { HostFacts } from '#src/diagnose/trace/host-facts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { type Ipv4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { Address, Link, Neighbour } from '#src/state/object.ts';

const ipv4 = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);
const address = (text: string, device: string): Address => ({
  ...{ kind: 'address', device, prefix: parsePrefix4(text) ?? assert.fail(text) },
});

const UP = { kind: 'link', up: true, running: true } as const;
const BRIDGE: Link = { ...UP, name: 'docker0', type: 'bridge' };
const PORT: Link = { ...UP, name: 'veth-c', master: 'docker0' };
const ETH0: Link = { ...UP, name: 'eth0', mac: mac('02:00:00:00:00:01') };
const [OWN, OTHER, GATEWAY] = [ipv4('10.0.1.2'), ipv4('10.0.2.2'), ipv4('10.0.1.1')];

const inside = (link: Partial<Link> = {}, port: Link | undefined = PORT): Inside => ({
  // Nothing of the container is read by the steps.
  eye: {} as Inside['eye'],
  link: { ...ETH0, ...link },
  address: address('10.0.1.2/24', 'eth0'),
  ...(port !== undefined && { port }),
});

const facts = (change: Partial<HostFacts> = {}): ContainerFacts => ({
  host: {
    ...{ links: [BRIDGE, PORT], addresses: [], ports: [], bridge: BRIDGE, isNowhere: false },
    ...{ gateway: address('10.0.1.1/24', 'docker0'), inside: inside(), neighbour: undefined, ...change },
  },
  address: OWN,
  subnet: parsePrefix4('10.0.1.0/24') ?? assert.fail(),
});

const WAY = { outcome: 'way', type: 'unicast', device: 'eth0', table: 254 } as const;
const BY_BRIDGE: RouteDecision = { ...WAY, via: GATEWAY };

test('the container: its route has to lead to the bridge', () => {
  const ok = (decision: RouteDecision | undefined, change: Partial<HostFacts> = {}) =>
    containerStep(facts(change), OTHER, decision).ok;
  assert.equal(ok(BY_BRIDGE), true);
  assert.equal(ok({ ...WAY, via: OTHER }), false);
  assert.equal(ok(WAY), false);
  assert.equal(ok({ outcome: 'refused', errno: 'ENETUNREACH', message: 'no route' }), false);
  assert.equal(ok(BY_BRIDGE, { inside: inside({ up: false }) }), false);
});

test('the container: to one of the same host without a gateway', () => {
  assert.equal(containerStep(facts(), ipv4('10.0.1.3'), WAY, true).ok, true);
  assert.equal(containerStep(facts(), ipv4('10.0.1.3'), BY_BRIDGE, true).ok, false);
});

test('a container that nobody can look into is unknown, and one that is nowhere is not ok', () => {
  const unseen = { inside: undefined };
  assert.equal(containerStep(facts(unseen), OTHER, undefined).ok, 'unknown');
  assert.equal(arrivalStep(facts(unseen)).ok, 'unknown');
  const nowhere = arrivalStep(facts({ ...unseen, isNowhere: true }));
  assert.deepEqual([nowhere.ok, nowhere.found], [false, ['no container behind this bridge has 10.0.1.2']]);
});

test('it is there: its device has to be up', () => {
  assert.equal(arrivalStep(facts()).ok, true);
  assert.equal(arrivalStep(facts({ inside: inside({ up: false }) })).ok, false);
});

const NEIGHBOUR: Neighbour = {
  ...{ kind: 'neighbour', ip: OWN, mac: mac('02:00:00:00:00:09'), device: 'docker0', permanent: false },
};
const BRIDGES: readonly (readonly [string, Partial<HostFacts>, boolean | 'unknown', RegExp?])[] = [
  ['as it must be', {}, true],
  ['no bridge', { bridge: undefined }, false, /systemctl restart docker/],
  ['down', { bridge: { ...BRIDGE, up: false } }, false, /^ip link set docker0 up$/],
  ['the port is down', { inside: inside({}, { ...PORT, up: false }) }, false, /^ip link set veth-c up$/],
  [
    'the port is in no bridge',
    { inside: inside({}, { ...PORT, master: null }) },
    false,
    /^ip link set veth-c master docker0$/,
  ],
  [
    'the port is disabled',
    { ports: [{ kind: 'bridge-port', device: 'veth-c', state: 0 }] },
    false,
    /^bridge link set dev veth-c state 3$/,
  ],
  [
    "the container's end has just gone down",
    { inside: inside({ up: false }), ports: [{ kind: 'bridge-port', device: 'veth-c', state: 0 }] },
    true,
  ],
  [
    'a neighbour with another MAC than the container',
    { neighbour: NEIGHBOUR },
    false,
    /^ip neigh del 10\.0\.1\.2 dev docker0$/,
  ],
  ['the port is not known', { inside: undefined }, 'unknown'],
  [
    'no port at all',
    { inside: undefined, bridge: { ...BRIDGE, running: false } },
    false,
    /start a container/,
  ],
];

for (const [name, change, ok, remedy] of BRIDGES) {
  test(`the bridge that the packet arrives at: ${name}`, () => {
    const step = bridgeStep(facts(change), true);
    assert.equal(step.ok, ok, step.found.join('; '));
    if (remedy !== undefined) assert.match(step.remedy ?? '', remedy);
  });
}

test('on the way out the bridge needs no neighbour', () => {
  assert.equal(bridgeStep(facts({ neighbour: NEIGHBOUR }), false).ok, true);
});
