import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ContainerClient } from '#src/docker/container-client.ts';
import { type EngineAnswers, fakeEngine } from '../../test/support/fake-engine.ts';

const ID = 'c'.repeat(64);
const { signal } = new AbortController();

async function engine(t: TestContext, answers: EngineAnswers) {
  const { components, ...fake } = await fakeEngine(t, answers);
  return { client: new ContainerClient(components, fake), ...fake };
}

/** As engine 20.10 answered, shortened. */
const INSPECTED = {
  Id: ID,
  Name: '/web',
  Image: 'sha256:ab',
  State: { Running: true, Pid: 7, ExitCode: 0, Error: '' },
  Config: { Image: 'shop:1', Env: ['A=b'], Labels: { c: 'd' } },
  HostConfig: { NetworkMode: 'blue', PortBindings: {} },
  Mounts: [{ Type: 'volume', Name: 'data', Source: '/var/lib/docker/volumes/data', Destination: '/data' }],
  NetworkSettings: {
    Networks: {
      blue: {
        NetworkID: 'b',
        EndpointID: 'e',
        IPAddress: '10.5.0.7',
        IPPrefixLen: 24,
        MacAddress: '02:42:0a:05:00:07',
        Aliases: ['shop', ID.slice(0, 12)],
      },
    },
  },
};

test('a container is described as it has to be made again', async (t) => {
  const { client } = await engine(t, { 'GET /v1.41/containers/web/json': [200, INSPECTED] });
  assert.deepEqual(await client.describe('web', signal), {
    id: ID,
    name: 'web',
    running: true,
    exitCode: 0,
    fault: '',
    imageId: 'sha256:ab',
    image: 'shop:1',
    config: INSPECTED.Config,
    hostConfig: INSPECTED.HostConfig,
    mounts: [{ type: 'volume', name: 'data', source: '/var/lib/docker/volumes/data', destination: '/data' }],
    networks: [
      {
        network: 'blue',
        networkId: 'b',
        ipv4: '10.5.0.7',
        ipv6: '',
        mac: '02:42:0a:05:00:07',
        aliases: ['shop'],
      },
    ],
  });
  assert.equal(await client.describe('nobody', signal), undefined);
});

const NEW = {
  name: 'web',
  config: { Image: 'shop:1' },
  hostConfig: { NetworkMode: 'blue' },
  network: { network: 'blue', ipv4: '10.5.0.7', ipv6: '', aliases: ['shop'] },
  further: [{ network: 'red', ipv4: '', ipv6: 'fd00::7', aliases: [] }],
};

test('a container is made with one network, and connected to the others', async (t) => {
  const { client, bodies } = await engine(t, {
    'POST /v1.41/containers/create?name=web': [201, { Id: ID }],
    'POST /v1.41/networks/red/connect': [200, ''],
  });
  assert.equal(await client.create(NEW, signal), ID);
  assert.deepEqual(bodies, [
    {
      Image: 'shop:1',
      HostConfig: { NetworkMode: 'blue' },
      NetworkingConfig: {
        EndpointsConfig: { blue: { IPAMConfig: { IPv4Address: '10.5.0.7' }, Aliases: ['shop'] } },
      },
    },
    { Container: ID, EndpointConfig: { IPAMConfig: { IPv6Address: 'fd00::7' }, Aliases: [] } },
  ]);
});

test('one that can’t be connected is removed again, and a name that is taken is said so', async (t) => {
  const { client, asked } = await engine(t, {
    'POST /v1.41/containers/create?name=web': [201, { Id: ID }],
    [`DELETE /v1.41/containers/${ID}?force=true`]: [204, ''],
  });
  await assert.rejects(client.create(NEW, signal), { code: 'docker-refused' });
  assert.equal(asked.at(-1), `DELETE /v1.41/containers/${ID}?force=true`);
  const other = await engine(t, { 'POST /v1.41/containers/create?name=web': [409, { message: 'in use' }] });
  await assert.rejects(other.client.create(NEW, signal), { code: 'docker-exists' });
});

test('start, stop and removal of one that is as wanted do nothing, and other refusals are errors', async (t) => {
  const { client } = await engine(t, {
    'POST /v1.41/containers/web/start': [304, ''],
    'POST /v1.41/containers/web/stop?t=3': [304, ''],
    'POST /v1.41/containers/ill/start': [500, { message: 'port is already allocated' }],
  });
  await client.start('web', signal);
  await client.stop('web', 3, signal);
  await client.remove('web', signal);
  await assert.rejects(client.start('ill', signal), /Docker says: port is already allocated/);
  await assert.rejects(client.stop('nobody', 3, signal), { code: 'docker-refused' });
});

test('ports, images, labels and changed files', async (t) => {
  const { client } = await engine(t, {
    'GET /v1.41/containers/json': [
      200,
      [
        {
          Id: ID,
          Names: ['/web'],
          Ports: [
            { IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' },
            { PrivatePort: 90, Type: 'tcp' },
          ],
        },
        { Id: 'd', Names: null, Ports: null },
      ],
    ],
    'GET /v1.41/images/shop:1/json': [200, { Id: 'sha256:ab', RootFS: { Layers: ['sha256:01'] } }],
    'GET /v1.41/containers/json?all=true&filters={"label":["weft.move=1"]}': [200, [{ Id: ID }]],
    'GET /v1.41/containers/web/changes': [
      200,
      [{ Path: '/etc' }, { Path: '/etc/a' }, { Path: '/etc/b' }, { Path: '/x' }],
    ],
    'GET /v1.41/containers/same/changes': [200, null],
  });
  assert.deepEqual(await client.publishedPorts(signal), [
    { ip: '0.0.0.0', port: 8080, protocol: 'tcp', container: 'web' },
  ]);
  assert.deepEqual(await client.image('shop:1', signal), { id: 'sha256:ab', layers: ['sha256:01'] });
  assert.equal(await client.image('shop:2', signal), undefined);
  assert.deepEqual(await client.withLabel('weft.move=1', signal), [ID]);
  assert.equal(await client.changedFiles('web', signal), 3);
  assert.equal(await client.changedFiles('same', signal), 0);
});

test('a container is frozen into a folder, and started from a checkpoint of its own', async (t) => {
  const { client, bodies } = await engine(t, {
    'POST /v1.41/containers/web/checkpoints': [201, ''],
    'POST /v1.41/containers/web/start?checkpoint=c': [204, ''],
    'GET /v1.41/info': [200, { DockerRootDir: '/var/lib/docker', ExperimentalBuild: true }],
  });
  await client.freeze('web', { folder: '/shared/m', name: 'c' }, signal);
  assert.deepEqual(bodies, [{ CheckpointID: 'c', CheckpointDir: '/shared/m', Exit: true }]);
  await client.start('web', signal, 'c');
  await assert.rejects(client.start('web', signal, 'd'), { code: 'docker-refused' });
  await assert.rejects(client.freeze('ill', { folder: '/x', name: 'c' }, signal), { code: 'docker-refused' });
  assert.deepEqual(await client.engine(signal), { rootDir: '/var/lib/docker', isExperimental: true });
});
