import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alloc } from '#src/backend/alloc.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';

const ADDRESS = ipv4(0xc0000201);
const SUBNET = prefix4(ipv4(0x0a050100), 24);
const prepared = alloc.prepare({
  network: { v4: prefix4(ipv4(0x0a050000), 16) },
  options: new GoObject({}),
  identity: 'n',
  links: [],
  instance: 'a1b2',
});
const backend = prepared.make({
  name: 'eth0',
  mtu: 1500,
  address: { v4: ADDRESS },
  publicIp: { v4: ADDRESS },
});

test('the lease is an address alone, as flannel writes it', () => {
  const attributes = { publicIp: ADDRESS, ...backend.published };
  assert.equal(encodeAttributes(attributes), '{"PublicIP":"192.0.2.1","PublicIPv6":null}');
  assert.equal(encodeAttributes(attributes, 'v0.9.1'), '{"PublicIP":"192.0.2.1"}');
});

test('nothing is made in the kernel, for the host or for a peer', () => {
  const peer: Lease = {
    name: '10.5.1.0-24',
    subnets: { v4: SUBNET },
    attributes: { publicIp: ADDRESS, backendType: '' },
    expiry: { kind: 'reservation' },
    revision: 1n,
  };
  assert.deepEqual([prepared.devices, prepared.requirements, backend.scopes], [[], [], []]);
  assert.deepEqual(backend.ownObjects({ v4: SUBNET }), []);
  assert.deepEqual(backend.peerObjects(peer, { routeForm: 'flannel' }), []);
  assert.equal(backend.judge(peer.attributes), undefined);
  assert.equal(backend.mtu, 1500);
});
