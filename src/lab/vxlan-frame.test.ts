import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVxlan } from '#src/lab/vxlan-frame.ts';

/** An echo request, 10.0.65.2 to 10.0.32.2, as tcpdump saw it between two hosts; the ICMP payload is cut short. */
const FRAME = Buffer.from(
  [
    '0250c0a84d02 0250c0a84d01 0800',
    '4500 004e 1234 0000 4011 0000 ac1046bf ac1046c0',
    'c001 2118 003a 0000',
    '08000000 00000100',
    '4e755cb8d88e 4e755cb8d801 0800',
    '4500 001c 0001 4000 3f01 0000 0a004102 0a002002',
    '0800 f7fe 0000 0001',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

test('a VXLAN packet is taken apart layer by layer', () => {
  assert.deepEqual(decodeVxlan(FRAME), {
    outerEthernet: { destination: '02:50:c0:a8:4d:02', source: '02:50:c0:a8:4d:01' },
    outerIp: { source: '172.16.70.191', destination: '172.16.70.192' },
    udp: { sourcePort: 49153, destinationPort: 8472 },
    vxlan: { flags: 8, vni: 1 },
    innerEthernet: { destination: '4e:75:5c:b8:d8:8e', source: '4e:75:5c:b8:d8:01' },
    innerIp: { source: '10.0.65.2', destination: '10.0.32.2', protocol: 1, length: 28 },
    length: 92,
    overhead: 50,
  });
});

test('other packets, and packets cut short, are not taken for one', () => {
  for (let length = 0; length < 50 + 14 + 20; length++)
    assert.equal(decodeVxlan(FRAME.subarray(0, length)), undefined);
  const arp = Buffer.from(FRAME);
  arp.writeUInt16BE(0x0806, 12);
  assert.equal(decodeVxlan(arp), undefined);
});
