import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PluginHandler, type PluginHandlerOptions } from '#src/driver/plugin-handler.ts';
import { FIXED_ANSWERS, METHODS } from '#src/driver/plugin-methods.ts';
import { WeftError } from '#src/lib/errors.ts';
import { parseIp } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { mac, prefix, RecordingDrivers } from '../../test/support/recording-drivers.ts';

const NETWORK = 'a'.repeat(64);
const ENDPOINT = 'b'.repeat(64);
const IDS = { NetworkID: NETWORK, EndpointID: ENDPOINT };
const ids = { networkId: NETWORK, endpointId: ENDPOINT };
const ADDRESS = parseIp('10.5.0.11');

/** An answer as dockerd gets it. */
interface Sent {
  readonly status: number;
  readonly Err?: string;
  readonly Error?: string;
}

function setUp(options: PluginHandlerOptions = {}) {
  const drivers = new RecordingDrivers();
  const clock = new FakeClock();
  const log: string[] = [];
  const logger = {
    ...silentLogger,
    warning: (line: string) => void log.push(line),
    error: (line: string) => void log.push(line),
  };
  const { network, addresses } = drivers;
  const handler = new PluginHandler({ network, addresses, clock, logger }, options);
  const send = async (call: string, text: string | Buffer, method = 'POST') => {
    const { status, body } = await handler.answer({ method, path: `/${call}`, body: Buffer.from(text) });
    return { status, ...(JSON.parse(body) as object) } as Sent;
  };
  return {
    drivers,
    clock,
    log,
    handler,
    send,
    call: (name: string, body: object) => send(name, JSON.stringify(body)),
  };
}

test('the handshake needs no body', async () => {
  const { send, drivers } = setUp();
  assert.deepEqual(await send('Plugin.Activate', ''), {
    status: 200,
    Implements: ['NetworkDriver', 'IpamDriver'],
  });
  assert.deepEqual(await send('NetworkDriver.GetCapabilities', ''), {
    status: 200,
    Scope: 'local',
    ConnectivityScope: 'global',
    GwAllocChecker: false,
  });
  assert.deepEqual(await send('IpamDriver.GetCapabilities', ''), {
    status: 200,
    RequiresMACAddress: false,
    RequiresRequestReplay: false,
  });
  assert.deepEqual(await send('IpamDriver.GetDefaultAddressSpaces', ''), {
    status: 200,
    LocalDefaultAddressSpace: 'weft',
    GlobalDefaultAddressSpace: 'weft',
  });
  assert.deepEqual(await send('NetworkDriver.GwAllocCheck', '{"Options":{}}'), {
    status: 200,
    SkipIPv4: false,
    SkipIPv6: false,
  });
  assert.deepEqual(drivers.calls, []);
});

