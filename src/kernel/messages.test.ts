import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { RTNETLINK_CODECS } from '#src/kernel/codecs.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { isList, type Read } from '#src/kernel/kind-codec.ts';
import { readLink } from '#src/kernel/kinds/link.ts';
import { readLookup, routeQuery } from '#src/kernel/kinds/route.ts';
import { encodeRequests, errorIn, type Message, messagesIn } from '#src/kernel/message.ts';
import { readNetconf } from '#src/kernel/netconf.ts';
import { type Ip, type Ipv4, type Prefix, parseIp, parseIpv4, parsePrefix } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { KernelObject, Route } from '#src/state/object.ts';
import {
  PEER_FDB as fdb,
  PEER_NEIGHBOUR as neighbour,
  PEER_ROUTE as route,
} from '../../test/support/peer-objects.ts';

/**
 * Bytes that iproute2 6.1 and Linux 6.18 exchanged on a little-endian machine, taken with
 * `strace -e write=3 -e read=3`. The devices were u0 (ifindex 3) and flannel.1 (ifindex 4).
 */
const names: DeviceNames = {
  indexOf: (name) => ({ u0: 3, 'flannel.1': 4 })[name],
  nameOf: (index) => ({ 3: 'u0', 4: 'flannel.1' })[index],
};

const prefix = (text: string) => parsePrefix(text) as Prefix;
const ip = (text: string) => parseIp(text) as Ip;
const blackhole: Route = {
  kind: 'route',
  destination: prefix('10.5.0.0/16'),
  type: 'blackhole',
  onlink: false,
  metric: 0,
  protocol: 3,
  scope: 0,
};
const address = { kind: 'address', prefix: prefix('10.5.26.0/32'), device: 'flannel.1' } as const;

const readEvent = (message: Message): Read<KernelEvent> =>
  readNetconf(message, names) ?? RTNETLINK_CODECS.readEvent(message, names);

/** What we send, as hexadecimal with iproute2's flags and sequence number put in. */
function sent(verb: 'add' | 'replace' | 'remove' | 'set', object: KernelObject, like: string): string {
  const made = RTNETLINK_CODECS.requestOf({ verb, object }, names);
  assert.ok('request' in made);
  const sequence = Buffer.from(like, 'hex').readUInt32LE(8);
  return Buffer.from(encodeRequests([made.request], sequence, k.NLM_F_ACK)).toString('hex');
}

const messageOf = (hex: string): Message => {
  const [message] = messagesIn(Buffer.from(hex, 'hex'));
  assert.ok(message);
  return message;
};

const SENT: readonly (readonly [
  command: string,
  verb: 'add' | 'replace' | 'remove',
  KernelObject,
  hex: string,
])[] = [
  [
    'ip address replace 10.5.26.0/32 dev flannel.1',
    'replace',
    address,
    '28000000140005052656036b000000000220000004000000080002000a051a00080001000a051a00',
  ],
  [
    'ip address del 10.5.26.0/32 dev flannel.1',
    'remove',
    address,
    '28000000150005002656036b000000000220000004000000080002000a051a00080001000a051a00',
  ],
  [
    'ip neigh replace 10.5.9.0 lladdr 82:4b:b6:2f:54:4e dev flannel.1 nud permanent',
    'replace',
    neighbour,
    // iproute2 leaves ndm_type at 0; flannel sets RTN_UNICAST.
    '300000001c0005052756036b00000000020000000400000080000001080001000a0509000a000200824bb62f544e0000',
  ],
  [
    'ip route replace 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink',
    'replace',
    route,
    '34000000180005052656036b0000000002180000fe03000104000000080001000a050900080005000a0509000800040004000000',
  ],
  [
    'ip route replace 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink metric 7',
    'replace',
    { ...route, metric: 7 },
    '3c000000180005052656036b0000000002180000fe03000104000000080001000a050900080005000a05090008000600070000000800040004000000',
  ],
  [
    'ip route add blackhole 10.5.0.0/16',
    'add',
    blackhole,
    '24000000180005062656036b0000000002100000fe03000600000000080001000a050000',
  ],
  [
    'ip -6 route add fd00:9::/64 dev u0',
    'add',
    {
      kind: 'route',
      destination: prefix('fd00:9::/64'),
      type: 'unicast',
      device: 'u0',
      onlink: false,
      metric: 0,
      protocol: 3,
      scope: 0,
    },
    '38000000180005062756036b000000000a400000fe0300010000000014000100fd0000090000000000000000000000000800040003000000',
  ],
];

