import assert from 'node:assert/strict';
import { test } from 'node:test';
import { internetChecksum, markedFrame, markedPacket } from '#src/diagnose/trace/live/marked-packet.ts';
import { ipv4, ipv6 } from '#src/lib/ip.ts';

const token = Uint8Array.from({ length: 16 }, (_, n) => n + 1);
const packet = markedPacket(token, ipv4(0x0a000102), ipv4(0x0a000202), 3);
const onEthernet = (bytes: Uint8Array): Uint8Array => Buffer.concat([Buffer.alloc(14), bytes]);

test('an echo request from one container to the other, with the token as its payload', () => {
  assert.equal(packet.length, 20 + 8 + 16);
  assert.deepEqual([...packet.subarray(12, 20)], [10, 0, 1, 2, 10, 0, 2, 2]);
  assert.equal(packet[20], 8);
  assert.deepEqual([...packet.subarray(28)], [...token]);
  // Over the whole message with its checksum the sum is 0 (RFC 1071).
  assert.equal(internetChecksum(packet.subarray(20)), 0);
});

test('it is recognised as it is, as an answer, and inside a packet of the hosts', () => {
  assert.deepEqual(markedFrame(onEthernet(packet), token), { kind: 'request', wrapped: false });
  const answer = packet.slice();
  answer[20] = 0;
  assert.deepEqual(markedFrame(onEthernet(answer), token), { kind: 'answer', wrapped: false });
  const wrapped = Buffer.concat([Buffer.alloc(50), onEthernet(packet)]);
  assert.deepEqual(markedFrame(wrapped, token), { kind: 'request', wrapped: true });
});

test('another token, and an error that quotes the packet, are nothing', () => {
  assert.equal(
    markedFrame(
      onEthernet(packet),
      Uint8Array.from(token, (it) => it + 1),
    ),
    undefined,
  );
  const unreachable = packet.slice();
  unreachable[20] = 3;
  assert.equal(markedFrame(onEthernet(unreachable), token), undefined);
});

const [from6, to6] = [ipv6(0xfd00_0010n << 96n), ipv6((0xfd00_0010n << 96n) + 2n)];
const packet6 = markedPacket(token, from6, to6, 3);

test('of IPv6 the header is whole, and the checksum has the addresses in it', () => {
  assert.equal(packet6.length, 40 + 8 + 16);
  assert.deepEqual([packet6[0], packet6[5], packet6[6], packet6[40]], [0x60, 24, 58, 128]);
  // Over the pseudo-header, the length, the protocol and the message the sum is 0 (RFC 8200 §8.1).
  const pseudo = Buffer.concat([packet6.subarray(8, 40), Uint8Array.of(0, 0, 0, 24, 0, 0, 0, 58)]);
  assert.equal(internetChecksum(Buffer.concat([pseudo, packet6.subarray(40)])), 0);
});

test('of IPv6 it is recognised as well, in packets of either family', () => {
  assert.deepEqual(markedFrame(onEthernet(packet6), token), { kind: 'request', wrapped: false });
  const answer = packet6.slice();
  answer[40] = 129;
  assert.deepEqual(markedFrame(onEthernet(answer), token), { kind: 'answer', wrapped: false });
  for (const outer of [50, 70]) {
    const wrapped = Buffer.concat([Buffer.alloc(outer), onEthernet(packet6)]);
    assert.deepEqual(markedFrame(wrapped, token), { kind: 'request', wrapped: true });
  }
});
