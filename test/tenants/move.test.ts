import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import { IMAGE } from '#src/lab/docker.ts';
import { callerSeenBy, Traffic } from '#src/lab/traffic.ts';
import { systemCommands } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { keepApart } from '../support/apart.ts';
import { cannotCheckpoint, keepConnections } from '../support/checkpoints.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { WEB } from '../support/docker-network.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  newName,
  sharedTenants,
  type Tenants,
  tenantHosts,
  threeOf,
  twoOf,
} from '../support/docker-tenants.ts';
import type { CallReport } from '../support/echo-process.ts';
import { inRepository } from '../support/flanneld.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { echoesAt } from '../support/tenant-frames.ts';
import { assertViewsAgree, storedAddress, waitForRelease } from '../support/tenant-views.ts';

/*
 * A container ends on one host and starts on another with its address (docker-driver.md §6 numbers 17 and 18):
 *
 *     h1 .191  web .50, then not      h2 .192  then web .50, peer      h3 .193  client
 */
const cannot = cannotRunTenants();
const { debian, iptables } = dockerEngines();

interface Scene {
  readonly name: string;
  readonly ip: string;
  readonly client: Container;
  readonly neighbour: Container;
}

/** web on h1, and who calls it: a client on h3, a neighbour on h1. */
async function scene(tenants: Tenants, subnet: string): Promise<Scene> {
  const [one, , three] = threeOf(tenants);
  const name = newName();
  const ip = subnet.replace('0/24', '50');
  await createTenant(tenants, name, { subnet });
  await start(one, name, ip);
  const client = await three.run(`client-${name}`, name);
  const neighbour = await one.run(`neighbour-${name}`, name);
  await waitForAnswer(client, ip);
  return { name, ip, client, neighbour };
}

const start = (host: TenantHost, name: string, ip: string): Promise<Container> =>
  host.run(`web-${name}`, name, ['--ip', ip], WEB);

/** It ends, and the store says so. */
async function end(
  tenants: Tenants,
  host: TenantHost,
  { name, ip }: Pick<Scene, 'name' | 'ip'>,
): Promise<void> {
  await host.remove(`web-${name}`);
  await waitForRelease(tenants, name, ip);
}

/** The words after `docker` that start it. A container that could not start stays. */
const runWords = (name: string, ip: string): string[] => [
  ...['run', '-d', '--name', `web-${name}`, '--stop-signal', 'SIGKILL', '--network', name, '--ip', ip],
  ...[IMAGE, ...WEB],
];

async function startsOn(host: TenantHost, name: string, ip: string): Promise<boolean> {
  if ((await host.attempt(runWords(name, ip))).code === 0) return true;
  await host.remove(`web-${name}`);
  return false;
}

const INPUT = 'add chain ip patient in { type filter hook input priority 0; }';

