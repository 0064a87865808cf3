import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { PluginServer } from '#src/driver/plugin-server.ts';
import { PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { Docker } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { parseIp } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { dockerEngines, type Engine } from '../support/docker-engines.ts';
import { prefix, type Recorded, RecordingDrivers } from '../support/recording-drivers.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * Which calls a real dockerd sends, and in which order, to drivers that only remember them:
 *
 *     h1: dockerd ── /run/docker/plugins/weft.sock ── this test        web: eth0, the other end of a veth without a bridge
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox');
const { debian, iptables } = dockerEngines();

const DEVICE = 'w0123456789abc';
const IPAM = ['--ipam-driver=weft', '--ipam-opt=weft.network=blue', '--opt=weft.network=blue'];
const RUN = ['run', '--detach', '--network=blue', '--stop-signal=SIGKILL', '--name=web'];

interface Setup {
  readonly host: Host;
  readonly docker: Docker;
  readonly drivers: RecordingDrivers;
}

async function setUp(t: TestContext, engine: Engine): Promise<Setup> {
  const lab = await testLab(t, { hosts: 1 });
  const [host] = lab.hosts;
  assert.ok(host);
  const drivers = new RecordingDrivers();
  drivers.joinAnswer = { device: DEVICE, prefix: 'eth' };
  const { network, addresses } = drivers;
  const components = { network, addresses, clock: systemClock, logger: silentLogger };
  const server = new PluginServer(components, { path: host.path(PLUGIN_SOCKET) });
  await server.start();
  t.after(() => server.stop());
  const options = { options: ['--bip=10.76.0.1/24'], cgroup: lab.cgroup, ...engine };
  const docker = await Docker.start(host, options);
  await docker.buildImage();
  return { host, docker, drivers };
}

/** The methods called since the last look. */
const methods = ({ drivers }: Setup): string[] => drivers.calls.splice(0).map(([method]) => method);

function only(calls: readonly Recorded[], method: string): Recorded {
  const [call, ...others] = calls.filter(([name]) => name === method);
  assert.ok(call && others.length === 0, method);
  return call;
}

/** What a call that was made got. */
function gotBy<T>(call: Recorded | undefined): T {
  assert.ok(call);
  return call[1] as T;
}

/**
 * Docker has moved an earlier one back out of the container, by its old name. One that went with the container's namespace
 * takes its other end along when the kernel gets to it.
 */
async function makeDevice({ host }: Setup): Promise<void> {
  await host.must([
    'sh',
    '-c',
    'ip link del "$0" 2>/dev/null; ip link del p0 2>/dev/null; ip link add "$0" type veth peer name p0',
    DEVICE,
  ]);
}

async function errorOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return messageOf(error);
  }
  return 'none';
}