/** What dockerd sends, what the driver gets, what dockerd is answered. */
const CALLS: readonly (readonly [call: string, body: object, got: readonly unknown[], answer: object])[] = [
  [
    'IpamDriver.RequestPool',
    {
      AddressSpace: 'weft',
      Pool: '10.5.0.0/24',
      SubPool: '10.5.0.128/25',
      Options: { 'weft.network': 'blue' },
      V6: false,
    },
    [
      'requestPool',
      {
        family: 4,
        pool: prefix('10.5.0.0/24'),
        range: prefix('10.5.0.128/25'),
        options: { 'weft.network': 'blue' },
      },
    ],
    { PoolID: 'blue/v4', Pool: '10.5.0.0/24', Data: { 'com.docker.network.gateway': '10.5.0.1/24' } },
  ],
  [
    'IpamDriver.RequestPool',
    { AddressSpace: 'weft', Pool: '', SubPool: '', Options: null, V6: true },
    ['requestPool', { family: 6, options: {} }],
    { PoolID: 'blue/v4', Pool: '10.5.0.0/24', Data: { 'com.docker.network.gateway': '10.5.0.1/24' } },
  ],
  ['IpamDriver.ReleasePool', { PoolID: 'blue/v4' }, ['releasePool', 'blue/v4'], {}],
  [
    'IpamDriver.RequestAddress',
    {
      PoolID: 'blue/v4',
      Address: '10.5.0.1',
      Options: { RequestAddressType: 'com.docker.network.gateway' },
    },
    ['requestAddress', { poolId: 'blue/v4', address: parseIp('10.5.0.1'), isGateway: true }],
    { Address: '10.5.0.11/24', Data: {} },
  ],
  [
    'IpamDriver.RequestAddress',
    { PoolID: 'blue/v4', Address: '', Options: null },
    ['requestAddress', { poolId: 'blue/v4', isGateway: false }],
    { Address: '10.5.0.11/24', Data: {} },
  ],
  [
    'IpamDriver.RequestAddress',
    { PoolID: 'blue/v4', Address: '0.0.0.0', Options: { 'com.docker.network.endpoint.name': 'web' } },
    ['requestAddress', { poolId: 'blue/v4', address: 0, isGateway: false, container: 'web' }],
    { Address: '10.5.0.11/24', Data: {} },
  ],
  [
    'IpamDriver.ReleaseAddress',
    { PoolID: 'blue/v4', Address: '10.5.0.11' },
    ['releaseAddress', 'blue/v4', ADDRESS],
    {},
  ],
  [
    'NetworkDriver.CreateNetwork',
    {
      NetworkID: NETWORK,
      Options: {
        'com.docker.network.enable_ipv4': true,
        'com.docker.network.enable_ipv6': true,
        'com.docker.network.internal': true,
        'com.docker.network.generic': { 'weft.network': 'blue', ['__proto__']: 'x' },
      },
      IPv4Data: [
        {
          AddressSpace: 'weft',
          Pool: '10.5.0.0/24',
          Gateway: '10.5.0.1/24',
          AuxAddresses: { printer: '10.5.0.9/24' },
        },
      ],
      IPv6Data: [{ AddressSpace: 'weft', Pool: 'fd05::/64' }],
    },
    [
      'createNetwork',
      {
        networkId: NETWORK,
        options: Object.fromEntries([
          ['weft.network', 'blue'],
          ['__proto__', 'x'],
        ]),
        internal: true,
        pools: [
          {
            addressSpace: 'weft',
            pool: prefix('10.5.0.0/24'),
            gateway: prefix('10.5.0.1/24'),
            auxiliary: { printer: parseIp('10.5.0.9') },
          },
          { addressSpace: 'weft', pool: prefix('fd05::/64'), auxiliary: {} },
        ],
      },
    ],
    {},
  ],
  [
    'NetworkDriver.CreateEndpoint',
    {
      ...IDS,
      Interface: { Address: '10.5.0.11/24', AddressIPv6: '', MacAddress: '' },
      Options: {
        'com.docker.network.endpoint.exposedports': [{ Proto: 6, Port: 80 }],
        'com.docker.network.endpoint.macaddress': 'AkIKBQAL',
        'com.docker.network.portmap': null,
        colour: 'green',
      },
    },
    ['createEndpoint', { ...ids, addresses: [prefix('10.5.0.11/24')], options: { colour: 'green' } }],
    { Interface: { MacAddress: '02:42:0a:05:00:0b' } },
  ],
  [
    'NetworkDriver.CreateEndpoint',
    {
      ...IDS,
      Interface: { Address: '10.5.0.11/24', AddressIPv6: 'fd05::b/64', MacAddress: '02:42:0A:05:00:0B' },
      Options: {},
    },
    [
      'createEndpoint',
      {
        ...ids,
        addresses: [prefix('10.5.0.11/24'), prefix('fd05::b/64')],
        mac: mac('02:42:0a:05:00:0b'),
        options: {},
      },
    ],
    {},
  ],
  [
    'NetworkDriver.Join',
    { ...IDS, SandboxKey: '/var/run/docker/netns/0123', Options: { 'com.docker.network.portmap': [] } },
    ['join', { ...ids, sandbox: '/var/run/docker/netns/0123' }],
    { InterfaceName: { SrcName: 'w0123456789abc', DstPrefix: 'eth' } },
  ],
  ['NetworkDriver.EndpointOperInfo', IDS, ['endpointInfo', ids], { Value: { 'weft.vni': '70001' } }],
  ['NetworkDriver.Leave', IDS, ['leave', ids], {}],
  ['NetworkDriver.DeleteEndpoint', IDS, ['deleteEndpoint', ids], {}],
  ['NetworkDriver.DeleteNetwork', { NetworkID: NETWORK }, ['deleteNetwork', NETWORK], {}],
];

test('calls reach the drivers as typed values, and answers have only what dockerd may get', async () => {
  for (const [call, body, got, answer] of CALLS) {
    const { drivers, call: docker } = setUp();
    assert.deepEqual(await docker(call, { ...body, Later: ['field'] }), { status: 200, ...answer }, call);
    assert.deepEqual(drivers.calls, [got], call);
  }
});

test('each method is tried above', () => {
  assert.deepEqual(new Set(CALLS.map(([call]) => call)), new Set(Object.keys(METHODS)));
});

test('a whole life, with the same IDs throughout', async () => {
  const { drivers, call } = setUp();
  const life = [
    'CreateNetwork',
    'CreateEndpoint',
    'Join',
    'EndpointOperInfo',
    'Leave',
    'DeleteEndpoint',
    'DeleteNetwork',
  ];
  for (const method of [...life, ...life]) {
    const body = CALLS.find(([name]) => name === `NetworkDriver.${method}`)?.[1] ?? {};
    assert.equal((await call(`NetworkDriver.${method}`, body)).status, 200);
  }
  assert.equal(drivers.calls.length, 2 * life.length);
  assert.ok(
    drivers.calls.every(
      ([, got]) => got === NETWORK || (got as { networkId?: string }).networkId === NETWORK,
    ),
  );
});

