import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FrameFilter, passesFilter } from '#src/diagnose/capture/frame-filter.ts';
import { decodePacket } from '#src/diagnose/capture/packet.ts';
import { type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const net = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const bytesOf = (...hex: string[]) => Uint8Array.fromHex(hex.join('').replaceAll(' ', ''));
const decode = (bytes: Uint8Array) => decodePacket(bytes, 101, { ports: new Set([8472]) });

/** 10.0.65.2 to 10.0.32.2, from host 172.16.70.191 to .192, VNI 7. */
const TUNNELLED = decode(
  bytesOf(
    '4500 004e 1234 0000 4011 0000 ac1046bf ac1046c0 c001 2118 003a 0000 08000000 00000700',
    '4e755cb8d88e 4e755cb8d801 0800 4500 001c 0001 4000 3f01 0000 0a004102 0a002002 0800 f7fe 0000 0001',
  ),
);
/** 10.0.65.2 to 10.0.32.2 without a tunnel, as with host-gw. */
const ROUTED = decode(bytesOf('4500 001c 0001 4000 3f01 0000 0a004102 0a002002 0800 f7fe 0000 0001'));
const FOREIGN = decode(bytesOf('4500 001c 0001 4000 3f01 0000 ac1046bf ac1046c0 0800 f7fe 0000 0001'));
/** "fragmentation needed" from a router, about a packet. */
const ERROR = decode(
  bytesOf('4500 0038 0001 0000 4001 0000 ac1046fe ac1046bf 0304 0000 0000 0578', '4500 05dc 0001 4000'),
);
const ALL: FrameFilter = { containers: [], peers: [], vnis: [], networks: [] };

const CASES: readonly (readonly [Partial<FrameFilter>, ...passed: boolean[]])[] = [
  [{}, true, true, true, true],
  [{ networks: [net('10.0.0.0/16')] }, true, true, false, true],
  [{ vnis: [7] }, true, false, false, false],
  [{ vnis: [8] }, false, false, false, false],
  [{ containers: [ip('10.0.32.2')] }, true, true, false, false],
  [{ containers: [ip('10.0.32.3')] }, false, false, false, false],
  [{ peers: [{ publicIp: ip('172.16.70.192') }] }, true, false, true, false],
  [{ peers: [{ subnet: net('10.0.32.0/24') }] }, true, true, false, false],
  [{ peers: [{ subnet: net('10.0.33.0/24') }, { publicIp: ip('172.16.70.191') }] }, true, false, true, true],
  [{ peers: [{ publicIp: ip('172.16.70.191') }], containers: [ip('10.0.1.1')] }, false, false, false, false],
];

test('a frame is shown when each kind of filter fits', () => {
  for (const [filter, ...expected] of CASES) {
    const passed = [TUNNELLED, ROUTED, FOREIGN, ERROR].map((packet) =>
      passesFilter(packet, { ...ALL, ...filter }),
    );
    assert.deepEqual(passed, expected, Object.keys(filter).join());
  }
});
