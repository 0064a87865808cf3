import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RTNETLINK_CODECS } from '#src/kernel/codecs.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { encodeRequests, messagesIn } from '#src/kernel/message.ts';
import { parseIp } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import {
  type BridgeFdbEntry,
  type BridgePort,
  HOST_NAMESPACE,
  type KernelObject,
} from '#src/state/object.ts';
import type { Verb } from '#src/state/operation.ts';

/**
 * Bytes that iproute2 6.1 and Linux 6.18 exchanged on a little-endian machine, taken with `strace -e write=3` and from the
 * multicast groups. The devices were u0 (ifindex 3) and br-7 (ifindex 5).
 */
const names: DeviceNames = {
  indexOf: (name) => ({ u0: 3, 'br-7': 5 })[name],
  nameOf: (index) => ({ 3: 'u0', 5: 'br-7' })[index],
  fileOf: (namespace) => ({ [HOST_NAMESPACE]: 21, '/run/netns/c1': 22 })[namespace],
  hostId: () => 4,
};

const mac = parseMac('02:42:0a:05:00:0d') ?? assert.fail();
const entry: BridgeFdbEntry = { kind: 'bridge-fdb', mac, bridge: 'br-7', device: 'u0', static: true };
const port: BridgePort = {
  kind: 'bridge-port',
  device: 'u0',
  learning: false,
  neighSuppress: true,
  flood: false,
  locked: true,
};

/** What we send, with the sequence number of the other's. */
function sent(verb: Verb, object: KernelObject, like = '00'.repeat(12)): string {
  const made = RTNETLINK_CODECS.requestOf({ verb, object }, names);
  assert.ok('request' in made, JSON.stringify(made));
  const sequence = Buffer.from(like, 'hex').readUInt32LE(8);
  return Buffer.from(encodeRequests([made.request], sequence, k.NLM_F_ACK)).toString('hex');
}

test('a forwarding entry sends what `bridge fdb replace … master static` sends, but for NUD_REACHABLE', () => {
  const bridge = '280000001c0005059db3096b000000000700000003000000420004000a00020002420a05000d0000';
  assert.equal(sent('replace', entry, bridge), bridge.replace('4200040', '4000040'));
});

test('its removal sends what `bridge fdb del … master` sends, but for the state', () => {
  const bridge = '280000001d0005009db3096b000000000700000003000000c00004000a00020002420a05000d0000';
  assert.equal(sent('remove', entry, bridge), bridge.replace('c000040', '4000040'));
});

test('flags send what `bridge link set` sends, in another order', () => {
  const bridge =
    '44000000130005009db3096b00000000' +
    '0700000003000000000000000000000024000c80' +
    '0500090000000000050008000000000005002000010000000500270001000000';
  const flagsOf = (hex: string) => (hex.slice(72).match(/.{16}/g) ?? []).sort();
  const ours = sent('replace', port, bridge);
  assert.equal(ours.slice(0, 72), bridge.slice(0, 72));
  assert.deepEqual(flagsOf(ours), flagsOf(bridge));
});

const attribute = (type: number, payload: string): string => {
  const bytes = Buffer.alloc(4 + Math.ceil(payload.length / 8) * 4);
  bytes.writeUInt16LE(4 + payload.length / 2, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.write(payload, 4, 'hex');
  return bytes.toString('hex');
};
const u32 = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('hex');
};

test('the other end of a veth pair is made in the namespace that is named', () => {
  for (const [peerNamespace, file] of [
    [HOST_NAMESPACE, 21],
    ['/run/netns/c1', 22],
  ] as const) {
    const veth = { peer: 'w1', peerNamespace, peerMac: mac, peerMtu: 1450 };
    const hex = sent('add', { kind: 'link', name: 'p1', veth });
    const peer =
      '00'.repeat(16) +
      attribute(k.IFLA_IFNAME, '773100') +
      attribute(k.IFLA_ADDRESS, '02420a05000d') +
      attribute(k.IFLA_MTU, u32(1450)) +
      attribute(k.IFLA_NET_NS_FD, u32(file));
    assert.ok(hex.includes(attribute(k.VETH_INFO_PEER, peer)), hex);
  }
});

test('a namespace that is not there is a refusal that names it', () => {
  const veth = { peer: 'w1', peerNamespace: '/run/netns/gone' };
  assert.deepEqual(
    RTNETLINK_CODECS.requestOf({ verb: 'add', object: { kind: 'link', name: 'p1', veth } }, names),
    { error: { errno: 'ENOENT', message: 'there is no network namespace /run/netns/gone' } },
  );
});

