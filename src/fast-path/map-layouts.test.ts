import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  decodeLocal,
  decodePeer,
  decodeSettings,
  encodeFlow,
  encodeLocal,
  encodePeer,
  encodeSettings,
  LAYOUT,
  MAPS,
  nextEdition,
} from '#src/fast-path/map-layouts.ts';
import { parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import type { FastLocal, FastPath, FastPeer } from '#src/state/object.ts';

const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const mac = (text: string) => parseMac(text) ?? assert.fail(text);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const NAMES = new Map([
  [2, 'eth0'],
  [7, 'flannel.1'],
  [9, 'veth1'],
]);
const nameOf = (index: number) => NAMES.get(index) ?? `#${index}`;

const path: FastPath = {
  kind: 'fast-path',
  set: 'flannel.1',
  underlay: 'eth0',
  vtep: ip('192.168.77.1'),
  mac: mac('02:00:00:00:f1:01'),
  vni: 0xabcdef,
  port: 8472,
  freshMs: 1000,
  tcp: true,
  generation: 3,
};

test('settings as struct settings has them', () => {
  const { key, value } = encodeSettings(path, { underlay: 2, tunnel: 7 });
  assert.equal(hex(key), '00000000');
  assert.equal(
    hex(value),
    '02000000' +
      '07000000' +
      'c0a84d01' +
      'abcdef00' +
      '00ca9a3b00000000' +
      '03000000' +
      '2118' +
      '02000000f101' +
      '01000000',
  );
  assert.deepEqual(decodeSettings('flannel.1', value, nameOf), path);
});

test('settings that know a tunnel of before are not as wanted', () => {
  const { value } = encodeSettings(path, { underlay: 2, tunnel: 6 });
  assert.equal(decodeSettings('flannel.1', value, nameOf)?.underlay, 'eth0 for #6');
  assert.equal(decodeSettings('flannel.1', new Uint8Array(40), nameOf), undefined);
});

test('a peer', () => {
  const peer: FastPeer = {
    kind: 'fast-peer',
    set: 'flannel.1',
    subnet: parsePrefix4('10.5.9.0/24') ?? assert.fail(),
    vtep: ip('192.168.77.2'),
    mac: mac('02:00:00:00:f1:02'),
  };
  const entry = encodePeer(peer);
  assert.equal(hex(entry.key), '180000000a050900');
  assert.equal(hex(entry.value), 'c0a84d0202000000f1020000');
  assert.deepEqual(decodePeer('flannel.1', entry), peer);
});

test('a container', () => {
  const local: FastLocal = {
    kind: 'fast-local',
    set: 'flannel.1',
    ip: ip('10.5.1.2'),
    device: 'veth1',
    mac: mac('02:42:0a:05:01:02'),
  };
  const entry = encodeLocal(local, 9);
  assert.equal(hex(entry.key), '0a050102');
  assert.equal(hex(entry.value), '0900000002420a0501020000');
  assert.deepEqual(decodeLocal('flannel.1', entry, nameOf), local);
});

test('a flow', () => {
  const flow = {
    source: ip('10.5.1.2'),
    destination: ip('10.5.9.2'),
    sourcePort: 40000,
    destinationPort: 80,
    protocol: 6,
  };
  const { key, value } = encodeFlow(flow, 5n, 3);
  assert.equal(hex(key), '0a0501020a0509029c40005006000000');
  assert.equal(hex(value), `05000000000000000300000000000000${'00'.repeat(24)}`);
  assert.deepEqual([key.length, value.length], [MAPS.flows.keySize, MAPS.flows.valueSize]);
});

test('editions follow one another, and begin again after 32 bits', () => {
  const first = nextEdition();
  assert.deepEqual([hex(first.key), hex(first.value)], ['00000000', '01000000']);
  assert.equal(hex(nextEdition(first.value).value), '02000000');
  assert.equal(hex(nextEdition(Uint8Array.of(255, 255, 255, 255)).value), '00000000');
});

/** The structures of keys and values, and the counts, of each layout: the hash of their text without comments and spaces. */
const STRUCTURES: Readonly<Record<number, string>> = {
  1: '9a5a6e1059f8ba8b',
};

test('the structures are those of the layout: with others, raise LAYOUT and add their hash here', () => {
  const source = readFileSync(new URL('fast-path.bpf.c', import.meta.url), 'utf8');
  const text =
    /^struct settings \{.*^enum count \{.*?^\};$/ms.exec(source)?.[0] ?? assert.fail('no structures');
  const bare = text.replace(/\/\/.*$/gm, '').replace(/\s+/g, '');
  assert.equal(createHash('sha256').update(bare).digest('hex').slice(0, 16), STRUCTURES[LAYOUT]);
});
