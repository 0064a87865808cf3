import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { age, checksumOf, destinationOf, netUnreachable } from '#src/lib/inner-packet.ts';
import { type Ipv4, parseIp } from '#src/lib/ip.ts';

const ip4 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv4;

/** A UDP packet from 10.5.1.2 to 10.5.9.3 with a right header checksum. */
function packetWith({ ttl = 64, protocol = 17, fragment = 0, options = 0, id = 7 } = {}): Uint8Array {
  const packet = new Uint8Array(20 + options * 4 + 16);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45 + options;
  view.setUint16(2, packet.length);
  view.setUint16(4, id);
  view.setUint16(6, fragment);
  packet[8] = ttl;
  packet[9] = protocol;
  view.setUint32(12, ip4('10.5.1.2'));
  view.setUint32(16, ip4('10.5.9.3'));
  packet.fill(0xab, 20 + options * 4);
  view.setUint16(10, checksumOf(packet, 0, 20 + options * 4));
  return packet;
}

test('a packet ages by one, and its checksum stays right, whatever it was', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 255 }), fc.integer({ min: 0, max: 0xffff }), (ttl, id) => {
      const packet = packetWith({ ttl, id });
      assert.equal(age(packet), true);
      assert.equal(packet[8], ttl - 1);
      assert.equal(checksumOf(packet, 0, 20), 0);
    }),
  );
  for (const ttl of [0, 1]) assert.equal(age(packetWith({ ttl })), false);
});

test('the destination of an IPv4 packet, and of nothing else', () => {
  assert.equal(destinationOf(packetWith()), ip4('10.5.9.3'));
  assert.equal(destinationOf(packetWith({ options: 10 })), ip4('10.5.9.3'));
  const broken = (change: (packet: Uint8Array) => void) => {
    const packet = packetWith();
    change(packet);
    return packet;
  };
  for (const none of [
    new Uint8Array(0),
    packetWith().subarray(0, 19),
    broken((packet) => {
      packet[0] = 0x65;
    }),
    broken((packet) => {
      packet[0] = 0x44;
    }),
    packetWith({ options: 10 }).subarray(0, 30),
  ])
    assert.equal(destinationOf(none), undefined);
});

test('the answer to a packet without a way is ICMP net unreachable with its header and eight bytes', () => {
  const packet = packetWith({ options: 1 });
  const reply = netUnreachable(packet) ?? assert.fail();
  assert.equal(reply.length, 20 + 8 + 24 + 8);
  assert.equal(checksumOf(reply, 0, 20), 0);
  assert.equal(checksumOf(reply, 20, reply.length), 0);
  assert.deepEqual([reply[8], reply[9], reply[20], reply[21]], [8, 1, 3, 0]);
  assert.equal(destinationOf(reply), ip4('10.5.1.2'));
  assert.deepEqual(reply.subarray(12, 16), packet.subarray(16, 20));
  assert.deepEqual(reply.subarray(28), packet.subarray(0, 32));
});

test('ICMP and later fragments get no answer, and bytes of no packet neither', () => {
  assert.equal(netUnreachable(packetWith({ protocol: 1 })), undefined);
  assert.equal(netUnreachable(packetWith({ fragment: 0x2001 })), undefined);
  assert.notEqual(netUnreachable(packetWith({ fragment: 0x6000 })), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      destinationOf(bytes);
      age(bytes);
      netUnreachable(bytes);
    }),
  );
});
