import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { TOMBSTONE } from '#src/tenant/tombstone.ts';
import {
  cannotRunTenants,
  createTenant,
  creationOf,
  newName,
  sharedTenants,
  threeOf,
  waitForNetwork,
} from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { storedKeys, waitForRelease } from '../support/tenant-views.ts';

/*
 * A network made on one host is on all of them (docker-driver.md §6 number 10):
 *
 *     store .190     h1 .191 flanneld, dockerd     h2 .192 flanneld, dockerd     h3 .193 flanneld, dockerd
 */
const skip = cannotRunTenants();
const tenants = sharedTenants(skip, { hosts: 3 });

interface Inspected {
  readonly Driver: string;
  readonly Internal: boolean;
  readonly Options: Readonly<Record<string, string>>;
  readonly IPAM: {
    readonly Driver: string;
    readonly Config: readonly { Subnet: string; Gateway?: string }[];
  };
}

type Host = ReturnType<typeof threeOf>[number];

async function inspect(host: Host, network: string): Promise<Inspected> {
  const found = (await host.docker.look(`/networks/${network}`)) as Inspected | undefined;
  assert.ok(found);
  return found;
}

test('created on one host, it is on the others with the same parameters', { skip }, async () => {
  const [one, two, three] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, {
    subnet: '10.11.0.0/24',
    vni: 70_011,
    words: ['--gateway', '10.11.0.9', '--internal'],
  });
  for (const host of [one, two, three]) {
    const network = await inspect(host, name);
    assert.equal(network.Driver, 'weft');
    assert.equal(network.IPAM.Driver, 'weft');
    assert.equal(network.Internal, true);
    assert.deepEqual(
      network.IPAM.Config.map(({ Subnet, Gateway }) => [Subnet, Gateway]),
      [['10.11.0.0/24', '10.11.0.9']],
    );
    assert.equal(network.Options['weft.network'], name);
  }
  const record = JSON.parse((await storedKeys(tenants(), 'networks')).get(name) ?? '{}') as { vni: number };
  assert.equal(record.vni, 70_011);
  assert.equal((await storedKeys(tenants(), 'vnis')).get('70011'), name);
});

test('without a subnet all hosts have the same one', { skip }, async () => {
  const name = newName();
  await createTenant(tenants(), name);
  const subnets = await Promise.all(
    threeOf(tenants()).map(async (host) => (await inspect(host, name)).IPAM.Config),
  );
  const chosen = subnets.map((config) => config[0]?.Subnet);
  assert.match(chosen[0] ?? '', /^\d+\.\d+\.\d+\.\d+\/\d+$/);
  assert.deepEqual(new Set(chosen).size, 1);
});

test('made on two hosts at once with the same parameters, it is one network', { skip }, async () => {
  const [one, two, three] = threeOf(tenants());
  const name = newName();
  const words = creationOf(name, { subnet: '10.12.0.0/24' });
  const results = await Promise.all([one, two].map((host) => host.attempt(words)));
  // One that comes after that of the daemon, which makes the network here by itself, is refused: by Docker, or by the
  // driver where both are under way in Docker.
  for (const { code, stderr } of results)
    if (code !== 0) assert.match(stderr, /already exists|is on this host already/);
  for (const host of [one, two, three]) await waitForNetwork(host, name);
  const ids = await one.must(['network', 'ls', '-q', '--filter', `name=^${name}$`]);
  assert.equal(ids.trim().split('\n').length, 1);
  const a = await one.run('once-a', name);
  const b = await two.run('once-b', name);
  await waitForAnswer(a, b.address);
});

test('other parameters under the same name are refused, with both values named', { skip }, async () => {
  const [one, two] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.13.0.0/24', vni: 70_013 });
  await two.must(['network', 'rm', name]);
  const subnet = await two.refused(creationOf(name, { subnet: '10.14.0.0/24' }));
  assert.match(subnet, /10\.14\.0\.0\/24.*10\.13\.0\.0\/24/);
  const vni = await two.refused(creationOf(name, { subnet: '10.13.0.0/24', vni: 70_099 }));
  assert.match(vni, /70099.*70013/);
  const internal = await two.refused(creationOf(name, { subnet: '10.13.0.0/24', words: ['--internal'] }));
  assert.match(internal, /internal/);
  assert.doesNotMatch(await one.must(['network', 'ls']), /10\.14/);
  await two.must(creationOf(name, { subnet: '10.13.0.0/24', vni: 70_013 }));
});

test('what would do harm is refused with the way out of it', { skip }, async () => {
  const [one] = threeOf(tenants());
  const name = newName();
  const withoutIpam = await one.refused([
    ...['network', 'create', '-d', 'weft', '--subnet', '10.15.0.0/24'],
    ...['-o', `weft.network=${name}`, name],
  ]);
  assert.match(withoutIpam, /--ipam-driver[ =]weft/);
  const unknown = await one.refused(creationOf(name, { words: ['-o', 'weft.netwrok=x'] }));
  assert.match(unknown, /weft\.netwrok.*weft\.network/s);
  const overlong = await one.refused(creationOf(name, { vni: 16_777_216 }));
  assert.match(overlong, /16777216.*16777215|16777215.*16777216/s);
  assert.equal(await one.network(name), undefined);
  assert.equal((await storedKeys(tenants(), 'networks')).has(name), false);
});

test('removed by hand on one host it stays away there, and stays on the others', { skip }, async () => {
  const [one, two, three] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.16.0.0/24' });
  const a = await one.run('stays-a', name);
  await two.must(['network', 'rm', name]);
  await two.stopFlanneld();
  await two.startFlanneld();
  // A network that was made later is there: so the driver has looked, and has left the other one out.
  const later = newName();
  await createTenant(tenants(), later, { subnet: '10.17.0.0/24' });
  assert.equal(await two.network(name), undefined);
  const c = await three.run('stays-c', name);
  await waitForAnswer(c, a.address);
  // Made by hand again, it is the same one.
  await two.must(creationOf(name, { subnet: '10.16.0.0/24' }));
  const b = await two.run('stays-b', name);
  await waitForAnswer(b, a.address);
  assert.equal(await answered(a, c.address), 3);
});

test('removed everywhere, once no container is in it', { skip }, async () => {
  const [one, two, three] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.18.0.0/24' });
  const held = await two.run('holds', name);
  const refused = await one.weft(['network', 'rm', name]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /holds|h2/);
  await two.remove('holds');
  await waitForRelease(tenants(), name, held.address);
  await one.mustWeft(['network', 'rm', name]);
  for (const host of [one, two, three]) {
    await until(async () => (await host.network(name)) === undefined, {
      what: `end of ${name} on ${host.name}`,
      timeoutMs: 20_000,
    });
  }
  assert.equal((await storedKeys(tenants(), 'networks')).get(name), TOMBSTONE);
  assert.equal([...(await storedKeys(tenants(), 'vnis')).values()].includes(name), false);
});

test('removed by hand and then everywhere, a new network of its name is on every host', {
  skip,
}, async () => {
  const [one, two] = threeOf(tenants());
  const name = newName();
  await createTenant(tenants(), name, { subnet: '10.19.0.0/24' });
  await two.must(['network', 'rm', name]);
  await one.mustWeft(['network', 'rm', name]);
  await until(async () => (await one.network(name)) === undefined, {
    what: `end of ${name} on ${one.name}`,
    timeoutMs: 20_000,
  });
  await createTenant(tenants(), name, { subnet: '10.20.0.0/24' });
  const b = await two.run('again-b', name);
  assert.match(b.address, /^10\.20\.0\./);
});
