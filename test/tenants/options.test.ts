import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { IMAGE } from '#src/lab/docker.ts';
import { callerSeenBy } from '#src/lab/traffic.ts';
import { systemCommands } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { WEB } from '../support/docker-network.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import { cannotRunTenants, createTenant, newName, sharedTenants, twoOf } from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { assertViewsAgree, storedAddress } from '../support/tenant-views.ts';

/*
 * What users ask of Docker for a container and get in a tenant as well (docker-driver.md §6 number 13):
 *
 *     store .190     h1 .191 flanneld, dockerd     h2 .192 flanneld, dockerd
 */
const cannot = cannotRunTenants();
const { debian, iptables, nftables } = dockerEngines();

for (const engine of [debian, iptables, nftables]) {
  describe(engine.called, () => {
    const skip = cannot || engine.skip;
    const tenants = sharedTenants(skip, { engine });
    const pair = () => twoOf(tenants());

    test('published ports, one by one and all', { skip }, async () => {
      const [one, two] = pair();
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.41.0.0/24' });
      await one.run('published', name, ['-p', '8080:8080'], WEB);
      assert.equal(await callerSeenBy(two.host, one.address), two.address);
      await one.run('exposed', name, ['--expose', '8080', '-P'], WEB);
      const port = /:(\d+)$/m.exec(await one.must(['port', 'exposed', '8080/tcp']))?.[1];
      assert.equal(await callerSeenBy(two.host, one.address, Number(port)), two.address);
      // The container's own way out, and its tenant beside it.
      const inside = await two.run('outward', name);
      assert.equal(await answered(inside, tenants().lab.store.address), 3);
      const published = (await one.attachment('published', name))?.IPAddress ?? '';
      assert.equal(await callerSeenBy(inside, published), inside.address);
      await one.remove('published', 'exposed');
      await two.remove('outward');
    });

    test('an internal network has no way out', { skip }, async () => {
      const [one, two] = pair();
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.42.0.0/24', words: ['--internal'] });
      const a = await one.run('internal', name);
      const b = await two.run('internal', name);
      await waitForAnswer(a, b.address);
      assert.equal(await answered(a, tenants().lab.store.address, 1), 0);
      assert.doesNotMatch(await a.must(['ip', 'route']), /default/);
      assert.deepEqual(
        (await a.ip(['link'])).map(({ ifname }) => ifname),
        ['lo', 'eth0'],
      );
      for (const host of [one, two]) await host.remove('internal');
    });

    test('both families, with one host number', { skip }, async () => {
      const [one, two] = pair();
      const name = newName();
      const words = ['--ipv6', '--subnet', 'fd00:43::/64'];
      await createTenant(tenants(), name, { subnet: '10.43.0.0/24', words });
      const a = await one.run('dual', name, ['--ip', '10.43.0.11']);
      await two.run('dual', name);
      const [here, there] = [await one.attachment('dual', name), await two.attachment('dual', name)];
      assert.ok(here && there);
      assert.match(here.GlobalIPv6Address, /^fd00:43::/);
      await waitForAnswer(a, there.IPAddress);
      await waitForAnswer(a, there.GlobalIPv6Address);
      await assertViewsAgree(tenants());
      for (const host of [one, two]) await host.remove('dual');
    });

    test('a MAC of choice', { skip }, async () => {
      const [one, two] = pair();
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.44.0.0/24' });
      // Later clients refuse the flag where the engine takes one MAC for all of a container's networks.
      const cli = engine === debian ? '/usr/bin/docker' : 'docker';
      const run = (host: TenantHost, container: string, mac: string) =>
        host.host.run(
          [
            ...[cli, 'run', '-d', '--stop-signal', 'SIGKILL', '--network', name],
            ...['--mac-address', mac, '--name', container, IMAGE, 'sleep', '100000'],
          ],
          { timeoutMs: 60_000 },
        );
      const mac = '02:00:00:00:44:01';
      assert.equal((await run(one, 'chosen', mac)).code, 0);
      const found = await one.attachment('chosen', name);
      assert.equal(found?.MacAddress, mac);
      const b = await two.run('peer', name);
      await waitForAnswer(b, found.IPAddress);
      const taken = await run(two, 'taken', mac);
      assert.match(taken.stderr, /02:00:00:00:44:01/);
      const multicast = await run(two, 'many', '03:00:00:00:44:01');
      assert.notEqual(multicast.code, 0);
      await one.remove('chosen');
      await two.remove('peer', 'taken', 'many');
    });

    test('a network is connected and disconnected while the container runs', { skip }, async () => {
      const [one, two] = pair();
      const [first, second] = [newName(), newName()];
      // The same addresses in both: one container is in two tenants only where they differ.
      await createTenant(tenants(), first, { subnet: '10.45.0.0/24' });
      await createTenant(tenants(), second, { subnet: '10.46.0.0/24' });
      const a = await one.run('both', first);
      const b = await two.run('first', first);
      const c = await two.run('second', second);
      await waitForAnswer(a, b.address);
      assert.equal(await answered(a, c.address, 1), 0);
      await one.must(['network', 'connect', '--ip', '10.46.0.50', second, 'both']);
      await waitForAnswer(a, c.address);
      await waitForAnswer(c, '10.46.0.50');
      await one.must(['network', 'disconnect', second, 'both']);
      await until(async () => (await storedAddress(tenants(), second, '10.46.0.50'))?.state === 'released', {
        what: 'release of the address',
        timeoutMs: 20_000,
      });
      assert.equal(await answered(c, '10.46.0.50', 1), 0);
      assert.equal(await answered(a, b.address), 3);
      await assertViewsAgree(tenants());
      await one.remove('both');
      await two.remove('first', 'second');
    });

    test('names of a host’s own containers', { skip }, async () => {
      const [one] = pair();
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.47.0.0/24' });
      const named = await one.run('named', name, ['--network-alias', 'db']);
      await one.run('asks', name);
      for (const word of ['named', 'db']) {
        assert.match(
          await one.docker.exec('asks', ['ping', '-c1', '-W2', word]),
          new RegExp(named.address.replaceAll('.', '\\.')),
        );
      }
      await one.remove('named', 'asks');
    });
  });
}

const COMPOSE = (name: string): string => `
services:
  web:
    image: ${IMAGE}
    command: sleep 100000
    networks: [inner]
networks:
  inner:
    driver: weft
    driver_opts: { weft.network: ${name} }
    ipam:
      driver: weft
      options: { weft.network: ${name} }
      config: [{ subnet: 10.48.0.0/24 }]
`;

/** Why compose can't be tried here. */
async function cannotCompose(): Promise<string | false> {
  const { code } = await systemCommands.run(['docker', 'compose', 'version']);
  return code !== 0 && 'needs the compose plugin of the docker command (package docker-compose-plugin)';
}

describe('compose', async () => {
  const skip = cannot || (await cannotCompose());
  const tenants = sharedTenants(skip);
  test('one file on two hosts is one network', { skip }, async () => {
    const [one, two] = twoOf(tenants());
    const name = newName();
    for (const host of [one, two]) {
      await host.host.write('/run/compose/compose.yaml', COMPOSE(name));
      await host.must(['compose', '-f', '/run/compose/compose.yaml', '-p', 'site', 'up', '-d']);
    }
    const [a, b] = [await one.docker.container('site-web-1'), await two.docker.container('site-web-1')];
    assert.ok(a && b);
    await waitForAnswer(a, b.address);
    await assertViewsAgree(tenants());
    for (const host of [one, two]) {
      await host.must(['compose', '-f', '/run/compose/compose.yaml', '-p', 'site', 'down', '-t', '0']);
    }
  });
});
