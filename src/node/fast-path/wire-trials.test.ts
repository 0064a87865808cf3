import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FastEnd, FastWay } from '#src/backend/fast-way.ts';
import { checksumOf } from '#src/lib/inner-packet.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { WireTrials } from '#src/node/fast-path/wire-trials.ts';
import { systemClock } from '#src/sys/clock.ts';
import { type AnsweringWire, answeringWire } from '../../../test/support/answering-wire.ts';

const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);
const OWN = mac('02:00:00:00:00:01');
const way: FastWay = {
  device: 'flannel.1',
  settings: { underlay: 'eth0', vtep: ipv4(0xac100001), mac: OWN, vni: 0x123456, port: 8472 },
  peer: () => 'none is asked for',
};
const endOf = (number: number): FastEnd => ({
  subnet: prefix4(ipv4(0x0a000000 + number * 0x100), 24),
  vtep: ipv4(0xac100000 + number),
  mac: mac(`02:00:00:00:00:0${number}`),
});
const ENDS = new Map([2, 3, 4].map((number) => [`n${number}`, endOf(number)]));

const droppedOn = async (wire: AnsweringWire): Promise<string[]> => {
  const trials = new WireTrials({ clock: systemClock, random: () => 0.5 }, wire.sockets);
  const source = { way, address: ipv4(0x0a000100) };
  return [...(await trials.run(ENDS, source, AbortSignal.timeout(20_000)))];
};

test('a wire that brings both forms is good after one packet of each', async () => {
  const wire = answeringWire();
  assert.deepEqual(await droppedOn(wire), []);
  assert.equal(wire.sent.length, ENDS.size);
});

test('only the kernel’s form arrives: the peer is named', async () => {
  const wire = answeringWire();
  wire.bare = (to) => to !== ENDS.get('n3')?.subnet.address;
  assert.deepEqual(await droppedOn(wire), ['n3']);
});

test('a peer that answers nothing is not named, nor is one that loses every other packet', async () => {
  const wire = answeringWire();
  let count = 0;
  wire.bare = (to) => to === ENDS.get('n4')?.subnet.address && count++ % 2 === 1;
  wire.plain = (to) => to === ENDS.get('n4')?.subnet.address;
  assert.deepEqual(await droppedOn(wire), []);
});

test('what is sent is VXLAN without a UDP checksum, around an echo from one VXLAN device to the other', async () => {
  const wire = answeringWire();
  await droppedOn(wire);
  const [packet = new Uint8Array()] = wire.sent;
  const hex = Buffer.from(packet).toString('hex');
  // Outer IPv4 from 172.16.0.1 to .2, UDP from 32768 to 8472 without a checksum, VXLAN.
  assert.match(hex, /^4500004e000000004011.{4}ac100001ac100002800021180 ?03a00000800000012345600/);
  // Ethernet, IPv4, ICMP echo request 0x8000, the second of the first peer.
  assert.match(hex.slice(72), /^020000000002020000000001080045.*0a0001000a0002000800.{4}80000001$/);
  assert.equal(checksumOf(packet, 50, 70), 0);
  assert.equal(checksumOf(packet, 70, packet.length), 0);
});