for (const [command, verb, object, hex] of SENT) {
  test(`sends what \`${command}\` sends`, () => assert.equal(sent(verb, object, hex), hex));
}

test('a forwarding entry sends what `bridge fdb replace` sends, but for order and NUD_NOARP', () => {
  // bridge: state 0xc0 (NOARP | PERMANENT) and the MAC first. flannel: state 0x80.
  const bridge =
    '300000001c0005052756036b000000000700000004000000c00002000a000200824bb62f544e000008000100c0000209';
  assert.equal(
    sent('replace', fdb, bridge),
    '300000001c0005052756036b000000000700000004000000800002000' + '8000100c00002090a000200824bb62f544e0000',
  );
});

test('a vxlan device sends what `ip link add … type vxlan` sends, and the zeros that flannel adds', () => {
  const link = {
    kind: 'link',
    name: 'flannel.1',
    vxlan: { vni: 1, underlay: 'u0', local: ip('192.0.2.1'), port: 8472, learning: false, gbp: false },
  } as const;
  const hex = sent('add', link, `6c000000100005062656036b${'0'.repeat(8)}`);
  const attributes = [
    '0e000300666c616e6e656c2e31000000', // IFLA_IFNAME
    '08000d0000000000', // IFLA_TXQLEN
    '6c001280', // IFLA_LINKINFO
    '0a00010076786c616e000000', // IFLA_INFO_KIND
    '5c000280', // IFLA_INFO_DATA
    '0800010001000000', // IFLA_VXLAN_ID
    '0800030003000000', // IFLA_VXLAN_LINK
    '08000400c0000201', // IFLA_VXLAN_LOCAL
    ...['05', '06', '07', '0b', '0c', '0d', '0e'].map((type) => `0500${type}0000000000`),
    '06000f0021180000', // IFLA_VXLAN_PORT
  ].join('');
  assert.equal(hex, `a4000000100005062656036b00000000${'00'.repeat(16)}${attributes}`);
});

test('an ipip device sends what flannel’s library sends', () => {
  const local = ip('192.0.2.1') as Ipv4;
  const link = {
    kind: 'link',
    name: 'flannel.ipip',
    ipip: { local, ttl: 0, pathMtuDiscovery: false },
  } as const;
  const hex = sent('add', link, `9c000000100005069b4a0a6b${'0'.repeat(8)}`);
  const attributes = [
    '11000300666c616e6e656c2e6970697000000000', // IFLA_IFNAME
    '34001280', // IFLA_LINKINFO
    '0900010069706970' + '00000000', // IFLA_INFO_KIND
    '24000280', // IFLA_INFO_DATA
    '08000200c0000201', // IFLA_IPTUN_LOCAL
    '05000a0000000000', // IFLA_IPTUN_PMTUDISC
    '0500040000000000', // IFLA_IPTUN_TTL
    '0500050000000000', // IFLA_IPTUN_TOS
  ].join('');
  assert.equal(hex, `68000000100005069b4a0a6b00000000${'00'.repeat(16)}${attributes}`);
});

test('`ip link set` finds its device by name and sets only what is given', () => {
  assert.equal(
    sent('set', { kind: 'link', name: 'flannel.1', mtu: 1400, up: true }, `28000000100005002656036b`),
    `38000000100005002656036b00000000${'00'.repeat(8)}0100000001000000` +
      '0e000300666c616e6e656c2e310000000800040078050000',
  );
});

