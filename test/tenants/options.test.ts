import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { IMAGE } from '#src/lab/docker.ts';
import { callerSeenBy } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { composePlugin } from '../support/docker-compose.ts';
import { dockerEngines, type Engine } from '../support/docker-engines.ts';
import { WEB } from '../support/docker-network.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  creationOf,
  newName,
  sharedTenants,
  type TenantWords,
  waitForNetwork,
} from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { assertViewsAgree, storedAddress, waitForName, waitForRelease } from '../support/tenant-views.ts';

/*
 * What users ask of Docker for a container and get in a tenant as well (docker-driver.md §6 number 13), with each engine,
 * and between it and the next one:
 *
 *     store .190     h1 .191 flanneld, Debian's dockerd     h2 .192 flanneld, Docker 29 with iptables
 *                    h3 .193 flanneld, Docker 29 with nftables
 */
const cannot = cannotRunTenants();
const { debian, iptables, nftables } = dockerEngines();
const ENGINES = [debian, iptables, nftables];
const here = ENGINES.filter(({ skip }) => skip === false);
const tenants = sharedTenants(cannot, {
  hosts: Math.max(here.length, 2),
  engines: [here[0] ?? debian, ...here.slice(1)],
});

/** The engine's host, and the next. */
function pairOf(engine: Engine): [TenantHost, TenantHost] {
  const { hosts } = tenants();
  const n = here.indexOf(engine);
  const [one, two] = [hosts[n], hosts[(n + 1) % hosts.length]];
  if (one === undefined || two === undefined) throw new Error('there are not two hosts');
  return [one, two];
}

async function create([one, two]: readonly TenantHost[], words: TenantWords): Promise<string> {
  const name = newName();
  await one?.must(creationOf(name, words));
  if (two !== undefined) await waitForNetwork(two, name);
  return name;
}