test('unknown methods are answered 404', async () => {
  const { send, drivers } = setUp();
  const unknown = [
    'NetworkDriver.ProgramExternalConnectivity',
    'NetworkDriver.RevokeExternalConnectivity',
    'NetworkDriver.AllocateNetwork',
    'VolumeDriver.Create',
    'toString',
    '__proto__',
    '',
  ];
  for (const call of unknown) assert.equal((await send(call, '{}')).status, 404, call);
  assert.equal((await send('NetworkDriver.Leave', JSON.stringify(IDS), 'GET')).status, 405);
  assert.deepEqual(drivers.calls, []);
});

/** Fields with wrong types, for a call that is right otherwise. */
const WRONG: Readonly<Record<string, readonly object[]>> = {
  'NetworkDriver.CreateNetwork': [
    { NetworkID: null },
    { NetworkID: 'a'.repeat(63) },
    { NetworkID: 'A'.repeat(64) },
    { NetworkID: 7 },
    { Options: [] },
    { Options: 'x' },
    { Options: { 'com.docker.network.generic': 'x' } },
    { Options: { 'com.docker.network.generic': { mtu: 1450 } } },
    { Options: { 'com.docker.network.internal': 'true' } },
    { IPv4Data: {} },
    { IPv4Data: [null] },
    { IPv4Data: [{ AddressSpace: 'weft' }] },
    { IPv4Data: [{ Pool: 'fd05::/64' }] },
    { IPv4Data: [{ Pool: '10.5.0.0/33' }] },
    { IPv4Data: [{ Pool: '10.5.0.0/24', Gateway: '10.5.0.1' }] },
    { IPv4Data: [{ Pool: '10.5.0.0/24', AuxAddresses: { a: 1 } }] },
    { IPv6Data: [{ Pool: '10.5.0.0/24' }] },
  ],
  'NetworkDriver.CreateEndpoint': [
    { EndpointID: '../../etc/passwd' },
    { Interface: [] },
    { Interface: { Address: '10.5.0.11' } },
    { Interface: { Address: 'fd05::b/64' } },
    { Interface: { AddressIPv6: '10.5.0.11/24' } },
    { Interface: { MacAddress: '02:42' } },
    { Options: { colour: ['green'] } },
  ],
  'NetworkDriver.Join': [{ SandboxKey: '' }, { SandboxKey: {} }, { EndpointID: '' }],
  'NetworkDriver.Leave': [{ EndpointID: undefined }, { NetworkID: undefined }],
  'IpamDriver.RequestPool': [
    { V6: 'no' },
    { AddressSpace: '' },
    { Pool: 'fd05::/64' },
    { Pool: '10.5.0.0' },
    { SubPool: 5 },
    { Options: { a: null } },
  ],
  'IpamDriver.ReleasePool': [{ PoolID: '' }],
  'IpamDriver.RequestAddress': [
    { PoolID: null },
    { Address: '10.5.0.11/24' },
    { Address: 0 },
    { Options: { RequestAddressType: true } },
  ],
  'IpamDriver.ReleaseAddress': [{ Address: '' }, { Address: null }],
};

test('wrong types are answered 400, and reach no driver', async () => {
  for (const [call, fields] of Object.entries(WRONG)) {
    const right = CALLS.find(([name]) => name === call)?.[1];
    for (const wrong of fields) {
      const { drivers, call: docker } = setUp();
      const { status, Err, Error: error } = await docker(call, { ...right, ...wrong });
      assert.equal(status, 400, `${call} ${JSON.stringify(wrong)}`);
      assert.match(String(Err), new RegExp(`^${call}: .*; no Docker that weft was tried with sends that`));
      assert.equal(error, Err);
      assert.deepEqual(drivers.calls, []);
    }
  }
});

test('empty and broken bodies are answered 400: never a request for any address', async () => {
  const broken = ['{', '{"PoolID":"blue/v4"', 'null', '[]', '"x"', '7', Buffer.from([0x7b, 0xff, 0x7d]), ' '];
  for (const call of Object.keys(METHODS)) {
    const { send, drivers, handler } = setUp();
    const { status, Err } = await send(call, '');
    assert.deepEqual(
      [status, Err],
      [
        400,
        `${call} came without a body, as Docker repeats a call that a restart cut off; repeat the command`,
      ],
    );
    for (const body of [...broken, '{}'])
      assert.equal((await send(call, body)).status, 400, `${call} ${body}`);
    const long = await handler.answer({ method: 'POST', path: `/${call}`, body: 'too-long' });
    assert.equal(long.status, 400);
    assert.match(long.body, /more than 1048576 bytes/);
    assert.deepEqual(drivers.calls, []);
  }
});

