import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { describeFrame, frameToJson } from '#src/diagnose/capture/describe-frame.ts';
import { type Frame, LINK_TYPES, type LinkType } from '#src/diagnose/capture/frame.ts';
import { decodePacket } from '#src/diagnose/capture/packet.ts';

const PORTS = { ports: new Set([8472]) };
const bytesOf = (...hex: string[]): Uint8Array => Uint8Array.fromHex(hex.join('').replaceAll(' ', ''));
const frameOf = (bytes: Uint8Array, linkType: LinkType = LINK_TYPES.ethernet): Frame => ({
  at: 1_795_118_643_123_456_789n,
  device: 'eth0',
  linkType,
  direction: 'out',
  bytes,
  originalLength: bytes.length,
});
const textOf = (bytes: Uint8Array, linkType: LinkType = LINK_TYPES.ethernet, checksums = false): string =>
  describeFrame(frameOf(bytes, linkType), decodePacket(bytes, linkType, { ...PORTS, checksums }));

/** An echo request, 10.0.65.2 to 10.0.32.2, between two hosts; the ICMP payload is empty. */
const ECHO = bytesOf(
  '0250c0a84d02 0250c0a84d01 0800',
  '4500 004e 1234 0000 4011 0000 ac1046bf ac1046c0',
  'c001 2118 003a 0000',
  '08000000 00000100',
  '4e755cb8d88e 4e755cb8d801 0800',
  '4500 001c 0001 4000 3f01 0000 0a004102 0a002002',
  '0800 f7fe 0000 0001',
);
const OUTER =
  '20:04:03.123456 eth0 out 172.16.70.191 > 172.16.70.192 VNI 1  4e:75:5c:b8:d8:01 > 4e:75:5c:b8:d8:8e ';

test('a packet in a tunnel is one line: hosts, VNI, inner MACs, and what it is', () => {
  assert.equal(textOf(ECHO), `${OUTER} 10.0.65.2 > 10.0.32.2 ICMP echo request, id 0, seq 1, 8 bytes`);
});

test('the same for a program, outer layers apart', () => {
  const json = frameToJson(frameOf(ECHO), decodePacket(ECHO, 1, PORTS), new Map([[1, 'blue']]));
  assert.deepEqual(json, {
    time: '2026-11-19T20:04:03.123456789Z',
    device: 'eth0',
    direction: 'out',
    length: 92,
    captured: 92,
    outer: {
      sourceMac: '02:50:c0:a8:4d:01',
      destinationMac: '02:50:c0:a8:4d:02',
      source: '172.16.70.191',
      destination: '172.16.70.192',
      protocol: 'UDP',
      ttl: 64,
      sourcePort: 49153,
      destinationPort: 8472,
      payloadLength: 50,
    },
    vni: 1,
    network: 'blue',
    sourceMac: '4e:75:5c:b8:d8:01',
    destinationMac: '4e:75:5c:b8:d8:8e',
    source: '10.0.65.2',
    destination: '10.0.32.2',
    protocol: 'ICMP',
    ttl: 63,
    type: 8,
    code: 0,
    payloadLength: 8,
    message: 'echo request',
    id: 0,
    sequence: 1,
    summary: '10.0.65.2 > 10.0.32.2 ICMP echo request, id 0, seq 1, 8 bytes',
  });
});

/** Behind the inner MACs: what the inner frame is. */
const INNER: readonly (readonly [what: string, type: string, hex: string, line: string])[] = [
  [
    'TCP',
    '0800',
    '4500 002c 0001 4000 3f06 0000 0a004102 0a002002 a102 0050 00000007 00000000 6002 fa f0 0000 0000 0204 0582',
    '10.0.65.2 > 10.0.32.2 TCP 41218 > 80 SYN, seq 7, win 64240, mss 1410, 0 bytes',
  ],
  [
    'ARP',
    '0806',
    '0001 0800 0604 0001 4e755cb8d801 0a004102 000000000000 0a002002',
    'ARP who has 10.0.32.2, asks 10.0.65.2',
  ],
  [
    'Neighbor Discovery',
    '86dd',
    '60000000 0018 3a ff fd000000000000000000000000000001 ff0200000000000000000001ff000002',
    'fd00::1 > ff02::1:ff00:2 ICMPv6 neighbour solicitation, target fd00::2, 24 bytes',
  ],
  [
    'an error with the packet that it is about',
    '0800',
    '4500 0038 0001 0000 4001 0000 0a002001 0a004102 0304 0000 0000 0578 4500 05dc 0001 4000 3f11 0000 0a004102 0a002002 c001 2119 05c8 0000',
    '10.0.32.1 > 10.0.65.2 ICMP fragmentation needed, MTU 1400, about 10.0.65.2 > 10.0.32.2 UDP 49153 > 8473',
  ],
  [
    'a fragment',
    '0800',
    '4500 0024 0007 00b9 3f11 0000 0a004102 0a002002 0000000000000000 0000000000000000',
    '10.0.65.2 > 10.0.32.2 UDP, 16 bytes [fragment 7 at 1480, the last]',
  ],
  ['a header that lies', '0800', '4100 0024', '[IPv4 header of 4 bytes]'],
  ['another protocol', '88cc', '0000', 'EtherType 0x88cc, 2 bytes'],
];
const ND_BODY = '8700 0000 00000000 fd000000000000000000000000000002';

