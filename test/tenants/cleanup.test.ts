import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  creationOf,
  newName,
  sharedTenants,
  twoOf,
  waitForNetwork,
} from '../support/docker-tenants.ts';
import { waitForAnswer } from '../support/pings.ts';

/*
 * What a host has for its tenants, and what it has left of them (docker-driver.md §6 numbers 19 and 20):
 *
 *     store .190     h1 .191 flanneld, dockerd     h2 .192 flanneld, dockerd
 */
const skip = cannotRunTenants();
const tenants = sharedTenants(skip);

/** `WEFT_TENANTS=1000` is the long form: the docker command takes a tenth of a second for each of them. */
const MANY = Number(process.env.WEFT_TENANTS ?? 60);
const USED = 10;
const FIRST_VNI = 50_000;
const AT_ONCE = 6;

const devicesOf = async (host: TenantHost): Promise<string[]> =>
  (await host.tenantDevices()).filter((name) => /^(br|vx)-/.test(name)).sort();

test('a host has devices for the tenants in use on it, and for no others', { skip }, async () => {
  const [one, two] = twoOf(tenants());
  const create = (n: number): Promise<string> => {
    const words = { subnet: `10.${100 + Math.floor(n / 250)}.${n % 250}.0/24`, vni: FIRST_VNI + n };
    return one.must(creationOf(`many${n}`, words));
  };
  for (let n = 0; n < MANY; n += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, MANY - n) }, (_, more) => create(n + more)));
  for (let n = MANY - AT_ONCE; n < MANY; n++) await waitForNetwork(two, `many${n}`);
  assert.deepEqual(await devicesOf(one), []);
  const used = Array.from({ length: USED }, (_, n) => n * Math.floor(MANY / USED));
  await Promise.all(used.map((n) => one.run(`in${n}`, `many${n}`)));
  const wanted = used.flatMap((n) => [`br-${FIRST_VNI + n}`, `vx-${FIRST_VNI + n}`]).sort();
  assert.deepEqual(await devicesOf(one), wanted);
  assert.deepEqual(await devicesOf(two), []);
});

test('what others made stays, and cleanup leaves nothing of ours', { skip }, async () => {
  const [one, two] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.98.0.0/24' });
  const a = await one.run('a98', name);
  const b = await two.run('b98', name);
  await waitForAnswer(a, b.address);
  await one.host.must(['ip', 'netns', 'add', 'foreign']);
  await one.host.batch([
    'link add br-foreign type bridge',
    'link add vx-foreign type vxlan id 9 dstport 4789 nolearning',
    'link set vx-foreign master br-foreign',
  ]);
  await one.host.must([
    'bridge',
    'fdb',
    'append',
    '02:00:00:00:00:09',
    'dev',
    'vx-foreign',
    'dst',
    two.address,
    'self',
  ]);
  const foreign = async () =>
    [
      await one.host.must(['ip', 'netns']),
      await one.host.must(['ip', '-br', 'link', 'show', 'master', 'br-foreign']),
      await one.host.must(['bridge', 'fdb', 'show', 'dev', 'vx-foreign']),
    ].join();
  const before = (await foreign()).replace(/^weft.*\n/m, '');
  // A full look of the reconciler does not touch them.
  await one.stopFlanneld();
  await one.startFlanneld();
  await waitForAnswer(a, b.address);
  assert.equal((await foreign()).replace(/^weft.*\n/m, ''), before);

  const names = (await one.must(['ps', '-aq'])).split('\n').filter(Boolean);
  await one.remove(...names);
  await one.stopFlanneld();
  await one.mustWeft(['cleanup', '--all']);
  assert.equal(await foreign(), before);
  const links = (await one.host.ip(['link'])).map(({ ifname = '' }) => ifname);
  assert.deepEqual(
    links.filter((name) => /^w[0-9a-f]{13}$/.test(name)),
    [],
  );
  assert.doesNotMatch(await one.host.must(['nft', 'list', 'ruleset']), /table \S+ weft/);
});
