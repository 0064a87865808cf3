import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendPlace, BackendUnderlay } from '#src/backend/backend.ts';
import { deriveMac } from '#src/backend/derive-mac.ts';
import { vxlan } from '#src/backend/vxlan-kind.ts';
import { type Ipv4, type Ipv6, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Link } from '#src/state/object.ts';

const V4 = { v4: (parsePrefix('10.5.0.0/16') ?? assert.fail()) as Prefix4 };
const V6 = { v6: (parsePrefix('fd05::/48') ?? assert.fail()) as Prefix6 };
const ADDRESS = {
  v4: (parseIp('192.0.2.1') ?? assert.fail()) as Ipv4,
  v6: (parseIp('2001:db8::1') ?? assert.fail()) as Ipv6,
};
const UNDERLAY: BackendUnderlay = { name: 'eth0', mtu: 1500, address: ADDRESS, publicIp: ADDRESS };
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);
const FOUND_MAC = mac('02:00:00:00:00:01');
const LEASE_MAC = mac('02:00:00:00:00:02');

const prepare = (options: object = {}, place: Partial<BackendPlace> = {}) =>
  vxlan.prepare({
    network: V4,
    options: new GoObject(JSON.parse(JSON.stringify(options)), 'Backend.'),
    identity: 'node',
    links: [],
    instance: 'a1b2',
    ...place,
  });
const link = (given: Partial<Link>): Link => ({ kind: 'link', name: 'flannel.1', type: 'vxlan', ...given });

test('the names come from the VNI', () => {
  const prepared = prepare({ VNI: 7 }, { network: { ...V4, ...V6 } });
  assert.equal(prepared.instance, '7');
  assert.deepEqual(prepared.devices, ['flannel.7', 'flannel-v6.7']);
  assert.deepEqual(
    prepared.requirements.map(({ module, probe }) => [module, probe.type]),
    [['vxlan', 'vxlan']],
  );
});

test('the MAC is that of the lease, else that of the device, else the node’s own', () => {
  const found = { links: [link({ mac: FOUND_MAC })] };
  const macOf = (place: Partial<BackendPlace>, data?: object) =>
    JSON.stringify(
      prepare({}, place).make(
        UNDERLAY,
        data && { backendType: 'vxlan', backendData: JSON.parse(JSON.stringify(data)) },
      ).published.backendData,
    );
  const data = (of: Mac) => `{"VNI":1,"VtepMAC":"${of}"}`;
  assert.equal(macOf(found, { VtepMAC: LEASE_MAC }), data(LEASE_MAC));
  assert.equal(macOf(found), data(FOUND_MAC));
  assert.equal(macOf(found, { VtepMAC: 'ff:ff:ff:ff:ff:ff' }), data(FOUND_MAC));
  assert.equal(
    macOf({ links: [link({ type: 'bridge', mac: FOUND_MAC })] }),
    data(deriveMac('node', 'flannel.1')),
  );
  assert.equal(macOf({}), data(deriveMac('node', 'flannel.1')));
});

test('each family has a MAC of its own', () => {
  const { published } = prepare({}, { network: { ...V4, ...V6 } }).make(UNDERLAY, {
    backendType: 'vxlan',
    backendV6Data: { VNI: 1, VtepMAC: LEASE_MAC },
  });
  assert.equal(
    JSON.stringify(published),
    `{"backendType":"vxlan","backendData":{"VNI":1,"VtepMAC":"${deriveMac('node', 'flannel.1')}"},"backendV6Data":{"VNI":1,"VtepMAC":"${LEASE_MAC}"}}`,
  );
});

type Prepared = ReturnType<typeof prepare>;
const REFUSED: readonly [
  name: string,
  prepared: Prepared,
  given: { links?: Link[]; underlay?: Partial<BackendUnderlay> },
  expected: object,
][] = [
  [
    'a device of our name that is none of ours',
    prepare(),
    { links: [link({ type: 'bridge' })] },
    {
      code: 'foreign-device',
      message: 'the device flannel.1 exists and is no VXLAN device (it is a bridge one)',
    },
  ],
  [
    'a device with our VNI and port',
    prepare(),
    {
      links: [link({ name: 'other0', up: true, vxlan: { vni: 1, port: 8472, learning: false, gbp: false } })],
    },
    {
      code: 'device-clash',
      message: 'the device flannel.1 can not be made: the device other0 has VNI 1 on UDP port 8472',
      remedy: 'remove it ("ip link del other0"), or choose another VNI or Port in the network config',
    },
  ],
  [
    'an underlay without an address of the family',
    prepare({}, { network: { ...V4, ...V6 } }),
    { underlay: { address: { v4: ADDRESS.v4 } } },
    { code: 'backend', message: 'the interface eth0 has no IPv6 address for the network' },
  ],
  [
    'an underlay too narrow for the smallest packet',
    prepare(),
    { underlay: { mtu: 117 } },
    { code: 'backend', message: 'the interface eth0 has an MTU of 117, and IPv4 over VXLAN needs 118' },
  ],
  [
    'an underlay too narrow for IPv6',
    prepare({}, { network: { ...V4, ...V6 } }),
    { underlay: { mtu: 1349 } },
    { code: 'backend', message: 'the interface eth0 has an MTU of 1349, and IPv6 over VXLAN needs 1350' },
  ],
];
for (const [name, prepared, { links = [], underlay = {} }, expected] of REFUSED) {
  test(`refused before anything is made: ${name}`, () =>
    assert.throws(() => prepared.check({ ...UNDERLAY, ...underlay }, { links }), expected));
}

test('an MTU above the interface’s is named, and the interface’s is used', () => {
  const prepared = prepare({ MTU: 9000 });
  assert.deepEqual(prepared.check(UNDERLAY, { links: [] }), [
    'Backend.MTU of the network config is 9000, but the interface eth0 has 1500: using that',
  ]);
  assert.equal(prepared.make(UNDERLAY).mtu, 1450);
  assert.equal(prepared.make({ ...UNDERLAY, mtu: 9000 }).mtu, 8950);
  assert.deepEqual(prepared.check({ ...UNDERLAY, mtu: 9000 }, { links: [] }), []);
  assert.equal(prepare({ MTU: 1400 }).make(UNDERLAY).mtu, 1350);
});

test('with both families the MTU is the smaller one', () => {
  assert.equal(prepare({}, { network: { ...V4, ...V6 } }).make(UNDERLAY).mtu, 1430);
});

test('a refusal of the kernel is explained where another device or program is in the way', () => {
  const backend = prepare().make(UNDERLAY);
  const own = link({});
  const rival = link({
    name: 'other0',
    up: true,
    vxlan: { vni: 1, port: 8472, learning: false, gbp: false },
  });
  const explain = (errno: string, links: Link[], object = own) =>
    backend.explain?.(object, { errno, message: 'x' }, links);
  assert.equal(explain('EEXIST', [rival]), 'the device other0 has VNI 1 on UDP port 8472');
  assert.equal(
    explain('EADDRINUSE', []),
    'another program has UDP port 8472: "ss -lunp sport = :8472" names it',
  );
  assert.equal(explain('EEXIST', []), undefined);
  assert.equal(explain('EPERM', [rival]), undefined);
  assert.equal(explain('EEXIST', [rival], link({ name: 'eth0' })), undefined);
});