test('a change to a device that is not there is refused before it is sent', () => {
  assert.deepEqual(
    RTNETLINK_CODECS.requestOf({ verb: 'replace', object: { ...route, device: 'gone0' } }, names),
    {
      error: { errno: 'ENODEV', message: 'there is no device gone0' },
    },
  );
});

test('reads a vxlan device as `ip -d link show` prints it', () => {
  const hex = readFileSync(new URL('../../test/fixtures/rtnetlink-vxlan-link.hex', import.meta.url), 'utf8');
  assert.deepEqual(readLink(messageOf(hex.replaceAll('\n', '')), names), {
    kind: 'link',
    name: 'flannel.1',
    index: 4,
    type: 'vxlan',
    mac: parseMac('1a:9c:b1:63:39:d7'),
    mtu: 1400,
    up: true,
    running: true,
    qdisc: 'noqueue',
    vxlan: {
      vni: 1,
      underlay: 'u0',
      local: parseIpv4('192.0.2.1') as Ipv4,
      port: 8472,
      learning: false,
      gbp: false,
      l2miss: false,
    },
  });
});

/** The kernel's answers to dumps. */
const FOUND: readonly (readonly [
  kind: KernelObject['kind'],
  dump: number,
  hex: string,
  found: KernelObject[],
])[] = [
  [
    'address',
    0,
    '54000000140022002756036b430400000220800004000000080001000a051a00080002000a051a000e000300666c616e6e656c2e3100000008000800' +
      '8000000014000600ffffffffffffffff9de705009de70500',
    [address],
  ],
  [
    'neighbour',
    0,
    '4c0000001c0022002756036b47040000020000000400000080000001080001000a0509000a000200824bb62f544e0000080004000000000014000300' +
      '12000000120000001200000000000000' +
      // fe80's multicast entry, NOARP: the kernel's own business.
      '580000001c0022002756036b470400000a000000040000004000000514000100ff0200000000000000000000000000160a0002003333000000160000' +
      '0800040000000000140003008817000018000000180000000000000014000000030002002756036b4704000000000000',
    [neighbour],
  ],
  [
    'fdb',
    0,
    '440000001c0002002756036b4b0400000700000004000000c00002010a000200824bb62f544e000008000100c0000209140003000000000012000000' +
      '1200000000000000',
    [fdb],
  ],
  [
    'route',
    0,
    '2c000000180022002656036b4f04000002100000fe0300060000000008000f00fe000000080001000a0500003c000000180022002656036b4f040000' +
      '02180000fe0300010400000008000f00fe000000080001000a050900080005000a050900080004000400000044000000180022002656036b4f040000' +
      '02180000fe0300010400000008000f00fe000000080001000a0509000800060007000000080005000a05090008000400040000003c00000018002200' +
      '2656036b4f04000002180000fe02fd010000000008000f00fe00000008000100c000020008000700c00002010800040003000000',
    [
      blackhole,
      route,
      { ...route, metric: 7 },
      {
        kind: 'route',
        destination: prefix('192.0.2.0/24'),
        type: 'unicast',
        device: 'u0',
        onlink: false,
        metric: 0,
        protocol: 2,
        scope: 253,
        source: ip('192.0.2.1'),
      },
    ],
  ],
];

for (const [kind, dump, hex, found] of FOUND) {
  test(`reads the kernel's ${kind} dump`, () => {
    const { read } = RTNETLINK_CODECS.of(kind).dumps({})[dump] ?? assert.fail();
    const messages = messagesIn(Buffer.from(hex, 'hex')).filter(({ type }) => type !== k.NLMSG_DONE);
    assert.deepEqual(
      messages.map((message) => read(message, names)).filter((object) => object !== undefined),
      found,
    );
  });
}