test('no body of a fixed answer is looked at', async () => {
  const { send } = setUp();
  for (const call of Object.keys(FIXED_ANSWERS)) assert.equal((await send(call, '{')).status, 200, call);
});

test('an error of a driver is the text that the user reads', async () => {
  const { drivers, call, log } = setUp();
  drivers.instead.set('requestAddress', async () => {
    throw new WeftError('address', 'web can’t have 10.5.0.11 in blue: db on h2 has it', {
      remedy: 'choose another',
    });
  });
  drivers.instead.set('join', async () => {
    throw new TypeError('oops\n  at once');
  });
  const text = 'web can’t have 10.5.0.11 in blue: db on h2 has it; choose another';
  assert.deepEqual(await call('IpamDriver.RequestAddress', { PoolID: 'blue/v4' }), {
    status: 200,
    Err: text,
    Error: text,
  });
  assert.deepEqual(log.splice(0), [`Docker called "IpamDriver.RequestAddress" and got an error: ${text}`]);
  const { Err } = await call('NetworkDriver.Join', { ...IDS, SandboxKey: '/x' });
  assert.equal(Err, 'weft failed in NetworkDriver.Join: oops at once; its log has more');
  assert.match(log[1] ?? '', /^TypeError: oops\n/);
});

test('a call that takes too long is answered with an error, and its work goes on', async () => {
  const { drivers, call, clock, log } = setUp();
  const work = Promise.withResolvers<never>();
  drivers.instead.set('requestAddress', () => work.promise);
  const answer = call('IpamDriver.RequestAddress', { PoolID: 'blue/v4' });
  await clock.advance(9_999);
  await nextTurn();
  assert.deepEqual(clock.sleeping, [1]);
  await clock.advance(1);
  const text =
    'IpamDriver.RequestAddress took more than 10 s; repeat the command; the log of flanneld says what it waits for';
  assert.equal((await answer).Err, text);
  log.length = 0;
  work.reject(new WeftError('registry', 'no endpoint answers'));
  await nextTurn();
  assert.deepEqual(log, ['IpamDriver.RequestAddress failed after its time was up: no endpoint answers']);
});

test('calls of one method wait for their turn, and those of others do not wait for them', async () => {
  const { drivers, call, clock } = setUp({ mostAtOnce: 2 });
  const works = Array.from({ length: 3 }, () => Promise.withResolvers<never>());
  let begun = 0;
  drivers.instead.set(
    'requestAddress',
    () => works[begun++]?.promise ?? Promise.reject(new Error('one more')),
  );
  const request = () => call('IpamDriver.RequestAddress', { PoolID: 'blue/v4' });
  const [first, second, third] = [request(), request(), request()];
  await nextTurn();
  assert.equal(begun, 2);
  assert.equal(
    (await call('IpamDriver.ReleaseAddress', { PoolID: 'p', Address: '10.5.0.11' })).Err,
    undefined,
  );
  works[0]?.reject(new WeftError('x', 'first'));
  assert.equal((await first).Err, 'first');
  await nextTurn();
  assert.equal(begun, 3);
  const fourth = request();
  await clock.advance(10_000);
  for (const late of [second, third, fourth]) assert.match(String((await late).Err), /took more than 10 s/);
  // Docker has taken it for a failure: it must not be begun now.
  works[1]?.reject(new WeftError('x', 'second'));
  works[2]?.reject(new WeftError('x', 'third'));
  await nextTurn();
  assert.equal(begun, 3);
  assert.deepEqual(clock.sleeping, []);
});

test('calls wait until the kernel is looked after, as long as their time allows; the handshake does not', async () => {
  const drivers = new RecordingDrivers();
  const clock = new FakeClock();
  const { network, addresses } = drivers;
  const ready = Promise.withResolvers<void>();
  const handler = new PluginHandler({
    network,
    addresses,
    clock,
    logger: silentLogger,
    ready: ready.promise,
  });
  const leave = () =>
    handler.answer({ method: 'POST', path: '/NetworkDriver.Leave', body: Buffer.from(JSON.stringify(IDS)) });
  const handshake = { method: 'POST', path: '/Plugin.Activate', body: Buffer.from('') };
  assert.equal((await handler.answer(handshake)).status, 200);
  const early = leave();
  await clock.advance(10_000);
  assert.match((await early).body, /took more than 10 s/);
  const late = leave();
  await nextTurn();
  assert.deepEqual(drivers.calls, []);
  ready.resolve();
  assert.equal((await late).status, 200);
  assert.equal(drivers.calls.length, 1);
});
