import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NameServers } from '#src/driver/names/name-servers.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { Docker } from '#src/lab/docker.ts';
import { parseIp, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemDeviceSockets } from '#src/sys/device-sockets.ts';
import { until } from '#src/sys/until.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * Docker's own server of names in each container, 127.0.0.11, asks the one that `--dns` names, from the container's network.
 * Docker's bridges stand for those of tenants here:
 *
 *     h1: dockerd
 *         br-1 10.5.0.1, a name server ── eth0 10.5.0.2 :here, container of blue
 *         br-2 10.6.0.1, a name server ── eth0 10.6.0.2 :inner, container of red, which is internal
 *     elsewhere: 10.5.0.77 and 10.5.0.78, both "web" of blue; 10.6.0.77, "web" of red
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox', 'iptables');
const { debian, iptables } = dockerEngines();

const NETWORKS = [
  { name: 'blue', vni: 1, net: '10.5.0', internal: false, options: [] },
  { name: 'red', vni: 2, net: '10.6.0', internal: true, options: ['--internal'] },
] as const;

for (const engine of [debian, iptables]) {
  test(`containers of ${engine.called} find names on other hosts by --dns`, {
    skip: cannot || engine.skip,
  }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [host] = lab.hosts;
    assert.ok(host);
    const { programs, config } = engine;
    const docker = await Docker.start(host, { options: [], cgroup: lab.cgroup, programs, config });
    await docker.buildImage();
    const servers = new NameServers(
      {
        sockets: systemDeviceSockets,
        resolvers: { ask: async () => undefined },
        clock: systemClock,
        log: silentLogger,
      },
      {
        namespace: `/run/netns/${host.namespace}`,
        deviceOf: ({ vni }) => `br-${vni}`,
        lookMs: 50,
      },
    );
    for (const { name, vni, net, internal, options } of NETWORKS) {
      const bridge = ['--opt', `com.docker.network.bridge.name=br-${vni}`];
      const addresses = [`--subnet=${net}.0/24`, `--gateway=${net}.1`];
      await docker.must(['network', 'create', ...bridge, ...addresses, ...options, name]);
      const table = new NameTable();
      for (const last of vni === 1 ? ['77', '78'] : ['77']) publish(table, `${net}.${last}`, 'web');
      const service = servers.serve(tenantOf(name, vni, net, internal), table);
      t.after(() => service.stop());
      await until(() => service.trouble === undefined, { what: `name server of ${name}` });
    }
    const run = (name: string, network: string, dns: string) =>
      docker.run(name, undefined, ['--network', network, '--dns', dns]);
    await run('here', 'blue', '10.5.0.1');
    await run('inner', 'red', '10.6.0.1');
    const look = (name: string, ...what: readonly string[]): Promise<string> =>
      docker.exec(name, ['sh', '-c', `nslookup ${what.join(' ')} 2>&1; true`]);

    for (const name of ['web', 'web.weft', 'web.blue', 'WEB.blue.weft']) {
      const answer = await look('here', '-type=a', name);
      assert.match(answer, /^Server:\s+127\.0\.0\.11$/m);
      assert.deepEqual(addressesIn(answer), ['10.5.0.77', '10.5.0.78'], name);
    }
    assert.match(await look('here', '-type=a', 'nobody.weft'), /NXDOMAIN/);
    assert.match(await look('here', '10.5.0.77'), /web\.blue/);
    assert.deepEqual(addressesIn(await look('inner', '-type=a', 'web')), ['10.6.0.77']);
    assert.match(await look('inner', '-type=a', 'example.com'), /REFUSED|SERVFAIL/);

    // Docker's server has the first word for a container of this host, unless the name is in our domain.
    await docker.run('near', undefined, ['--network', 'blue', '--network-alias', 'web']);
    assert.deepEqual(addressesIn(await look('here', '-type=a', 'web')), ['10.5.0.3']);
    assert.deepEqual(addressesIn(await look('here', '-type=a', 'web.weft')), ['10.5.0.77', '10.5.0.78']);
  });
}

function tenantOf(name: string, vni: number, net: string, internal: boolean): Tenant {
  const prefix = parsePrefix4(`${net}.0/24`);
  const gateway = parsePrefix4(`${net}.1/24`);
  assert.ok(prefix !== undefined && gateway !== undefined);
  return {
    name,
    vni,
    internal,
    subnets: { v4: { prefix, gateway: gateway.address, auxiliary: {} } },
  };
}

function publish(table: NameTable, address: string, name: string): void {
  const [ip, vtep] = [parseIp(address), parseIp('192.0.2.1')];
  assert.ok(ip !== undefined && vtep !== undefined);
  table.set({ ip, state: 'published', host: 'h2', vtep, names: [name], keep: false, since: 0 });
}

/** The addresses in busybox's answer, without the server's. */
const addressesIn = (answer: string): string[] =>
  Array.from(answer.matchAll(/^Address: (10\.\S+)$/gm), ([, address]) => address ?? '').sort();