for (const engine of [debian, iptables]) {
  describe(engine.called, () => {
    const skip = cannot || engine.skip;
    const tenants = sharedTenants(skip, { hosts: 3, engines: [engine] });

    test('stopped here, started there: address, MAC and peers follow', { skip }, async () => {
      const [one, two, three] = threeOf(tenants());
      const { name, ip, client, neighbour } = await scene(tenants(), '10.91.0.0/24');
      const mac = (await one.attachment(`web-${name}`, name))?.MacAddress ?? '';
      assert.deepEqual(await three.vtepsFor(mac), [one.address]);
      const traffic = await Traffic.start(client, ip, { perSecond: 50 });
      await end(tenants(), one, { name, ip });
      await start(two, name, ip);
      assert.equal((await two.attachment(`web-${name}`, name))?.MacAddress, mac);
      for (const from of [client, neighbour]) {
        await waitForAnswer(from, ip);
        assert.equal(await callerSeenBy(from, ip), from.address);
      }
      assert.ok((await traffic.stop()).received > 0);
      // A host that hears of it late reaches it by the former one.
      for (const host of [one, three]) await host.sendsTo(mac, two.address);
      assert.deepEqual(await two.vtepsFor(mac), []);
      await assertViewsAgree(tenants());
    });

    test('a call to an address that moves meanwhile is answered in the end', { skip }, async () => {
      const [one, two] = threeOf(tenants());
      const { name, ip, client } = await scene(tenants(), '10.92.0.0/24');
      // The container's address is there before its program listens, and a question in between would be refused.
      await client.must(['nft', `add table ip patient; ${INPUT}; add rule ip patient in tcp flags rst drop`]);
      await end(tenants(), one, { name, ip });
      // TCP goes on asking for a connection, and gets it when the container is there.
      const url = `http://${ip}:8080/cgi-bin/caller`;
      const call = client.must(['busybox', 'wget', '-q', '-O-', url], { timeoutMs: 120_000 });
      call.catch(() => {});
      await until(async () => (await client.must(['ss', '-Htn', 'state', 'syn-sent', 'dst', ip])) !== '', {
        what: 'question for a connection',
      });
      await start(two, name, ip);
      assert.equal((await call).trim(), client.address);
    });

    test('a peer that hears of it late reaches the new host through the old one', { skip }, async () => {
      const [one, two, three] = threeOf(tenants());
      const { name, ip, client } = await scene(tenants(), '10.93.0.0/24');
      const { store } = tenants().lab;
      // What the store sends would still be taken.
      const joins = [await keepApart(three.host, store.address), await keepApart(store, three.address)];
      try {
        await end(tenants(), one, { name, ip });
        await start(two, name, ip);
        // Its entry still points at h1.
        await waitForAnswer(client, ip, 10_000);
        assert.equal(await answered(client, ip, 5), 5);
      } finally {
        for (const join of joins) await join();
      }
      const mac = (await two.attachment(`web-${name}`, name))?.MacAddress ?? '';
      await three.sendsTo(mac, two.address);
      assert.equal(await answered(client, ip, 5), 5);
    });

    test('to and fro, quickly: the last host has it, and nothing goes in circles', { skip }, async () => {
      const [one, two, three] = threeOf(tenants());
      const { name, ip, client } = await scene(tenants(), '10.94.0.0/24');
      for (const [from, to] of [
        [one, two],
        [two, one],
        [one, two],
      ] as const) {
        await end(tenants(), from, { name, ip });
        await start(to, name, ip);
      }
      await waitForAnswer(client, ip);
      assert.equal((await storedAddress(tenants(), name, ip))?.vtep, two.address);
      const mac = (await two.attachment(`web-${name}`, name))?.MacAddress ?? '';
      await three.sendsTo(mac, two.address);
      for (const host of [one, two, three]) {
        // Ten requests and ten answers, once each.
        assert.equal(await echoesAt(host.host, client, ip, 10), host === one ? 0 : 20, host.name);
      }
      await assertViewsAgree(tenants());
    });

    test('handed over while its container runs: the other one has it, and this one is silent', {
      skip,
    }, async () => {
      const [one, two, three] = threeOf(tenants());
      const { name, ip, client, neighbour } = await scene(tenants(), '10.97.0.0/24');
      assert.match(await two.refused(runWords(name, ip)), /is held on host h1/);
      await two.remove(`web-${name}`);
      await one.mustWeft(['address', 'move', name, ip, `--to=${two.name}`]);
      const mac = (await one.attachment(`web-${name}`, name))?.MacAddress ?? '';
      // h2 hears of it a moment later.
      await until(() => startsOn(two, name, ip), {
        what: 'a container with the address on h2',
        timeoutMs: 60_000,
      });
      for (const host of [one, three]) await host.sendsTo(mac, two.address);
      for (const from of [client, neighbour]) assert.equal(await answered(from, ip, 5), 5);
      const former = await one.docker.container(`web-${name}`);
      assert.ok(former);
      assert.equal(await answered(former, client.address), 0);
      await one.remove(`web-${name}`);
      assert.equal((await storedAddress(tenants(), name, ip))?.vtep, two.address);
      assert.equal(await answered(client, ip, 5), 5);
      await assertViewsAgree(tenants());
    });

    test('two hosts want one address at once: one gets it', { skip }, async () => {
      const [one, two] = threeOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.95.0.0/24' });
      for (let n = 10; n < 15; n++) {
        const ip = `10.95.0.${n}`;
        const results = await Promise.all(
          [one, two].map((host) =>
            host.attempt([
              ...['run', '-d', '--name', `both${n}`, '--stop-signal', 'SIGKILL', '--network', name],
              ...['--ip', ip, IMAGE, 'sleep', '100000'],
            ]),
          ),
        );
        const winners = results.filter(({ code }) => code === 0);
        assert.equal(winners.length, 1, results.map(({ stderr }) => stderr).join());
        assert.match(results.find(({ code }) => code !== 0)?.stderr ?? '', new RegExp(`${ip}.* is held`));
      }
      await assertViewsAgree(tenants());
    });
  });
}

test('a container that is frozen here and restored there keeps its connections', {
  skip: cannot || debian.skip || (await cannotCheckpoint()),
}, async (t) => {
  const tenants = await tenantHosts(t, { hosts: 3, dockerConfig: { experimental: true } });
  const [one, two] = twoOf(tenants);
  const [, , three] = threeOf(tenants);
  for (const { host } of [one, two]) await keepConnections(host);
  const name = newName();
  const subnet = '10.96.0.0/24';
  await createTenant(tenants, name, { subnet });
  const echo = ['nc', '-ll', '-p', '7', '-e', 'cat'];
  const options = ['--ip', '10.96.0.50', '--security-opt', 'seccomp=unconfined'];
  await one.run('moves', name, options, echo);
  const client = await three.run('client', name);
  await waitForAnswer(client, '10.96.0.50');
  const program = inRepository('test/support/echo-process.ts');
  const words = ['call', '--address=10.96.0.50', '--port=7', '--ms=5000'];
  const call = await client.start('call', [process.execPath, program, ...words]);
  await call.waitForLog(/calling\n/);
  await two.must([
    ...['create', '--name', 'moves', '--network', name, ...options, '--stop-signal', 'SIGKILL'],
    ...[IMAGE, ...echo],
  ]);
  await one.must(['checkpoint', 'create', 'moves', 'c1']);
  const id = (await one.must(['inspect', '--format', '{{.Id}}', 'moves'])).trim();
  const newId = (await two.must(['inspect', '--format', '{{.Id}}', 'moves'])).trim();
  const folder = (host: TenantHost, container: string) =>
    host.host.path(`/var/lib/docker/containers/${container}/checkpoints/c1`);
  await systemCommands.run(['cp', '-a', folder(one, id), folder(two, newId)]);
  await two.must(['start', '--checkpoint', 'c1', 'moves']);
  const [, report = ''] = await call.waitForLog(/calling\n(.*)\n/, 60_000);
  const { tcp } = JSON.parse(report) as CallReport;
  t.diagnostic(`${tcp.received} of ${tcp.sent} bytes echoed, gap ${tcp.longestGapMs} ms`);
  assert.ok(tcp.isKept, report);
});
