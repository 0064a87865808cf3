import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { DockerClient } from '#src/docker/docker-client.ts';
import { messageOf } from '#src/lib/errors.ts';
import { type EngineAnswers, fakeEngine } from '../../test/support/fake-engine.ts';

const [NETWORK, CONTAINER, ENDPOINT] = ['a', 'c', 'e'].map((digit) => digit.repeat(64)) as [
  string,
  string,
  string,
];
const { signal } = new AbortController();

async function engine(t: TestContext, answers: EngineAnswers, version?: object) {
  const { components, ...fake } = await fakeEngine(t, answers, version);
  return { client: new DockerClient(components, fake), ...fake };
}

async function errorOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return messageOf(error);
  }
  return 'none';
}

/** As engine 29 answered. */
const LISTED = {
  Name: 'blue',
  Id: NETWORK,
  Driver: 'weft',
  EnableIPv4: true,
  IPAM: { Driver: 'weft', Options: { 'weft.network': 'blue' }, Config: [{ Subnet: '10.5.0.0/24' }] },
  Options: { 'weft.network': 'blue' },
  Labels: { stage: 'test' },
};

test('the networks of a driver', async (t) => {
  const { client, asked } = await engine(t, {
    'GET /v1.41/networks?filters={"driver":["weft"]}': [200, [LISTED]],
  });
  assert.deepEqual(await client.networks('weft', signal), [
    { id: NETWORK, name: 'blue', options: { 'weft.network': 'blue' }, labels: { stage: 'test' } },
  ]);
  await client.networks('weft', signal);
  assert.equal(asked.filter((it) => it === 'GET /version').length, 1);
});

test('the networks that running containers are in', async (t) => {
  const settings = {
    Networks: { blue: { NetworkID: NETWORK, EndpointID: ENDPOINT }, none: { NetworkID: '' } },
  };
  const { client } = await engine(t, {
    'GET /v1.41/containers/json': [200, [{ Id: CONTAINER, NetworkSettings: settings }, { Id: 'host' }]],
  });
  assert.deepEqual([...(await client.networksInUse(signal))], [NETWORK]);
});

test('the containers in a network, and none in one that is gone', async (t) => {
  const web = {
    Name: 'web',
    EndpointID: ENDPOINT,
    MacAddress: '02:42:0a:05:00:0b',
    IPv4Address: '10.5.0.11/24',
    IPv6Address: '',
  };
  const { client } = await engine(t, {
    [`GET /v1.41/networks/${NETWORK}`]: [200, { ...LISTED, Containers: { [CONTAINER]: web } }],
  });
  assert.deepEqual(await client.endpoints(NETWORK, signal), [
    {
      container: CONTAINER,
      name: 'web',
      endpoint: ENDPOINT,
      ipv4: '10.5.0.11/24',
      ipv6: '',
      mac: '02:42:0a:05:00:0b',
    },
  ]);
  assert.deepEqual(await client.endpoints('b'.repeat(64), signal), []);
});

test('a network is made with all that its config says', async (t) => {
  const { client, bodies } = await engine(t, {
    'POST /v1.41/networks/create': [201, { Id: NETWORK, Warning: '' }],
  });
  const network = {
    name: 'blue',
    driver: 'weft',
    options: { 'weft.network': 'blue' },
    labels: { stage: 'test' },
    internal: true,
    enableIpv6: true,
    ipam: {
      driver: 'weft',
      options: { 'weft.network': 'blue' },
      config: [
        {
          subnet: '10.5.0.0/24',
          range: '10.5.0.128/25',
          gateway: '10.5.0.1',
          auxiliary: { printer: '10.5.0.9' },
        },
        { subnet: 'fd05::/64' },
      ],
    },
  };
  assert.equal(await client.createNetwork(network, signal), NETWORK);
  assert.deepEqual(bodies, [
    {
      Name: 'blue',
      CheckDuplicate: true,
      Driver: 'weft',
      Options: { 'weft.network': 'blue' },
      Labels: { stage: 'test' },
      Internal: true,
      EnableIPv6: true,
      IPAM: {
        Driver: 'weft',
        Options: { 'weft.network': 'blue' },
        Config: [
          {
            Subnet: '10.5.0.0/24',
            IPRange: '10.5.0.128/25',
            Gateway: '10.5.0.1',
            AuxiliaryAddresses: { printer: '10.5.0.9' },
          },
          { Subnet: 'fd05::/64' },
        ],
      },
    },
  ]);
});

const BLUE = {
  name: 'blue',
  driver: 'weft',
  options: {},
  labels: {},
  internal: false,
  enableIpv6: false,
  ipam: { driver: 'weft', options: {}, config: [] },
};

test('Docker’s own words are in the error', async (t) => {
  const create = 'POST /v1.41/networks/create';
  const taken = await engine(t, { [create]: [409, { message: 'network with name blue already exists' }] });
  await assert.rejects(taken.client.createNetwork(BLUE, signal), { code: 'docker-exists' });
  assert.equal(
    await errorOf(taken.client.createNetwork(BLUE, signal)),
    'could not make Docker\'s network blue: network with name blue already exists; "docker network inspect blue" shows it; remove it, or choose another name',
  );
  for (const [status, body, text] of [
    [404, { message: 'plugin "weft" not found' }, 'Docker says: plugin "weft" not found'],
    [500, 'plain\ntext', 'Docker says: plain text'],
    [500, '', 'Docker says: HTTP status 500'],
    [201, {}, 'Docker says: an answer without an ID'],
    [201, '{', "Docker's answer is not JSON"],
  ] as const) {
    const { client } = await engine(t, { [create]: [status, body] });
    assert.equal(
      await errorOf(client.createNetwork(BLUE, signal)),
      `could not make Docker's network blue: ${text}`,
    );
  }
});