test('reads the answer to `ip route get`, and asks as it does', () => {
  const asked = '240000001a0001002656036b00000000022000000000000000100000080001000a050903';
  const ours = Buffer.from(encodeRequests([routeQuery(ip('10.5.9.3'))], 0x6b035626)).toString('hex');
  // iproute2 also sets RTM_F_LOOKUP_TABLE, to learn which table it was.
  assert.equal(ours, asked.replace('00100000080001', '00000000080001'));
  const answer =
    '70000000180000002656036b5304000002200000fe0000010002000008000f00fe000000080001000a0509030800040004000000080007000a051a00' +
    '080005000a050900080019000000000024000c0000000000000000000000000000000000000000000000000000000000000000000000000000000000';
  assert.deepEqual(readLookup(messageOf(answer.slice(0, 0xe0)), names), {
    device: 'flannel.1',
    source: ip('10.5.26.0'),
    via: ip('10.5.9.0'),
  });
});

const EVENTS: readonly (readonly [cause: string, hex: string, event: KernelEvent | undefined])[] = [
  [
    'sysctl net.ipv4.conf.u0.forwarding=1',
    '240000005000000000000000000000000200000008000100030000000800020001000000',
    { type: 'netconf', family: 4, device: 'u0' },
  ],
  [
    'sysctl net.ipv4.conf.all.forwarding=1',
    '2400000050000000000000000000000002000000'.concat('08000100ffffffff0800020001000000'),
    { type: 'netconf', family: 4, device: 'all' },
  ],
  [
    'ip neigh replace',
    '4c0000001c0000000000000059050000020000000400000080000001080001000a0509000a000200824bb62f544e0000080004000000000014000300' +
      '00000000000000000000000001000000',
    { type: 'changed', object: neighbour },
  ],
  [
    'ip neigh del, first (NUD_FAILED)',
    '400000001c000000000000005b050000020000000400000020000001080001000a050900080004000000000014000300150000001500000015000000' +
      '01000000',
    {
      type: 'removed',
      object: { ...neighbour, mac: parseMac('00:00:00:00:00:00') as Mac, permanent: false },
    },
  ],
  [
    'bridge fdb replace',
    '440000001c00000000000000000000000700000004000000c00002010a000200824bb62f544e000008000100c0000209140003000000000000000000' +
      '0000000000000000',
    { type: 'changed', object: fdb },
  ],
  [
    'bridge fdb del',
    '440000001d00000000000000000000000700000004000000c00002010a000200824bb62f544e000008000100c0000209140003000000000015000000' +
      '1500000000000000',
    { type: 'removed', object: fdb },
  ],
  [
    'ip -6 route add blackhole, which the kernel hangs onto lo',
    '74000000180000064e56036b610500000a300000fe0300060000000008000f00fe00000014000100fd000005000000000000000000000000' +
      '0800060000040000080004000100000024000c0000000000000000000000000000000000000000000000000000000000000000000000000005001400' +
      '00000000',
    {
      type: 'changed',
      object: { ...blackhole, destination: prefix('fd00:5::/48'), metric: 1024 },
    },
  ],
  [
    'an address of IPv6, whose multicast route is in the local table',
    '740000001800000600000000000000000a800000ff0200020000000008000f00ff00000014000100fe80000000000000cc2444fffeab3b1b' +
      '0800060000000000080004000200000024000c0000000000000000000000000000000000000000000000000000000000000000000000000005001400' +
      '00000000',
    undefined,
  ],
];

for (const [cause, hex, event] of EVENTS) {
  test(`reads the event of: ${cause}`, () => assert.deepEqual(readEvent(messageOf(hex)), event));
}

test("a refusal has the kernel's own words", () => {
  const hex =
    '60000000020000024c56036bfe0400009bffffff2c000000180005064c56036b0000000002180000fe03000100000000080001000a06000008000500' +
    '0a090909200001004e657874686f702068617320696e76616c6964206761746577617900';
  assert.deepEqual(errorIn(messageOf(hex)), {
    errno: 'ENETUNREACH',
    message: 'Nexthop has invalid gateway',
  });
});

test('a refusal without words has those of errno', () => {
  const hex = '2400000002000001ff000000000000009bffffff14000000180005060000000000000000';
  assert.deepEqual(errorIn(messageOf(hex)), { errno: 'ENETUNREACH', message: 'network is unreachable' });
});

