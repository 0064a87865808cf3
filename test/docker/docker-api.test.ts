import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { DockerEvent, NewDockerNetwork } from '#src/docker/docker-api.ts';
import { DockerClient } from '#src/docker/docker-client.ts';
import { Docker } from '#src/lab/docker.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * What the driver needs of Docker's Engine API, with the driver `bridge` in place of `weft`:
 *
 *     h1: dockerd ── blue 10.77.0.0/24 ── web 10.77.0.50
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox');
const { debian, iptables } = dockerEngines();

const BLUE: NewDockerNetwork = {
  name: 'blue',
  driver: 'bridge',
  options: { 'com.docker.network.driver.mtu': '1450' },
  labels: { 'weft.test': 'yes' },
  internal: false,
  enableIpv6: true,
  ipam: {
    driver: 'default',
    options: {},
    config: [
      {
        subnet: '10.77.0.0/24',
        range: '10.77.0.128/25',
        gateway: '10.77.0.2',
        auxiliary: { printer: '10.77.0.9' },
      },
      { subnet: 'fd77::/64' },
    ],
  },
};

for (const engine of [debian, iptables]) {
  test(engine.called, { skip: cannot || engine.skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [host] = lab.hosts;
    assert.ok(host);
    const docker = await Docker.start(host, {
      options: ['--bip=10.76.0.1/24'],
      cgroup: lab.cgroup,
      programs: engine.programs,
      config: engine.config,
    });
    await docker.buildImage();
    const components = { http: systemUnixHttp, clock: systemClock };
    const client = new DockerClient(components, { socket: host.path('/run/docker.sock') });
    const stop = new AbortController();
    const { signal } = stop;
    const seen: DockerEvent[] = [];
    // Read from much later on: none of them is lost.
    const events = client.events(signal);

    const id = await client.createNetwork(BLUE, signal);
    const follow = (async () => {
      for await (const event of events) seen.push(event);
    })();
    follow.catch(() => {});
    const saw = (wanted: DockerEvent) =>
      until(() => seen.some((event) => JSON.stringify(event) === JSON.stringify(wanted)), {
        what: `event ${JSON.stringify(wanted)}`,
        signal: host.signal,
      });

    await t.test('a network has what it was made with', async () => {
      const { name, options, labels } = BLUE;
      const [network] = (await client.networks('bridge', signal)).filter((it) => it.name === name);
      assert.deepEqual(network, {
        id,
        name,
        options: { ...options, ...network?.options },
        labels,
      });
      assert.deepEqual(await client.endpoints(id, signal), []);
      assert.deepEqual([...(await client.networksInUse(signal))], []);
      assert.deepEqual(await client.networks('weft', signal), []);
      const ipam = await docker.must(['network', 'inspect', '--format', '{{json .IPAM.Config}}', 'blue']);
      assert.deepEqual(JSON.parse(ipam)[0], {
        Subnet: '10.77.0.0/24',
        IPRange: '10.77.0.128/25',
        Gateway: '10.77.0.2',
        AuxiliaryAddresses: { printer: '10.77.0.9' },
      });
      await saw({ type: 'network-created', network: id });
    });

    await t.test('a name that is taken, and what Docker refuses', async () => {
      await assert.rejects(client.createNetwork(BLUE, signal), { code: 'docker-exists' });
      await assert.rejects(client.createNetwork({ ...BLUE, name: 'other' }, signal), {
        code: 'docker-refused',
        message: /could not make Docker's network other: Docker says: .*(overlap|conflict)/i,
      });
      await assert.rejects(client.createNetwork({ ...BLUE, name: 'red', driver: 'nowhere' }, signal), {
        code: 'docker-refused',
        message: /Docker says: .*nowhere/,
      });
    });

    await t.test('a container’s `start` comes when its process runs', async () => {
      await docker.must([
        ...['create', '--name', 'web', '--network', 'blue', '--network-alias', 'shop', '--ip', '10.77.0.50'],
        ...['--stop-signal', 'SIGKILL', 'weft-lab', 'sleep', '100000'],
      ]);
      const created = await client.container('web', signal);
      assert.ok(created);
      assert.deepEqual([created.running, created.pid], [false, 0]);
      assert.deepEqual(created.networks.blue?.endpointId, '');
      const pids: number[] = [];
      const before = seen.length;
      const started = (async () => {
        for await (const event of client.events(signal)) {
          if (event.type !== 'start') continue;
          const { pid = 0 } = (await client.container(event.container, signal)) ?? {};
          pids.push(pid);
          return;
        }
      })();
      await docker.must(['start', 'web']);
      await started;
      assert.equal(pids.length, 1);
      // runc has let its process go, and the process may be a step before its execve.
      const program = () => readFileSync(`/proc/${pids[0]}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      await until(() => program() === 'sleep 100000', { what: 'the program of the container' });
      await saw({ type: 'start', container: created.id });
      const order = seen.slice(before).filter(({ type }) => type === 'connect' || type === 'start');
      assert.deepEqual(order, [
        { type: 'connect', network: id, container: created.id },
        { type: 'start', container: created.id },
      ]);
    });

    await t.test('a container, and its endpoint in the network', async () => {
      const web = await client.container('web', signal);
      const attachment = web?.networks.blue;
      assert.ok(web && attachment);
      assert.deepEqual(
        [web.name, web.running, web.image, attachment.networkId, attachment.ipv4, attachment.aliases],
        ['web', true, 'weft-lab', id, '10.77.0.50/24', ['shop']],
      );
      const { endpointId: endpoint, ipv4, ipv6, mac } = attachment;
      assert.deepEqual([...(await client.networksInUse(signal))], [id]);
      assert.deepEqual(await client.endpoints(id, signal), [
        { container: web.id, name: 'web', endpoint, ipv4, ipv6, mac },
      ]);
      assert.deepEqual(await client.endpoints('f'.repeat(64), signal), []);
      assert.match(ipv6, /^fd77::/);
      assert.equal(await client.container('nobody', signal), undefined);
    });

    await t.test('a network with a container stays, and one without goes', async () => {
      const web = await client.container('web', signal);
      assert.ok(web);
      assert.equal(await client.removeNetwork(id, signal), false);
      await docker.must(['rename', 'web', 'store']);
      await saw({ type: 'rename', container: web.id });
      assert.equal((await client.container(web.id, signal))?.name, 'store');
      await docker.remove('store');
      await saw({ type: 'disconnect', network: id, container: web.id });
      await saw({ type: 'die', container: web.id });
      assert.equal(await client.removeNetwork(id, signal), true);
      await saw({ type: 'network-removed', network: id });
      assert.equal(await client.removeNetwork(id, signal), true);
      const [bridge] = await client.networks('bridge', signal);
      await assert.rejects(client.removeNetwork(bridge?.id ?? '', signal), { code: 'docker-refused' });
    });

    await t.test('events end when Docker ends, and come again with the next', async () => {
      await docker.daemon.stop();
      await assert.rejects(follow, { code: 'docker-api' });
      await assert.rejects(client.networks('bridge', signal), { code: 'docker-api' });
      await docker.restart();
      const again = client.events(signal)[Symbol.asyncIterator]();
      await docker.must(['network', 'create', 'late']);
      assert.equal((await again.next()).value?.type, 'network-created');
      stop.abort(new Error('enough'));
      await assert.rejects(again.next(), { message: 'enough' });
    });
  });
}
