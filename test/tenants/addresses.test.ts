import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IMAGE } from '#src/lab/docker.ts';
import { until } from '#src/sys/until.ts';
import { cannotRunTenants, createTenant, newName, sharedTenants, twoOf } from '../support/docker-tenants.ts';
import {
  assertViewsAgree,
  storedAddress,
  storedAddresses,
  waitForName,
  waitForRelease,
} from '../support/tenant-views.ts';

/*
 * Which address a container gets, over all hosts (docker-driver.md §6 number 11):
 *
 *     store .190     h1 .191 flanneld, dockerd     h2 .192 flanneld, dockerd
 */
const skip = cannotRunTenants();
const tenants = sharedTenants(skip);

const runWords = (name: string, network: string, ip: string): string[] => [
  ...['run', '-d', '--name', name, '--stop-signal', 'SIGKILL', '--network', network, '--ip', ip],
  ...[IMAGE, 'sleep', '100000'],
];

test('an address of choice that is free', { skip }, async () => {
  const [one] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.21.0.0/24' });
  await one.run('free', name, ['--ip', '10.21.0.77']);
  const found = await one.attachment('free', name);
  assert.equal(found?.IPAddress, '10.21.0.77');
  // 02:42 and the address: the same on any host.
  assert.equal(found.MacAddress, '02:42:0a:15:00:4d');
  await assertViewsAgree(tenants());
  const record = await storedAddress(tenants(), name, '10.21.0.77');
  assert.equal(record?.state, 'published');
  assert.equal(record.vtep, one.address);
  assert.equal(record.endpoint, found.EndpointID);
});

test('an address that a container of this host has, or of another one', { skip }, async () => {
  const [one, two] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.22.0.0/24' });
  await one.run('holder', name, ['--ip', '10.22.0.7']);
  for (const host of [one, two]) {
    const text = await host.refused(runWords('late', name, '10.22.0.7'));
    assert.match(text, /10\.22\.0\.7 is held/);
    assert.match(text, host === one ? /this host/ : /host h1/);
    await host.remove('late');
  }
  await waitForName(tenants(), name, '10.22.0.7', 'holder');
  assert.match(await two.refused(runWords('late', name, '10.22.0.7')), /holder/);
  await two.remove('late');
  await assertViewsAgree(tenants());
});

test('addresses that nobody may have', { skip }, async () => {
  const [one, two] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, {
    subnet: '10.23.0.0/24',
    words: ['--gateway', '10.23.0.200', '--aux-address', 'printer=10.23.0.201', '--ip-range', '10.23.0.0/28'],
  });
  const cases: [string, RegExp][] = [
    ['10.99.0.1', /10\.99\.0\.1|10\.23\.0\.0\/24|[Ss]ubnet|configured/],
    ['10.23.0.0', /network address/],
    ['10.23.0.255', /broadcast address/],
    ['10.23.0.200', /gateway/],
    ['10.23.0.201', /printer/],
  ];
  for (const host of [one, two]) {
    for (const [ip, pattern] of cases) {
      assert.match(await host.refused(runWords('never', name, ip)), pattern, ip);
      await host.remove('never');
    }
  }
  assert.deepEqual(
    (await storedAddresses(tenants())).filter((it) => it.tenant === name && it.state === 'published'),
    [],
  );
  // Outside the range, but inside the subnet.
  await one.run('outside', name, ['--ip', '10.23.0.100']);
  assert.equal((await one.attachment('outside', name))?.IPAddress, '10.23.0.100');
  await one.run('inside', name);
  assert.match(
    (await one.attachment('inside', name))?.IPAddress ?? '',
    /^10\.23\.0\.\d$|^10\.23\.0\.1[0-5]$/,
  );
});

test('a full subnet says so, and what is freed is given again', { skip }, async () => {
  const [one, two] = twoOf(tenants());
  const name = newName();
  // .1 is the gateway, .2 to .6 are left.
  await createTenant(tenants(), name, { subnet: '10.24.0.0/29' });
  for (const n of [1, 2, 3]) await one.run(`full${n}`, name);
  for (const n of [4, 5]) await two.run(`full${n}`, name);
  assert.equal((await assertViewsAgree(tenants())) >= 5, true);
  for (const host of [one, two]) {
    const text = await host.refused(['run', '-d', '--name', 'full6', '--network', name, IMAGE, 'sleep', '1']);
    assert.match(text, /10\.24\.0\.0\/29/);
    await host.remove('full6');
  }
  const freed = (await one.attachment('full2', name))?.IPAddress ?? assert.fail();
  await one.remove('full2');
  await waitForRelease(tenants(), name, freed);
  // The other host hears of it a moment later.
  const isGiven = async (): Promise<boolean> => {
    const words = ['run', '-d', '--name', 'full7', '--stop-signal', 'SIGKILL', '--network', name];
    const { code } = await two.attempt([...words, IMAGE, 'sleep', '100000']);
    if (code !== 0) await two.remove('full7');
    return code === 0;
  };
  await until(isGiven, { what: 'a container with the freed address', timeoutMs: 60_000 });
  assert.equal((await two.attachment('full7', name))?.IPAddress, freed);
});

test('the address of a stopped container is chosen last, and on any host when it is asked for', {
  skip,
}, async () => {
  const [one, two] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.25.0.0/28' });
  await one.run('gone', name, ['--ip', '10.25.0.5']);
  await one.must(['stop', 'gone']);
  await waitForRelease(tenants(), name, '10.25.0.5');
  assert.equal((await storedAddress(tenants(), name, '10.25.0.5'))?.state, 'released');
  for (const n of [1, 2, 3]) {
    await two.run(`other${n}`, name);
    assert.notEqual((await two.attachment(`other${n}`, name))?.IPAddress, '10.25.0.5');
  }
  await two.run('again', name, ['--ip', '10.25.0.5']);
  assert.equal((await storedAddress(tenants(), name, '10.25.0.5'))?.vtep, two.address);
  assert.match((await one.attempt(['start', 'gone'])).stderr, /10\.25\.0\.5 is held.*h2/);
});

test('both hosts take addresses of one subnet at once, and no two the same', { skip }, async () => {
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.26.0.0/26' });
  await Promise.all(
    twoOf(tenants()).map(async (host) => {
      const names = Array.from({ length: 10 }, (_, n) => `together-${host.name}-${n}`);
      await Promise.all(names.map((it) => host.run(it, name)));
    }),
  );
  await assertViewsAgree(tenants());
  const ours = (await storedAddresses(tenants())).filter((it) => it.tenant === name);
  assert.equal(ours.filter(({ state }) => state === 'published').length, 20);
});