for (const engine of [debian, iptables]) {
  const current = engine === iptables;
  /** Engine 29 asks for it after each Join; 20.10 only where the network is internal. */
  const info = current ? ['endpointInfo'] : [];

  test(engine.called, { skip: cannot || engine.skip }, async (t) => {
    const setup = await setUp(t, engine);
    const { docker, drivers } = setup;

    await t.test('network create', async () => {
      const ranges = ['--subnet=10.5.0.0/24', '--ip-range=10.5.0.128/25', '--aux-address=printer=10.5.0.9'];
      await docker.must(['network', 'create', '--driver=weft', ...IPAM, ...ranges, '--label=a=b', 'blue']);
      const made = only(drivers.calls, 'createNetwork');
      const options = { 'weft.network': 'blue' };
      assert.deepEqual(drivers.calls.splice(0), [
        ['requestPool', { family: 4, pool: prefix('10.5.0.0/24'), range: prefix('10.5.0.128/25'), options }],
        // As --ip is, before 29. The gateway is not asked for: the pool's answer had one.
        ['requestAddress', { poolId: 'blue/v4', address: parseIp('10.5.0.9'), isGateway: false }],
        [
          'createNetwork',
          {
            networkId: gotBy<{ networkId: string }>(made).networkId,
            options,
            internal: false,
            pools: [
              {
                addressSpace: 'weft',
                pool: prefix('10.5.0.0/24'),
                gateway: prefix('10.5.0.1/24'),
                auxiliary: { printer: parseIp('10.5.0.11') },
              },
            ],
          },
        ],
      ]);
    });

    await t.test(
      'network create with a gateway, internal, of both families, and without our IPAM',
      async () => {
        drivers.instead.set('createNetwork', async () => {
          throw new WeftError('x', 'weft makes no network now', { remedy: 'wait' });
        });
        const create = ['network', 'create', '--driver=weft'];
        const refused = async (...words: string[]): Promise<readonly Recorded[]> => {
          const text = await errorOf(docker.must([...create, ...words, 'red']));
          assert.match(text, /Error response from daemon: remote: weft makes no network now; wait/);
          return drivers.calls.splice(0);
        };
        const one = await refused(...IPAM, '--subnet=10.5.0.0/24', '--gateway=10.5.0.2', '--internal');
        assert.deepEqual(
          one.map(([method]) => method),
          ['requestPool', 'requestAddress', 'createNetwork', 'releaseAddress', 'releasePool'],
        );
        assert.deepEqual(one[1]?.[1], { poolId: 'blue/v4', address: parseIp('10.5.0.2'), isGateway: true });
        assert.equal(gotBy<{ internal: boolean }>(one[2]).internal, true);

        const two = await refused('--opt=weft.network=blue', '--subnet=10.5.0.0/24');
        assert.deepEqual(
          two.map(([method]) => method),
          ['createNetwork'],
        );
        assert.match(JSON.stringify(two), /"addressSpace":"LocalDefault"/);
        drivers.instead.clear();
      },
    );

    await t.test('run', async () => {
      await makeDevice(setup);
      await docker.must([...RUN, '--publish=8080:80', 'weft-lab', 'sleep', '100000']);
      const [request, endpoint, join] = drivers.calls;
      assert.deepEqual(methods(setup), ['requestAddress', 'createEndpoint', 'join', ...info]);
      const container = current ? { container: 'web' } : {};
      assert.deepEqual(request, ['requestAddress', { poolId: 'blue/v4', isGateway: false, ...container }]);
      const { addresses, options, mac: given } = gotBy<Record<string, unknown>>(endpoint);
      assert.deepEqual([addresses, options, given], [[prefix('10.5.0.11/24')], {}, undefined]);
      assert.match(gotBy<{ sandbox: string }>(join).sandbox, /^\/var\/run\/docker\/netns\/[0-9a-f]+$/);
      const link = await docker.exec('web', ['ip', 'address', 'show', 'eth0']);
      assert.match(link, /ether 02:42:0a:05:00:0b .* inet 10\.5\.0\.11\/24 /s);
      // Docker gives the way out and the published port by itself, for Join had no gateway.
      assert.match(await docker.exec('web', ['ip', 'route']), /^default via \S+ dev eth1/);
    });

    await t.test('network rm of a network that is in use sends nothing', async () => {
      assert.match(await errorOf(docker.must(['network', 'rm', 'blue'])), /has active endpoints/);
      assert.deepEqual(methods(setup), []);
    });

    await t.test('stop, start, network disconnect and connect, rm', async () => {
      const leave = ['leave', 'deleteEndpoint', 'releaseAddress'];
      const enter = ['requestAddress', 'createEndpoint', 'join', ...info];
      await docker.must(['stop', 'web']);
      assert.deepEqual(methods(setup), leave);
      await makeDevice(setup);
      await docker.must(['start', 'web']);
      assert.deepEqual(methods(setup), enter);
      await docker.must(['network', 'disconnect', 'blue', 'web']);
      assert.deepEqual(methods(setup), leave);
      await makeDevice(setup);
      await docker.must(['network', 'connect', '--driver-opt=colour=green', '--ip=10.5.0.11', 'blue', 'web']);
      assert.match(JSON.stringify(drivers.calls[1]), /"options":\{"colour":"green"\}/);
      assert.deepEqual(gotBy<{ address: number }>(drivers.calls[0]).address, parseIp('10.5.0.11'));
      assert.deepEqual(methods(setup), enter);
      await docker.remove('web');
      assert.deepEqual(methods(setup), leave);
    });

    await t.test('errors reach the user, and what was done is taken back', async () => {
      const failing = async (method: string): Promise<readonly string[]> => {
        drivers.instead.set(method, async () => {
          throw new WeftError('x', `no ${method}`, { remedy: 'wait' });
        });
        const text = await errorOf(docker.must([...RUN, 'weft-lab', 'sleep', '100000']));
        drivers.instead.clear();
        assert.match(text, new RegExp(`remote: no ${method}; wait`));
        await docker.remove('web');
        return methods(setup);
      };
      assert.deepEqual(await failing('requestAddress'), ['requestAddress']);
      assert.deepEqual(await failing('createEndpoint'), [
        'requestAddress',
        'createEndpoint',
        'releaseAddress',
      ]);
      const left = current ? ['leave'] : [];
      const back = [...left, 'deleteEndpoint', 'releaseAddress'];
      assert.deepEqual(await failing('join'), ['requestAddress', 'createEndpoint', 'join', ...back]);
    });

    await t.test('what Docker can’t use, it takes back', async () => {
      const tried = async (): Promise<readonly string[]> => {
        await assert.rejects(docker.must([...RUN, 'weft-lab', 'sleep', '100000']));
        await docker.remove('web');
        return methods(setup);
      };
      // Engine 29 calls Leave twice.
      const back = [...(current ? ['leave'] : []), 'leave', 'deleteEndpoint', 'releaseAddress'];
      drivers.joinAnswer = { device: 'nowhere', prefix: 'eth' };
      assert.deepEqual(await tried(), ['requestAddress', 'createEndpoint', 'join', ...back]);
    });

    await t.test('network rm', async () => {
      await docker.must(['network', 'rm', 'blue']);
      const [gateway, aux] = drivers.calls;
      assert.deepEqual(
        [gateway, aux],
        [
          ['releaseAddress', 'blue/v4', parseIp('10.5.0.1')],
          ['releaseAddress', 'blue/v4', parseIp('10.5.0.11')],
        ],
      );
      assert.deepEqual(methods(setup), ['releaseAddress', 'releaseAddress', 'releasePool', 'deleteNetwork']);
    });
  });
}
