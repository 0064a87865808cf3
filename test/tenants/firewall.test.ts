import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import { until } from '#src/sys/until.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import { cannotRunTenants, createTenant, sharedTenants, twoOf } from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { cannotRun } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * What a host's firewall does is nothing to its tenants (docker-driver.md §6 number 16):
 *
 *     store .190     h1 .191 flanneld, dockerd (its rules are changed)     h2 .192 flanneld, dockerd
 */
const skip = cannotRunTenants('iptables');
const tenants = sharedTenants(skip, {}, async (tenants) => {
  const [one, two] = twoOf(tenants);
  await createTenant(tenants, 'walled', { subnet: '10.81.0.0/24' });
  for (const name of ['near', 'local']) await one.run(name, 'walled');
  const b = await two.run('far', 'walled');
  await waitForAnswer(await containerOn(one, 'near'), b.address);
});

async function containerOn(host: TenantHost, name: string): Promise<Container> {
  const container = await host.docker.container(name);
  assert.ok(container, `${name} runs`);
  return container;
}

const CHANGES: readonly (readonly [called: string, command: string])[] = [
  ['FORWARD drops everything', 'iptables -P FORWARD DROP; iptables -I FORWARD -j DROP'],
  ['a saved firewall is loaded again', 'iptables-save > /run/rules; iptables-restore < /run/rules'],
  ['one without Docker’s rules is loaded', 'echo "*filter\nCOMMIT" | iptables-restore'],
  ['all rules are flushed', 'nft flush ruleset'],
  ['bridges ask iptables', 'sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true'],
];

for (const [called, command] of CHANGES) {
  test(`${called}: no packet of a tenant is lost`, { skip }, async () => {
    const [one, two] = twoOf(tenants());
    const [a, local, b] = [
      await containerOn(one, 'near'),
      await containerOn(one, 'local'),
      await containerOn(two, 'far'),
    ];
    const { lost } = await duringTraffic(a, b.address, async () => {
      await one.host.must(['sh', '-c', command]);
      assert.equal(await answered(a, local.address), 3);
      assert.equal(await answered(b, local.address), 3);
    });
    assert.equal(lost, 0);
  });
}

test('the rules that keep tenants apart come back after a flush', { skip }, async () => {
  const [one] = twoOf(tenants());
  const here = () => one.host.must(['nft', '-s', 'list', 'ruleset']);
  const inTenants = () => one.inTenants(['nft', '-s', 'list', 'table', 'bridge', 'weft']);
  const ours = async () => (await here()).match(/^table \S+ weft\S*/gm) ?? [];
  // A test before this one flushed them, too.
  const before = await until(async () => (await ours()).length > 0 && ours(), {
    what: 'rules',
    timeoutMs: 30_000,
  });
  const ports = await until(() => inTenants().catch(() => undefined), {
    what: 'rules of the ports',
    timeoutMs: 30_000,
  });
  await one.host.must(['nft', 'flush', 'ruleset']);
  await one.inTenants(['nft', 'flush', 'ruleset']);
  await until(async () => (await ours()).join() === before.join(), {
    what: 'rules against forged frames',
    timeoutMs: 30_000,
    intervalMs: 200,
  });
  await until(async () => (await inTenants().catch(() => '')) === ports, {
    what: 'rules of the ports',
    timeoutMs: 30_000,
    intervalMs: 200,
  });
});

test('firewalld is reloaded', { skip: skip || cannotRun('firewall-cmd', 'firewalld') }, async () => {
  const [one, two] = twoOf(tenants());
  const [a, b] = [await containerOn(one, 'near'), await containerOn(two, 'far')];
  await one.host.start('firewalld', ['firewalld', '--nofork']);
  await until(async () => (await one.host.run(['firewall-cmd', '--state'])).code === 0, {
    what: 'firewalld',
    timeoutMs: 30_000,
  });
  const { lost } = await duringTraffic(a, b.address, () => one.host.must(['firewall-cmd', '--reload']));
  assert.equal(lost, 0);
});
