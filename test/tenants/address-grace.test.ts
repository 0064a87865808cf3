import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { cannotRunTenants, createTenant, newName, sharedTenants, twoOf } from '../support/docker-tenants.ts';
import { waitForAnswer } from '../support/pings.ts';
import { endLife, storedAddress, waitForName } from '../support/tenant-views.ts';

/*
 * A host is gone for longer than the grace time, and returns:
 *
 *     store .190     h1 .191     h2 .192, whose link is cut
 */
const skip = cannotRunTenants();
const tenants = sharedTenants(skip, { flags: ['--address-grace=10s'] });

/** The grace time, a few looks, and a busy machine. */
const FREED_MS = 120_000;

test('addresses of a host that is gone are free after the grace time', { skip }, async () => {
  const [one, two] = twoOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.74.0.0/24' });
  const a = await one.run('a74', name, ['--ip', '10.74.0.32']);
  await two.run('b74', name, ['--ip', '10.74.0.33']);
  await two.run('c74', name, ['--ip', '10.74.0.34']);
  await waitForAnswer(a, '10.74.0.34');
  await waitForName(tenants(), name, '10.74.0.33', 'b74');
  const stateOf = async (ip: string) => (await storedAddress(tenants(), name, ip))?.state;
  const gone = (await storedAddress(tenants(), name, '10.74.0.33'))?.host ?? '';
  await tenants().lab.onWire([`link set ${two.name} down`]);
  try {
    await endLife(tenants(), gone);
    for (const ip of ['10.74.0.33', '10.74.0.34']) {
      await until(async () => (await stateOf(ip)) === 'released', {
        what: `release of ${ip}`,
        timeoutMs: FREED_MS,
        intervalMs: 500,
      });
    }
    const said = /Freed 10\.74\.0\.33 of container b74 in network .*: its host h2 is gone/;
    await until(async () => said.test(await one.flanneldLog()), { what: 'line in the log' });
    await one.run('heir74', name, ['--ip', '10.74.0.33']);
  } finally {
    await tenants().lab.onWire([`link set ${two.name} up`]);
  }
  await waitForAnswer(a, '10.74.0.34', 60_000);
  assert.equal((await storedAddress(tenants(), name, '10.74.0.33'))?.vtep, one.address);
  const cutOff = await until(
    async () => {
      const { stdout } = await two.weft(['status']);
      return stdout.includes('1 cut off') && stdout;
    },
    { what: 'the container that is cut off in weft status', timeoutMs: 30_000 },
  );
  assert.match(cutOff, /1 containers are cut off/);
  assert.equal(await stateOf('10.74.0.33'), 'published');
});
