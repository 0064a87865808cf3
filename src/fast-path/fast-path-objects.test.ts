import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fastPathObjects, fastPathScope } from '#src/fast-path/fast-path-objects.ts';
import { parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import { formatObject, keyOf } from '#src/state/object.ts';
import { covers } from '#src/state/scope.ts';

const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const mac = parseMac('02:00:00:00:f1:01') ?? assert.fail();
const wish = {
  set: 'flannel.1',
  underlay: 'eth0',
  vtep: ip('192.168.77.1'),
  mac,
  vni: 1,
  port: 8472,
  freshMs: 1000,
  tcp: true,
  generation: 0,
  peers: [{ subnet: parsePrefix4('10.5.9.0/24') ?? assert.fail(), vtep: ip('192.168.77.2'), mac }],
  locals: [
    { ip: ip('10.5.1.2'), device: 'veth1', mac },
    { ip: ip('10.5.1.3'), device: 'veth1', mac },
  ],
};

test('settings, entries and hooks; a device with two addresses has its hooks once', () => {
  assert.deepEqual(fastPathObjects(wish).map(formatObject), [
    'net/netfilter/nf_conntrack_tcp_be_liberal=1',
    'flannel.1 via eth0 local 192.168.77.1 address 02:00:00:00:f1:01 id 1 dstport 8472 fresh 1000 ms generation 0',
    'from-wire of flannel.1 dev eth0 ingress',
    'note-out of flannel.1 dev flannel.1 egress',
    '10.5.9.0/24 in flannel.1 lladdr 02:00:00:00:f1:01 dst 192.168.77.2',
    '10.5.1.2 in flannel.1 lladdr 02:00:00:00:f1:01 dev veth1',
    'from-container of flannel.1 dev veth1 ingress',
    'note-in of flannel.1 dev veth1 egress',
    '10.5.1.3 in flannel.1 lladdr 02:00:00:00:f1:01 dev veth1',
  ]);
});

test('without TCP the host’s conntrack is left alone', () => {
  const objects = fastPathObjects({ ...wish, tcp: false });
  assert.ok(objects.every(({ kind }) => kind !== 'sysctl'));
});

test('the scope owns the set’s objects and no other set’s', () => {
  const objects = fastPathObjects({ ...wish, tcp: false });
  const scope = fastPathScope('flannel.1');
  assert.ok(objects.every((object) => covers(scope, object) && scope.owns(object)));
  const others = fastPathObjects({ ...wish, set: 'flannel.2', tcp: false });
  assert.ok(others.every((object) => !scope.owns(object)));
  const keys = [...objects, ...others].map(keyOf);
  assert.equal(new Set(keys).size, keys.length);
});
