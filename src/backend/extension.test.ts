import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendPlace, BackendUnderlay } from '#src/backend/backend.ts';
import { extension } from '#src/backend/extension.ts';
import type { Job } from '#src/backend/job.ts';
import { type Ipv4, type Ipv6, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Json, Lease } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';

const ip4 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv4;
const ip6 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv6;
const net4 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const net6 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix6;
const V4 = { v4: net4('10.5.0.0/16') };
const UNDERLAY: BackendUnderlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip4('192.0.2.1') },
  publicIp: { v4: ip4('192.0.2.1') },
};
const peer = (data?: Json, more: Partial<Lease> = {}): Lease => ({
  name: '10.5.9.0-24',
  subnets: { v4: net4('10.5.9.0/24') },
  attributes: {
    publicIp: ip4('192.0.2.9'),
    backendType: 'extension',
    ...(data !== undefined && { backendData: data }),
  },
  expiry: { kind: 'reservation' },
  revision: 1n,
  ...more,
});
const prepare = (options: { [name: string]: Json } = {}, network: BackendPlace['network'] = V4) =>
  extension.prepare({
    network,
    options: new GoObject(options, 'Backend.'),
    identity: 'n',
    links: [],
    instance: 'a1b2',
  });
const PATH = { routeForm: 'flannel' } as const;
const peerJobs = (options: { [name: string]: Json }, lease: Lease): readonly Job[] =>
  prepare(options).make(UNDERLAY).jobs?.peer(lease, PATH) ?? [];

const VARIABLES = {
  NETWORK: '10.5.0.0/16',
  SUBNET: '10.5.9.0/24',
  IPV6SUBNET: '',
  PUBLIC_IP: '192.0.2.9',
  PUBLIC_IPV6: '',
};

test('each peer has a command when it comes and one when it goes, with its values beside them', () => {
  const options = { SubnetAddCommand: 'add "$SUBNET"', subnetremovecommand: 'remove "$SUBNET"' };
  assert.deepEqual(peerJobs(options, peer('02:00\nx')), [
    {
      kind: 'command',
      key: 'the subnet 10.5.9.0/24',
      atEnd: 'leave',
      start: { name: 'SubnetAddCommand', text: 'add "$SUBNET"', variables: VARIABLES, stdin: '02:00\nx\n' },
      stop: {
        name: 'SubnetRemoveCommand',
        text: 'remove "$SUBNET"',
        variables: VARIABLES,
        stdin: '02:00\nx\n',
      },
    },
  ]);
  assert.deepEqual(peerJobs({}, peer()), []);
  assert.deepEqual(peerJobs({ SubnetAddCommand: ' ' }, peer()), []);
});

test('what a stranger wrote is on standard input, and nowhere else', () => {
  const evil = '"; rm -rf / #$(id)';
  const [job] = peerJobs({ SubnetAddCommand: 'add', SubnetRemoveCommand: 'remove' }, peer(evil));
  assert.ok(job?.kind === 'command' && job.start !== undefined && job.stop !== undefined);
  for (const { text, variables, stdin } of [job.start, job.stop]) {
    assert.equal(stdin, `${evil}\n`);
    assert.ok(!JSON.stringify([text, variables, job.key]).includes('rm -rf'));
  }
});

test('a lease of both families has both in its variables', () => {
  const both = peer(undefined, {
    subnets: { v4: net4('10.5.9.0/24'), v6: net6('fd05:0:0:9::/64') },
    attributes: { publicIp: ip4('192.0.2.9'), publicIpv6: ip6('2001:db8::9'), backendType: 'extension' },
  });
  const [job] = peerJobs({ SubnetAddCommand: 'add' }, both);
  assert.ok(job?.kind === 'command');
  assert.deepEqual(job.start?.variables, {
    ...VARIABLES,
    IPV6SUBNET: 'fd05:0:0:9::/64',
    PUBLIC_IPV6: '2001:db8::9',
  });
});

test('the node’s own commands come after the lease and at the end', () => {
  const prepared = prepare({ PostStartupCommand: 'up', ShutdownCommand: 'down' });
  assert.equal(prepared.preparation, undefined);
  const variables = { ...VARIABLES, SUBNET: '10.5.1.0/24', PUBLIC_IP: '192.0.2.1' };
  assert.deepEqual(prepared.make(UNDERLAY).jobs?.own({ v4: net4('10.5.1.0/24') }), [
    {
      kind: 'command',
      key: 'ShutdownCommand',
      atEnd: 'stop',
      stop: { name: 'ShutdownCommand', text: 'down', variables, stdin: '\n' },
    },
    {
      kind: 'command',
      key: 'PostStartupCommand',
      atEnd: 'leave',
      start: { name: 'PostStartupCommand', text: 'up', variables, stdin: '\n' },
    },
  ]);
});

test('what PreStartupCommand prints is the lease’s data, byte for byte as flannel writes it', () => {
  const prepared = prepare({ PreStartupCommand: 'make' });
  assert.deepEqual(prepared.preparation, {
    name: 'PreStartupCommand',
    text: 'make',
    variables: {},
    stdin: '\n',
  });
  const lease = (output?: string, taken = {}) =>
    encodeAttributes({ publicIp: ip4('192.0.2.1'), ...prepared.make(UNDERLAY, taken, output).published });
  assert.equal(
    lease('02:00 <a>'),
    '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"extension","BackendData":"02:00 \\u003ca\\u003e"}',
  );
  assert.match(lease(''), /"BackendData":""/);
  assert.match(lease(undefined, { backendData: 'old' }), /"BackendData":"old"/);
  assert.deepEqual(prepare().make(UNDERLAY).published, { backendType: 'extension' });
});

test('the whole MTU, nothing in the kernel, and packets by the devices that the operator names', () => {
  const plain = prepare({ SubnetAddCommand: 'add' }).make(UNDERLAY);
  assert.deepEqual([plain.mtu, plain.ownObjects({}), plain.peerObjects(peer(), PATH)], [1500, [], []]);
  assert.deepEqual(plain.inbound, { devices: [], underlay: true, others: true });
  const named = prepare({ SubnetAddCommand: 'add', Devices: 'vx0, tun1' }).make(UNDERLAY);
  assert.deepEqual(named.inbound, {
    devices: ['vx0', 'tun1'],
    underlay: false,
    others: false,
  });
  assert.throws(() => prepare({ Devices: 'a/b' }), {
    code: 'config',
    message: /a\/b is no name of a device/,
  });
  assert.throws(() => prepare({ SubnetAddCommand: ['ip'] }), { code: 'config' });
});

test('data that is no text is refused with the peer, other backends too', () => {
  const judged = (data?: Json) => prepare().make(UNDERLAY).judge(peer(data).attributes);
  for (const fine of [undefined, null, '', 'text']) assert.equal(judged(fine), undefined);
  for (const bad of [{ VNI: 1 }, 7, [], true]) assert.equal(judged(bad), 'its BackendData is no text');
  assert.equal(
    prepare().make(UNDERLAY).judge({ backendType: 'vxlan' }),
    'its backend is "vxlan", ours is "extension"',
  );
});

test('without a command for peers a start says so', () => {
  assert.match(prepare().check(UNDERLAY, { links: [] })[0] ?? '', /no SubnetAddCommand/);
  assert.deepEqual(prepare({ SubnetAddCommand: 'add' }).check(UNDERLAY, { links: [] }), []);
});