test('a refusal of a message of 2 GiB or more is read without words', () => {
  for (const length of [0x7fffffff, 0x80000000, 0xffffffff]) {
    const bytes = Buffer.alloc(48);
    bytes.writeUInt32LE(48, 0);
    bytes.writeUInt16LE(k.NLMSG_ERROR, 4);
    bytes.writeUInt16LE(k.NLM_F_ACK_TLVS, 6);
    bytes.writeInt32LE(-22, 16);
    bytes.writeUInt32LE(length, 20);
    const [message = assert.fail()] = messagesIn(bytes);
    assert.deepEqual(errorIn(message), { errno: 'EINVAL', message: 'invalid argument' });
  }
});

/** RTM_NEWADDR and RTM_NEWROUTE with an address of 4 or 16 bytes and a prefix length in bits. */
function withLength(type: number, family: number, bytes: number, length: number): Message {
  const message = Buffer.alloc(16 + 12 + 4 + bytes + 8);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt8(family, 16);
  message.writeUInt8(length, 17);
  const isRoute = type === k.RTM_NEWROUTE;
  if (isRoute) {
    message.writeUInt8(254, 20);
    message.writeUInt8(1, 23);
  } else {
    message.writeInt32LE(3, 20);
  }
  const at = isRoute ? 28 : 24;
  message.writeUInt16LE(4 + bytes, at);
  message.writeUInt16LE(1, at + 2);
  message.writeUInt16LE(8, at + 4 + bytes);
  message.writeUInt16LE(4, at + 6 + bytes);
  message.writeInt32LE(3, at + 8 + bytes);
  return messagesIn(message)[0] ?? assert.fail();
}

for (const [name, family, bytes, longest] of [
  ['IPv4', k.AF_INET, 4, 32],
  ['IPv6', k.AF_INET6, 16, 128],
] as const) {
  test(`a prefix longer than an ${name} address is not passed on`, () => {
    for (const type of [k.RTM_NEWADDR, k.RTM_NEWROUTE]) {
      assert.ok(readEvent(withLength(type, family, bytes, longest)), `${type}`);
      for (const length of [longest + 1, 255])
        assert.equal(readEvent(withLength(type, family, bytes, length)), undefined, `${type} /${length}`);
    }
  });
}

test('a route whose destination is of another family than it says is not passed on', () => {
  assert.equal(readEvent(withLength(k.RTM_NEWROUTE, k.AF_INET, 16, 24)), undefined);
  assert.equal(readEvent(withLength(k.RTM_NEWROUTE, k.AF_INET6, 4, 24)), undefined);
});

function hasRealPrefix(object: KernelObject): boolean {
  const prefix = object.kind === 'route' ? object.destination : object.kind === 'address' && object.prefix;
  return prefix === false || prefix.length <= (prefix.family === 4 ? 32 : 128);
}

const TYPES = [2, 3, 16, 17, 20, 21, 24, 25, 28, 29, 80, 112, 113, 120, 121];

test('no bytes make reading fail', () => {
  const bodies = fc.tuple(fc.constantFrom(...TYPES), fc.uint8Array({ maxLength: 120 }));
  fc.assert(
    fc.property(bodies, fc.nat(0xffff), ([type, body], flags) => {
      const bytes = Buffer.alloc(16 + body.length);
      bytes.writeUInt32LE(bytes.length, 0);
      bytes.writeUInt16LE(type, 4);
      bytes.writeUInt16LE(flags, 6);
      bytes.set(body, 16);
      for (const message of messagesIn(bytes)) {
        const read = readEvent(message);
        for (const event of read === undefined ? [] : isList(read) ? read : [read])
          if ('object' in event) assert.ok(hasRealPrefix(event.object));
        errorIn(message);
        readLookup(message, names);
        for (const kind of RTNETLINK_CODECS.kinds.names)
          for (const { read } of RTNETLINK_CODECS.of(kind).dumps({})) read(message, names);
      }
    }),
  );
});

test('no bytes make the splitting of a datagram fail or run on', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const { offset, size } of messagesIn(bytes)) assert.ok(offset + size <= bytes.length);
    }),
  );
});
