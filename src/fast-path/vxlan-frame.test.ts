import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosenIn, hopped, outerEcn, udpFrame, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import { checksumOf } from '#src/lib/inner-packet.ts';
import { parseIpv4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';

const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const flow = {
  source: ip('10.5.1.2'),
  destination: ip('10.5.9.3'),
  sourcePort: 40_000,
  destinationPort: 53,
};
const frame = udpFrame(flow, Buffer.from('weft'));

test('a container’s frame', () => {
  assert.equal(
    Buffer.from(frame).toString('hex'),
    '0000000000000000000000000800' +
      '45000020000000004011' +
      '5cbf' +
      '0a0501020a050903' +
      '9c400035000c0000' +
      '77656674',
  );
});

test('a hop takes one from the TTL, and the checksum stays right', () => {
  const to = '02:00:00:00:00:01' as Mac;
  const next = hopped(frame, { to, from: '02:00:00:00:00:02' as Mac });
  assert.equal(Buffer.from(next.subarray(0, 12)).toString('hex'), '020000000001020000000002');
  assert.equal(next[22], 63);
  assert.equal(checksumOf(next, 14, 34), 0);
  assert.equal(frame[22], 64, 'the frame itself stays');
  assert.equal(Buffer.from(hopped(frame, { to }).subarray(6, 12)).toString('hex'), '000000000000');
});

test('flannel’s wire: Ethernet, IPv4 without DF, UDP without a checksum, VXLAN', () => {
  const outside = {
    source: ip('192.168.77.1'),
    destination: ip('192.168.77.2'),
    sourcePort: 0x9abc,
    port: 8472,
    vni: 0xabcdef,
    id: 0x1234,
    ecn: 1,
  };
  const wire = vxlanFrame(frame, outside);
  assert.equal(
    Buffer.from(wire.subarray(0, 24)).toString('hex'),
    '0000000000000000000000000800' + '4501' + '0052' + '1234' + '0000' + '4011',
  );
  assert.equal(checksumOf(wire, 14, 34), 0);
  assert.equal(
    Buffer.from(wire.subarray(26, 50)).toString('hex'),
    'c0a84d01c0a84d02' + '9abc2118003e0000' + '08000000abcdef00',
  );
  assert.deepEqual(wire.subarray(50), frame);
  assert.deepEqual(chosenIn(wire), { id: 0x1234, sourcePort: 0x9abc });
});

test('congestion that an inner packet met stays inside (RFC 6040)', () => {
  assert.deepEqual([0, 1, 2, 3].map(outerEcn), [0, 1, 2, 2]);
});
