import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IMAGE } from '#src/lab/docker.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  newName,
  sharedTenants,
  TENANT_PORT,
  threeOf,
} from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { framesAt } from '../support/tenant-frames.ts';
import { assertViewsAgree, endLife, storedAddress, waitForName } from '../support/tenant-views.ts';

/*
 * A host is gone, and may return (docker-driver.md §6 number 15):
 *
 *     store .190     h1 .191     h2 .192     h3 .193, whose link is cut
 */
const skip = cannotRunTenants();
const tenants = sharedTenants(skip, { hosts: 3 });

const link = (host: TenantHost, state: 'up' | 'down'): Promise<void> =>
  tenants().lab.onWire([`link set ${host.name} ${state}`]);

const runWords = (name: string, network: string, ip: string): string[] => [
  ...['run', '-d', '--name', name, '--stop-signal', 'SIGKILL', '--network', network, '--ip', ip],
  ...[IMAGE, 'sleep', '100000'],
];

test('a host that is gone keeps its addresses, and uses them when it returns', { skip }, async () => {
  const [one, , three] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.71.0.0/24' });
  const a = await one.run('a71', name, ['--ip', '10.71.0.32']);
  await three.run('c71', name, ['--ip', '10.71.0.33']);
  await waitForAnswer(a, '10.71.0.33');
  const id = (await storedAddress(tenants(), name, '10.71.0.33'))?.host ?? '';
  await link(three, 'down');
  try {
    await endLife(tenants(), id);
    assert.equal((await storedAddress(tenants(), name, '10.71.0.33'))?.state, 'published');
    const text = await one.refused(runWords('thief', name, '10.71.0.33'));
    assert.match(text, /10\.71\.0\.33 is held.*h3/);
    await one.remove('thief');
  } finally {
    await link(three, 'up');
  }
  await waitForAnswer(a, '10.71.0.33', 60_000);
  await assertViewsAgree(tenants());
});

test('its addresses are freed by a command, and it gives way when it returns', { skip }, async () => {
  const [one, two, three] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.72.0.0/24' });
  await three.run('c72', name, ['--ip', '10.72.0.33']);
  await three.run('d72', name, ['--ip', '10.72.0.34']);
  const b = await two.run('b72', name);
  await waitForAnswer(b, '10.72.0.33');
  await waitForName(tenants(), name, '10.72.0.33', 'c72');
  const id = (await storedAddress(tenants(), name, '10.72.0.33'))?.host ?? '';
  await link(three, 'down');
  try {
    await endLife(tenants(), id);
    assert.match(await one.mustWeft(['address', 'free', three.name]), /freed 10\.72\.0\.33.*c72/);
    assert.notEqual((await storedAddress(tenants(), name, '10.72.0.33'))?.state, 'published');
    await one.run('heir', name, ['--ip', '10.72.0.33']);
    await waitForAnswer(b, '10.72.0.33');
  } finally {
    await link(three, 'up');
  }
  // What nobody took meanwhile is its own again; what somebody took is not.
  await waitForAnswer(b, '10.72.0.34', 60_000);
  assert.equal((await storedAddress(tenants(), name, '10.72.0.33'))?.vtep, one.address);
  const seen = await framesAt(three.host, `udp port ${TENANT_PORT}`, () => answered(b, '10.72.0.33', 5));
  assert.deepEqual(seen, []);
  await three.remove('c72');
  await one.must(['inspect', 'heir']);
  assert.equal(await answered(b, '10.72.0.33'), 3);
  await assertViewsAgree(tenants());
});

test('addresses of a host that is alive are not freed', { skip }, async () => {
  const [one, two] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.73.0.0/24' });
  const b = await two.run('b73', name);
  const id = (await storedAddress(tenants(), name, b.address))?.host ?? '';
  const { code, stderr } = await one.weft(['address', 'free', id]);
  assert.notEqual(code, 0);
  assert.match(stderr, /h2/);
  assert.equal((await storedAddress(tenants(), name, b.address))?.state, 'published');
});