const local = parseIp('172.31.0.1') ?? assert.fail();
const vxlan = { vni: 7, local, port: 8473, learning: false, gbp: false, socketIn: 'host' } as const;

test('a VXLAN device whose socket is the host’s names the host’s namespace by its number', () => {
  const hex = sent('add', { kind: 'link', name: 'vx-7', vxlan });
  assert.ok(hex.endsWith(attribute(k.IFLA_LINK_NETNSID, u32(4))), hex);
});

test('there is none in the host’s own namespace', () => {
  const { hostId: _, ...here } = names;
  const made = RTNETLINK_CODECS.requestOf(
    { verb: 'add', object: { kind: 'link', name: 'vx-7', vxlan } },
    here,
  );
  assert.equal('error' in made && made.error.errno, 'ENOENT');
});

test('a bridge that is not there is a refusal that names it', () => {
  assert.deepEqual(
    RTNETLINK_CODECS.requestOf({ verb: 'set', object: { kind: 'link', name: 'u0', master: 'br-9' } }, names),
    { error: { errno: 'ENODEV', message: 'there is no device br-9' } },
  );
});

/** `ip link set u0 nomaster`, first message: flags learning off, neigh_suppress on, flood off, locked on. */
const PORT =
  'a401000010000000000000000000000007000100030000000210000000000000070003007530000008000a000500000008000400dc05000005001000' +
  '020000000a000100421ff7cb6cd10000080005000200000050010c80050001000000000006000200200000000800030002000000050004000000' +
  '000005000500000000000500060000000000050007000000000005001c00000000000500080000000000050009000000000005001b0001000000' +
  '05001e000100000005000a000000000005000c00000000000c000d008000421ff7cb6cd10c000e008000421ff7cb6cd106000f00018000000600' +
  '100000000000060011000180000006001200010000000500130000000000050014000000000005001d000000000006001f000000000005002000' +
  '010000000500230000000000050024000000000005002100000000000500270001000000050028000000000005002b00000000000c0015000000' +
  '0000000000000c00160000000000000000000c0017000000000000000000050019000100000008002500000200000800260000000000080029000' +
  '000000008002a0000000000';

/** `bridge fdb replace 02:42:0a:05:00:0d dev u0 master static` */
const ENTRY =
  '4c0000001c00000000000000000000000700000003000000400000000a00020002420a05000d0000080009000500000008000f000000000014000300' +
  '00000000000000000000000000000000';

const EVENTS: readonly (readonly [cause: string, hex: string, event: KernelEvent | undefined])[] = [
  [
    'a change of flags',
    PORT,
    {
      type: 'changed',
      object: {
        ...port,
        state: 0,
        mcastFlood: true,
        bcastFlood: true,
        hairpin: false,
        isolated: false,
        vlanTunnel: false,
      },
    },
  ],
  [
    'ip link set u0 nomaster, last',
    '5400000011000000000000000000000007000100030000000210000000000000070003007530000008000a000500000008000400dc05000005001000' +
      '020000000a000100421ff7cb6cd100000800050002000000',
    { type: 'removed', object: { kind: 'bridge-port', device: 'u0' } },
  ],
  ['bridge fdb replace', ENTRY, { type: 'changed', object: entry }],
  [
    'bridge fdb del',
    '4c0000001d00000000000000000000000700000003000000400000000a00020002420a05000d0000080009000500000008000f000000000014000300' +
      '00000000000000000000000000000000',
    { type: 'removed', object: entry },
  ],
  [
    'the entry of a device’s own MAC',
    '4c0000001c0002002656036be77c00000700000003000000800000000a00020002420a05000d0000080009000500000008000f000000000014000300' +
      '00000000220000002200000000000000',
    { type: 'changed', object: { ...entry, static: false } },
  ],
  [
    'the same in a VLAN',
    // The kernel's message for bridges with VLAN filtering, which was not at hand: NDA_VLAN is put in.
    ENTRY.replace('4c0000001c', '540000001c').replace(
      '0800090005',
      `${attribute(k.NDA_VLAN, '0100')}0800090005`,
    ),
    { type: 'changed', object: { ...entry, vlan: 1 } },
  ],
  [
    'a multicast address of a device itself',
    '280000001c0002002656036be77c00000700000003000000800002000a0002003333000000010000',
    undefined,
  ],
];

for (const [cause, hex, event] of EVENTS) {
  test(`reads the event of: ${cause}`, () => {
    const [message] = messagesIn(Buffer.from(hex, 'hex'));
    assert.ok(message);
    assert.deepEqual(RTNETLINK_CODECS.readEvent(message, names), event);
  });
}