for (const engine of ENGINES) {
  describe(engine.called, () => {
    const skip = cannot || engine.skip;
    const pair = () => pairOf(engine);

    test('published ports, one by one and all', { skip }, async () => {
      const [one, two] = pair();
      const name = await create(pair(), { subnet: '10.41.0.0/24' });
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
      const name = await create(pair(), { subnet: '10.42.0.0/24', words: ['--internal'] });
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

    // The two firewalls of one engine differ in the way out only.
    if (engine === iptables) return;

    for (const [called, words] of [
      ['of choice', ['--subnet', 'fd00:43::/64']],
      ['of the cluster’s choice', []],
    ] as const) {
      // What follows from a name is so with every engine.
      if (words.length === 0 && engine !== debian) continue;
      test(`both families, with an IPv6 subnet ${called}`, { skip }, async () => {
        const [one, two] = pair();
        const name = await create(pair(), { subnet: '10.43.0.0/24', words: ['--ipv6', ...words] });
        const a = await one.run('dual', name, ['--ip', '10.43.0.11']);
        const b = await two.run('dual', name);
        const [here, there] = [await one.attachment('dual', name), await two.attachment('dual', name)];
        assert.ok(here && there);
        assert.match(here.GlobalIPv6Address, words.length > 0 ? /^fd00:43::b$/ : /^fd[0-9a-f:]+:b$/);
        await waitForAnswer(a, there.IPAddress);
        await waitForAnswer(a, there.GlobalIPv6Address);
        await assertViewsAgree(tenants());
        // It moves, and asks for one address only.
        await one.remove('dual');
        await waitForRelease(tenants(), name, here.IPAddress, here.GlobalIPv6Address);
        // The other host hears of what happens in order.
        const later = await one.run('later', name);
        await waitForAnswer(b, later.address);
        await two.run('moved', name, ['--ip', '10.43.0.11']);
        const moved = await two.attachment('moved', name);
        assert.deepEqual(
          [moved?.GlobalIPv6Address, moved?.MacAddress],
          [here.GlobalIPv6Address, here.MacAddress],
        );
        await one.remove('later');
        await two.remove('dual', 'moved');
      });
    }

    test('a range, a gateway, reserved addresses, and addresses of choice', { skip }, async () => {
      const [one, two] = pair();
      const words = ['--ip-range', '10.49.0.128/28', '--gateway', '10.49.0.9'];
      const name = await create(pair(), {
        subnet: '10.49.0.0/24',
        words: [...words, '--aux-address', 'printer=10.49.0.10', '--ipv6', '--subnet', 'fd00:49::/64'],
      });
      const a = await one.run('any', name);
      const b = await two.run('any', name);
      for (const { address } of [a, b]) assert.match(address, /^10\.49\.0\.1(2[89]|3\d|4[0-3])$/);
      await one.run('chosen', name, ['--ip', '10.49.0.50', '--ip6', 'fd00:49::77']);
      await waitForAnswer(b, '10.49.0.50');
      await waitForAnswer(b, 'fd00:49::77');
      await waitForName(tenants(), name, '10.49.0.50', 'chosen');
      for (const [host, option, address, reason] of [
        [one, '--ip', '10.49.0.9', /is the gateway/],
        [two, '--ip', '10.49.0.10', /printer/],
        [two, '--ip', '10.49.0.50', new RegExp(`held on host ${one.name} by container chosen`)],
        [two, '--ip6', 'fd00:49::77', new RegExp(`held on host ${one.name}`)],
      ] as const) {
        const run = ['run', '-d', '--name', 'refused', '--network', name, option, address, IMAGE, 'true'];
        assert.match(await host.refused(run), reason);
        await host.remove('refused');
      }
      const outside = creationOf(newName(), {
        subnet: '10.50.0.0/24',
        words: ['--ip-range', '10.51.0.0/25'],
      });
      assert.match(await one.refused(outside), /10\.51\.0\.0\/25/);
      await one.remove('any', 'chosen');
      await two.remove('any');
    });

    test('options that are not known are refused with those that are', { skip }, async () => {
      const [one] = pair();
      const name = newName();
      const list = /weft\.vin.*weft\.network, weft\.vni, weft\.mtu/;
      assert.match(await one.refused(creationOf(name, { words: ['-o', 'weft.vin=7'] })), list);
      const ipam = creationOf(name, { words: ['--ipam-opt', 'weft.vin=7'] });
      assert.match(await one.refused(ipam), /--ipam-opt weft\.vin; it has weft\.network/);
      const there = await create([one], { subnet: '10.52.0.0/24' });
      await one.run('connects', 'bridge');
      const connect = ['network', 'connect', '--driver-opt', 'colour=red', there, 'connects'];
      assert.match(await one.refused(connect), /--driver-opt colour; it has none/);
      await one.remove('connects');
    });

    test('a MAC of choice', { skip }, async () => {
      const [one, two] = pair();
      const name = await create(pair(), { subnet: '10.44.0.0/24' });
      // Later clients refuse the flag where the engine takes one MAC for all of a container's networks.
      const run = (host: TenantHost, container: string, mac: string) =>
        host.host.run(
          [
            ...[here[tenants().hosts.indexOf(host)] === debian ? '/usr/bin/docker' : 'docker'],
            ...['run', '-d', '--stop-signal', 'SIGKILL', '--network', name],
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
      // One container is in two tenants only where their addresses differ.
      const first = await create(pair(), { subnet: '10.45.0.0/24' });
      const second = await create(pair(), { subnet: '10.46.0.0/24' });
      const a = await one.run('both', first);
      const b = await two.run('first', first);
      const c = await two.run('second', second, ['--ip', '10.46.0.40']);
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

    if (engine !== debian) return;

    test('names of a host’s own containers', { skip }, async () => {
      const [one] = pair();
      const name = await create([one], { subnet: '10.47.0.0/24' });
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

const compose = composePlugin();
const FILE = '/run/compose/compose.yaml';

const composeFile = (network: string): string =>
  JSON.stringify({
    services: { web: { image: IMAGE, command: 'sleep 100000', networks: ['shop'] } },
    networks: { shop: { external: true, name: network } },
  });

test('one compose file on two hosts, with the network as an external one', {
  skip: cannot || compose.skip,
}, async () => {
  const [one, two] = tenants().hosts;
  assert.ok(one && two);
  const name = await create([one, two], { subnet: '10.48.0.0/24' });
  const run = (host: TenantHost, ...words: string[]) =>
    host.host.must([...compose.command, '-f', FILE, '-p', 'site', ...words], { timeoutMs: 60_000 });
  for (const host of [one, two]) {
    await host.host.write(FILE, composeFile(name));
    await run(host, 'up', '-d');
  }
  const container = await two.docker.container('site-web-1');
  const { IPAddress = '' } = (await one.attachment('site-web-1', name)) ?? {};
  assert.ok(container);
  await waitForAnswer(container, IPAddress);
  await assertViewsAgree(tenants());
  await waitForName(tenants(), name, IPAddress, 'web');
  const names = (await storedAddress(tenants(), name, IPAddress))?.names ?? [];
  assert.deepEqual([...names].sort(), ['site-web-1', 'web']);
  for (const host of [two, one]) await run(host, 'down', '-t', '0');
});