test('a network is gone, or has containers', async (t) => {
  const remove = (status: number, message: string) =>
    engine(t, { [`DELETE /v1.41/networks/${NETWORK}`]: [status, { message }] }).then(({ client }) =>
      client.removeNetwork(NETWORK, signal),
    );
  assert.equal(await remove(204, ''), true);
  assert.equal(await remove(404, 'network not found'), true);
  assert.equal(
    await remove(403, 'error while removing network: network blue id a has active endpoints'),
    false,
  );
  assert.match(
    await errorOf(remove(403, 'bridge is a pre-defined network')),
    /Docker says: bridge is a pre-defined/,
  );
});

test('a container, as engines before 25 and after answer', async (t) => {
  const attachment = {
    NetworkID: NETWORK,
    EndpointID: ENDPOINT,
    IPAddress: '10.5.0.11',
    IPPrefixLen: 24,
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    MacAddress: '02:42:0a:05:00:0b',
  };
  const inspected = (aliases: unknown) => ({
    Id: CONTAINER,
    Name: '/web',
    State: { Running: true, Pid: 9885 },
    Image: 'sha256:7ecc',
    Config: { Image: 'weft-lab' },
    NetworkSettings: {
      SandboxKey: '/var/run/docker/netns/0123',
      Networks: { blue: { ...attachment, Aliases: aliases } },
    },
  });
  for (const [aliases, read] of [
    [['db', CONTAINER.slice(0, 12)], ['db']],
    [null, []],
    [['db'], ['db']],
  ] as const) {
    const { client } = await engine(t, { 'GET /v1.41/containers/web/json': [200, inspected(aliases)] });
    assert.deepEqual(await client.container('web', signal), {
      id: CONTAINER,
      name: 'web',
      running: true,
      pid: 9885,
      sandbox: '/var/run/docker/netns/0123',
      image: 'weft-lab',
      networks: {
        blue: {
          networkId: NETWORK,
          endpointId: ENDPOINT,
          ipv4: '10.5.0.11/24',
          ipv6: '',
          mac: '02:42:0a:05:00:0b',
          aliases: read,
        },
      },
    });
    assert.equal(await client.container('other', signal), undefined);
  }
});

const FILTERS =
  '{"type":["container","network"],"event":["start","die","rename","connect","disconnect","create","destroy","remove"]}';

test('events, from the moment of the call, until Docker is gone', async (t) => {
  const line = (Type: string, Action: string, ID: string, Attributes = {}) =>
    JSON.stringify({ Type, Action, Actor: { ID, Attributes }, scope: 'local', time: 1_795_798_058 });
  const lines = [
    line('network', 'create', NETWORK, { name: 'blue', type: 'weft' }),
    line('container', 'create', CONTAINER),
    line('network', 'connect', NETWORK, { container: CONTAINER, name: 'blue', type: 'weft' }),
    line('container', 'start', CONTAINER),
    line('container', 'rename', CONTAINER, { name: 'web', oldName: '/two' }),
    line('container', 'exec_start: sh', CONTAINER),
    line('network', 'disconnect', NETWORK, { container: CONTAINER }),
    line('container', 'die', CONTAINER),
    line('network', 'destroy', NETWORK),
    line('volume', 'create', 'v'),
    '{}',
  ];
  const { client } = await engine(t, {
    [`GET /v1.41/events?since=1795798057.500&filters=${FILTERS}`]: [200, `${lines.join('\n')}\n`],
  });
  const read: unknown[] = [];
  const end = async (): Promise<void> => {
    for await (const event of client.events(signal)) read.push(event);
  };
  assert.match(
    await errorOf(end()),
    /^could not follow Docker's events: Docker at \S+: it closed the connection; see/,
  );
  assert.deepEqual(read, [
    { type: 'network-created', network: NETWORK },
    { type: 'connect', network: NETWORK, container: CONTAINER },
    { type: 'start', container: CONTAINER },
    { type: 'rename', container: CONTAINER },
    { type: 'disconnect', network: NETWORK, container: CONTAINER },
    { type: 'die', container: CONTAINER },
    { type: 'network-removed', network: NETWORK },
  ]);
});

test('events that can’t be had', async (t) => {
  const first = ({ client }: { client: DockerClient }, stop = signal) =>
    errorOf(client.events(stop)[Symbol.asyncIterator]().next());
  const path = `GET /v1.41/events?since=1795798057.500&filters=${FILTERS}`;
  assert.equal(
    await first(await engine(t, { [path]: [500, { message: 'no' }] })),
    "could not follow Docker's events: Docker says: no",
  );
  assert.equal(
    await first(await engine(t, { [path]: [200, 'x\n'] })),
    "could not follow Docker's events: Docker's answer is not JSON",
  );
  assert.equal(await first(await engine(t, {}), AbortSignal.abort(new Error('stop'))), 'stop');
});

test('an engine that was away is asked for its version again', async (t) => {
  const { client, asked, stop, socket } = await engine(t, {});
  assert.equal(await client.container('x', signal), undefined);
  await stop();
  assert.equal(
    (await errorOf(client.container('x', signal))).replace(socket, 'SOCKET'),
    "could not look at Docker's container x: Docker at SOCKET: connect ENOENT SOCKET; see that Docker runs, and that --docker-host names its socket".replace(
      'ENOENT SOCKET',
      `ENOENT ${socket}`,
    ),
  );
  assert.deepEqual(asked, ['GET /version', 'GET /v1.41/containers/x/json']);
});

test('a version that weft does not speak is an error', async (t) => {
  const { client } = await engine(t, {}, { Version: '18.09', ApiVersion: '1.39' });
  assert.match(await errorOf(client.container('x', signal)), /use Docker 19.03 or later$/);
});
