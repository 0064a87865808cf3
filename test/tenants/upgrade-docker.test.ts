import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dockerEngines } from '../support/docker-engines.ts';
import { cannotRunTenants, createTenant, newName, tenantHosts, twoOf } from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { assertViewsAgree } from '../support/tenant-views.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * dockerd 20.10 on h1 is replaced by Docker 29 while its container goes on (live-restore):
 *
 *     store .190     h1 .191 flanneld, dockerd 20.10, then 29     h2 .192 flanneld, dockerd 20.10
 */
const { debian, iptables } = dockerEngines();
const skip = cannotRunTenants() || debian.skip || iptables.skip;

test('dockerd is upgraded under a running container', { skip }, async (t) => {
  const tenants = await tenantHosts(t, { engines: [debian], dockerConfig: { 'live-restore': true } });
  const [one, two] = twoOf(tenants);
  const name = newName();
  await createTenant(tenants, name, { subnet: '10.57.0.0/24' });
  const a = await one.run('alive', name, ['--ip', '10.57.0.77']);
  const b = await two.run('peer', name);
  await waitForAnswer(a, b.address);
  const { lost } = await duringTraffic(b, a.address, () =>
    one.docker.restart({ programs: iptables.programs }),
  );
  assert.equal(lost, 0);
  // A build from source has no version of its own. 20.10 speaks 1.41.
  assert.notEqual(await one.must(['version', '--format', '{{.Server.APIVersion}}']), '1.41\n');
  assert.equal(await one.must(['inspect', '--format', '{{.State.Running}}', 'alive']), 'true\n');
  await assertViewsAgree(tenants);
  const c = await one.run('second', name);
  await waitForAnswer(b, c.address);
  await one.remove('alive', 'second');
  await assertViewsAgree(tenants);
  assert.equal(await answered(b, a.address, 1), 0);
});
