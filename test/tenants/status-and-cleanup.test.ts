import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import {
  cannotRunTenants,
  creationOf,
  newName,
  sharedTenants,
  type Tenants,
} from '../support/docker-tenants.ts';

/*
 * What weft says of Docker's driver on one host, and what it takes away there:
 *
 *     store .190     h1 .191 flanneld without a network of flannel's, dockerd
 */
const skip = cannotRunTenants('curl');
const tenants = sharedTenants(skip, { hosts: 1, flags: ['--healthz-port=8081'] });

function oneOf({ hosts: [one] }: Tenants) {
  assert.ok(one);
  return one;
}

test('weft status and the metrics say what the driver does', { skip }, async () => {
  const one = oneOf(tenants());
  const name = newName();
  await one.must(creationOf(name, { subnet: '10.81.0.0/24', vni: 70_081 }));
  await one.mustWeft(['network', 'create', 'idle', '--vni=70082']);
  await one.run('web81', name);
  const status = await until(
    async () => {
      const { stdout } = await one.weft(['status']);
      return /driver: on\n/.test(stdout) && stdout.includes('web81') && stdout.includes('1 more') && stdout;
    },
    { what: 'status of both networks, without a trouble', timeoutMs: 60_000 },
  );
  assert.match(
    status,
    new RegExp(`^  network    ${name}: VNI 70081, 10\\.81\\.0\\.0/24, 1 container here \\(web81\\)$`, 'm'),
  );
  const json = JSON.parse(await one.mustWeft(['status', '--json']));
  assert.deepEqual([json.ready, json.docker.state, json.docker.troubles], [true, 'on', []]);
  const metrics = await one.host.must(['curl', '-s', 'http://127.0.0.1:8081/metrics']);
  assert.match(metrics, /^weft_tenant_endpoints 1$/m);
  assert.match(metrics, /^weft_tenant_networks 2$/m);
  assert.match(metrics, /^weft_tenant_addresses\{state="published"\} 1$/m);
  assert.match((await one.weft(['cleanup', '--all'])).stderr, /flanneld runs on this host/);
});

test('cleanup names the containers that it cuts off, and leaves nothing', { skip }, async () => {
  const one = oneOf(tenants());
  await one.stopFlanneld();
  assert.equal((await one.weft(['status'])).code, 1);
  const { code, stdout, stderr } = await one.weft(['cleanup', '--all']);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Containers are attached.*web81 \(/);
  for (const done of ['ip netns del weft', 'nft delete table', 'rm /var/lib/weft/docker.json'])
    assert.ok(stdout.includes(done), stdout);
  assert.doesNotMatch(await one.host.must(['ip', 'netns']), /weft/);
  assert.doesNotMatch(await one.host.must(['nft', 'list', 'ruleset']), /weft/);
  assert.deepEqual(
    await one.host.run(['ls', '/run/docker/plugins/weft.sock']).then((it) => it.code !== 0),
    true,
  );
  assert.equal(await one.mustWeft(['cleanup', '--all']), 'nothing to clean up\n');
  await one.startFlanneld();
});
