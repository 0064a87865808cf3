import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { cannotRunTenants, createTenant, newName, sharedTenants, twoOf } from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { cannotRun } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * What a host's firewall does is nothing to its tenants (docker-driver.md §6 number 16):
 *
 *     store .190     h1 .191 flanneld, dockerd (its rules are changed)     h2 .192 flanneld, dockerd
 */
const skip = cannotRunTenants('iptables');
const tenants = sharedTenants(skip);

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
    const name = newName();
    await createTenant(tenants(), name, { subnet: '10.81.0.0/24' });
    const a = await one.run(`a-${name}`, name);
    const local = await one.run(`local-${name}`, name);
    const b = await two.run(`b-${name}`, name);
    await waitForAnswer(a, b.address);
    const { lost } = await duringTraffic(a, b.address, async () => {
      await one.host.must(['sh', '-c', command]);
      assert.equal(await answered(a, local.address), 3);
      assert.equal(await answered(b, local.address), 3);
    });
    assert.equal(lost, 0);
    await one.remove(`a-${name}`, `local-${name}`);
    await two.remove(`b-${name}`);
  });
}

test('the rules that keep tenants apart come back after a flush', { skip }, async () => {
  const [one] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.82.0.0/24' });
  await one.run('guarded', name);
  const here = () => one.host.must(['nft', '-s', 'list', 'ruleset']);
  const inTenants = () => one.inTenants(['nft', '-s', 'list', 'table', 'bridge', 'weft']);
  const ours = async () => (await here()).match(/^table \S+ weft\S*/gm) ?? [];
  const [before, ports] = [await ours(), await inTenants()];
  assert.notDeepEqual(before, []);
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
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.83.0.0/24' });
  const a = await one.run('reloads', name);
  const b = await two.run('reloads', name);
  await waitForAnswer(a, b.address);
  await one.host.start('firewalld', ['firewalld', '--nofork']);
  const { lost } = await duringTraffic(a, b.address, () => one.host.must(['firewall-cmd', '--reload']));
  assert.equal(lost, 0);
});
