import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceStep, fdbStep, neighbourStep, underlayStep } from '#src/diagnose/trace/tunnel-steps.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { type Ip, type Ipv4, parseIp, parseIpv4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { FdbEntry, Link, Neighbour } from '#src/state/object.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const ipv4 = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);

const MAC = mac('02:00:00:00:00:01');
const OTHER = mac('02:00:00:00:00:02');
const VTEP = ipv4('10.0.2.0');
const PEER = ipv4('172.16.70.192');
const DEVICE: Link = {
  ...{ kind: 'link', name: 'flannel.1', type: 'vxlan', mac: MAC, mtu: 1450, up: true, running: true },
  vxlan: { vni: 1, port: 8472, local: ip('172.16.70.191'), learning: false, gbp: false },
};

test('the neighbour: permanent, and with the MAC of the lease', () => {
  const wanted: Neighbour = { kind: 'neighbour', ip: VTEP, mac: MAC, device: 'flannel.1', permanent: true };
  const ok = (found?: Neighbour) => neighbourStep('flannel.1', VTEP, found, wanted).ok;
  assert.equal(ok(wanted), true);
  assert.equal(ok(undefined), false);
  assert.equal(ok({ ...wanted, permanent: false }), false);
  assert.equal(ok({ ...wanted, mac: OTHER }), false);
  // What a lease says is not known: any permanent one may be right.
  assert.equal(neighbourStep('flannel.1', VTEP, { ...wanted, mac: OTHER }, undefined).ok, true);
  assert.match(
    neighbourStep('flannel.1', VTEP, undefined, wanted).remedy ?? '',
    /^ip neigh replace 10\.0\.2\.0 /,
  );
});

test('the forwarding entry: to the host of the lease', () => {
  const wanted: FdbEntry = {
    ...{ kind: 'fdb', mac: MAC, destination: PEER, device: 'flannel.1', permanent: true },
  };
  assert.equal(fdbStep('flannel.1', MAC, wanted, wanted).ok, true);
  const elsewhere = { ...wanted, destination: ip('172.16.70.193') };
  assert.equal(fdbStep('flannel.1', MAC, elsewhere, wanted).ok, false);
  const missing = fdbStep('flannel.1', MAC, undefined, wanted);
  assert.deepEqual([missing.ok, missing.found], [false, [`no entry for ${MAC}`]]);
  assert.match(missing.remedy ?? '', /^bridge fdb replace 02:00:00:00:00:01 dev flannel\.1 dst 172/);
});

const ARRIVING = { mac: MAC, vni: 1, port: 8472 };
const DEVICES: readonly (readonly [string, Partial<Link> | undefined, Partial<typeof ARRIVING>, RegExp?])[] =
  [
    ['as it must be', {}, {}],
    ['of a smaller MTU: small packets pass', { mtu: 1400 }, {}],
    ['that is not there', undefined, {}, /there is no device flannel\.1/],
    ['that is down', { up: false }, {}, /flannel\.1 is down/],
    ['for another number', {}, { vni: 2 }, /the frame has VNI 2, not 1/],
    ['at another port', {}, { port: 4789 }, /UDP port 4789, not 8472/],
    ['with another MAC', { mac: OTHER }, {}, /the frame is for 02:00:00:00:00:01/],
  ];

for (const [name, found, arriving, why] of DEVICES) {
  test(`the tunnel's end: a device ${name}`, () => {
    const link = found && { ...DEVICE, ...found };
    const step = deviceStep('arrival-device', 'flannel.1', link, DEVICE, { ...ARRIVING, ...arriving });
    assert.equal(step.ok, why === undefined, step.found.join('; '));
    if (why !== undefined) assert.match(step.found.join('; '), why);
    assert.equal(step.remedy !== undefined, why !== undefined);
  });
}

test('in a bridge, frames for other MACs are taken', () => {
  const found = { ...DEVICE, mac: OTHER, master: 'br-1' };
  assert.equal(deviceStep('arrival-device', 'vx-1', found, undefined, ARRIVING).ok, true);
});

const WAY = { outcome: 'way', type: 'unicast', device: 'eth0', table: 254 } as const;
const ETH0: Link = { kind: 'link', name: 'eth0', up: true, running: true };
const UNDERLAYS: readonly (readonly [string, RouteDecision, Link | undefined, RegExp?])[] = [
  ['a route', WAY, ETH0],
  ['no route', { outcome: 'refused', errno: 'ENETUNREACH', message: 'no route' }, undefined, /no way/],
  ['an address of the host itself', { ...WAY, type: 'local' }, ETH0, /two hosts publish the same/],
  ['a device without a carrier', WAY, { ...ETH0, running: false }, /^ip link set eth0 up$/],
];

for (const [name, decision, link, remedy] of UNDERLAYS) {
  test(`the underlay: ${name}`, () => {
    const step = underlayStep(PEER, decision, link, 'eth0');
    assert.equal(step.ok, remedy === undefined);
    if (remedy !== undefined) assert.match(step.remedy ?? '', remedy);
  });
}
