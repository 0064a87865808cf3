import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import {
  cannotRunTenants,
  createTenant,
  creationOf,
  newName,
  sharedTenants,
  TENANT_PORT,
  threeOf,
} from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { framesAt, framesByVni } from '../support/tenant-frames.ts';

/*
 * Two tenants with the same subnet and the same addresses (docker-driver.md §6 number 12):
 *
 *     h1 .191  red a1 .11   blue a1 .11
 *     h2 .192               blue a2 .12
 *     h3 .193  red a3 .13
 */
const skip = cannotRunTenants();
const SUBNET = '10.31.0.0/24';
const RED = 70_031;
/** 24 bits, all of them. */
const BLUE = 16_777_215;
/** Nothing of VXLAN, and no question for an address of a tenant. */
const OF_TENANTS = `udp port ${TENANT_PORT} or (arp and (dst net ${SUBNET} or src net ${SUBNET}))`;

const [red, blue] = [newName(), newName()];
const containers = new Map<string, Container>();
const at = (name: string): Container => containers.get(name) ?? assert.fail(`no ${name}`);

const tenants = sharedTenants(skip, { hosts: 3 }, async (made) => {
  const [one, two, three] = threeOf(made);
  await createTenant(made, red, { subnet: SUBNET, vni: RED });
  await createTenant(tenants(), blue, { subnet: SUBNET, vni: BLUE });
  containers.set('red1', await one.run('red1', red, ['--ip', '10.31.0.11']));
  containers.set('red3', await three.run('red3', red, ['--ip', '10.31.0.13']));
  containers.set('blue1', await one.run('blue1', blue, ['--ip', '10.31.0.11']));
  containers.set('blue2', await two.run('blue2', blue, ['--ip', '10.31.0.12']));
  await waitForAnswer(at('red1'), '10.31.0.13');
  await waitForAnswer(at('blue1'), '10.31.0.12');
});

test('each tenant reaches its own, and no address of the other', { skip }, async () => {
  assert.equal(await answered(at('red3'), '10.31.0.11'), 3);
  assert.equal(await answered(at('blue2'), '10.31.0.11'), 3);
  assert.equal(await answered(at('red1'), '10.31.0.12', 2), 0);
  assert.equal(await answered(at('blue1'), '10.31.0.13', 2), 0);
  assert.equal(await answered(at('red3'), '10.31.0.12', 2), 0);
});

test('packets go under the number of their tenant and of no other, and no ARP at all', { skip }, async () => {
  const [one] = threeOf(tenants());
  for (const name of ['red1', 'red3', 'blue1', 'blue2']) await at(name).must(['ip', 'neigh', 'flush', 'all']);
  const ofRed = await framesByVni(one.host, () => answered(at('red1'), '10.31.0.13', 5));
  assert.deepEqual([...ofRed], [[RED, 10]]);
  const ofBlue = await framesByVni(one.host, () => answered(at('blue1'), '10.31.0.12', 5));
  assert.deepEqual([...ofBlue], [[BLUE, 10]]);
});

test('a host without a part in it sees nothing of it', { skip }, async () => {
  const [, two] = threeOf(tenants());
  const seen = await framesAt(two.host, OF_TENANTS, async () => {
    for (const name of ['red1', 'red3']) await at(name).must(['ip', 'neigh', 'flush', 'all']);
    assert.equal(await answered(at('red1'), '10.31.0.13', 10), 10);
    // An address that nobody has, all addresses, and a whole sweep.
    assert.equal(await answered(at('red1'), '10.31.0.99', 2), 0);
    await at('red1').run(['ping', '-n', '-b', '-c2', '-i', '0.2', '-W1', '10.31.0.255']);
    await at('red1').run(['busybox', 'arping', '-c2', '-w2', '-I', 'eth0', '10.31.0.99']);
  });
  assert.deepEqual(seen, []);
});

test('a number that is in use is refused, with the tenant that has it', { skip }, async () => {
  const [one] = threeOf(tenants());
  const text = await one.refused(creationOf(newName(), { subnet: '10.32.0.0/24', vni: RED }));
  assert.match(text, new RegExp(`${RED}.*${red}|${red}.*${RED}`));
});

test('the host itself is not in its tenants', { skip }, async () => {
  const [one] = threeOf(tenants());
  assert.equal(await answered(one.host, '10.31.0.11', 2), 0);
  assert.doesNotMatch(await one.host.must(['ip', 'route']), /10\.31\./);
});

test('a container can’t send frames of its own make into any tenant', { skip }, async () => {
  const [, two, three] = threeOf(tenants());
  const caught = await framesAt(
    two.host,
    `udp port ${TENANT_PORT} and src host ${three.address}`,
    async () => {
      for (const host of [two, three]) {
        // Out through docker_gwbridge, to the port where VXLAN is received. The bytes do not matter.
        await at('red3').run(['sh', '-c', `echo forged | busybox nc -u -w1 ${host.address} ${TENANT_PORT}`]);
      }
    },
  );
  assert.deepEqual(caught, []);
});

test('a container can’t speak as another one', { skip }, async () => {
  const [one, , three] = threeOf(tenants());
  const liar = await one.run('liar', red, ['--ip', '10.31.0.66', '--cap-add', 'NET_ADMIN']);
  await waitForAnswer(liar, '10.31.0.13');
  // Another address, the own MAC: what goes out has a source that is not the port's.
  await liar.batch(['addr add 10.31.0.12/24 dev eth0']);
  const seen = await framesAt(three.host, `udp dst port ${TENANT_PORT}`, async () => {
    await liar.run(['ping', '-n', '-c2', '-i', '0.2', '-W1', '-I', '10.31.0.12', '10.31.0.13']);
  });
  assert.deepEqual(seen, []);
  await one.remove('liar');
});