for (const [what, type, hex, line] of INNER)
  test(`inside: ${what}`, () => {
    const body = type === '86dd' ? `${hex} ${ND_BODY}` : hex;
    const bytes = Buffer.concat([ECHO.subarray(0, 50), bytesOf('4e755cb8d88e 4e755cb8d801', type, body)]);
    const udp = bytes.length - 34;
    bytes.writeUInt16BE(udp + 20, 16);
    bytes.writeUInt16BE(udp, 38);
    assert.equal(textOf(bytes), `${OUTER} ${line}`);
  });

test('what is cut is said, at whatever byte', () => {
  const cut = ECHO.subarray(0, 60);
  const frame = { ...frameOf(cut), originalLength: ECHO.length };
  assert.match(
    describeFrame(frame, decodePacket(cut, 1, PORTS)),
    /172\.16\.70\.192 VNI 1 {2}\[Ethernet header cut short\] \[60 of 92 bytes captured\]$/,
  );
  assert.match(textOf(ECHO.subarray(0, 46)), /> 172\.16\.70\.192 \[VXLAN header cut short\]$/);
});

test('VLAN tags, and files of tcpdump -i any', () => {
  const tagged = Buffer.concat([ECHO.subarray(0, 12), bytesOf('8100 a005'), ECHO.subarray(12)]);
  assert.match(textOf(tagged), /eth0 out VLAN 5 172\.16\.70\.191 > /);
  const [raw, sll] = [ECHO.subarray(14), bytesOf('0000 0001 0006 0250c0a84d02 0000 0800')];
  assert.match(textOf(raw, LINK_TYPES.raw), / VNI 1 {2}4e:75/);
  assert.match(textOf(Buffer.concat([sll, raw]), LINK_TYPES.linuxSll), / VNI 1 {2}4e:75/);
  const sll2 = bytesOf('0800 0000 00000002 0001 00 06 0250c0a84d02 0000');
  assert.match(textOf(Buffer.concat([sll2, raw]), LINK_TYPES.linuxSll2), / VNI 1 {2}4e:75/);
});

test('a wrong checksum is said where it has been on a wire', () => {
  const wrong = Buffer.from(ECHO);
  wrong[87] = 0;
  assert.match(textOf(wrong, 1, true), /8 bytes \[wrong checksum\]$/);
  assert.doesNotMatch(textOf(wrong), /checksum/);
  assert.doesNotMatch(textOf(ECHO, 1, true), /checksum/);
});

const types = Object.values(LINK_TYPES);
const decodes = (bytes: Uint8Array): void => {
  for (const linkType of types) {
    const packet = decodePacket(bytes, linkType, { ...PORTS, checksums: true });
    const line = describeFrame(frameOf(bytes, linkType), packet);
    assert.doesNotMatch(line, /\n|undefined|NaN/);
    JSON.stringify(frameToJson(frameOf(bytes, linkType), packet));
  }
};

test('no bytes make the decoder throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), decodes), { numRuns: 2_000 });
});

test('no damage to a real packet makes it throw', () => {
  const damage = fc.array(fc.tuple(fc.nat(ECHO.length - 1), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(damage, fc.nat(ECHO.length), (changes, length) => {
      const bytes = Buffer.from(ECHO.subarray(0, length));
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      decodes(bytes);
    }),
    { numRuns: 3_000 },
  );
});
