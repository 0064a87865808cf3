import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { driverHost } from '../../test/support/driver-host.ts';
import { MemoryDocker } from '../../test/support/memory-docker.ts';

type Config = Parameters<MemoryDocker['createNetwork']>[0]['ipam']['config'][number];

/** Hosts 1 … n with Docker's network blue, made on the first with the config and on the others with its subnets only. */
async function hosts(t: TestContext, count: number, config: readonly Config[]) {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const all = [];
  for (let n = 1; n <= count; n++) {
    const host = await driverHost(t, { n, folders });
    const docker = new MemoryDocker(host);
    await docker.createNetwork(blue(n === 1 ? config : config.map(({ subnet }) => ({ subnet }))));
    all.push({ host, docker });
  }
  return all as [(typeof all)[number], ...(typeof all)[number][]];
}

function blue(config: readonly Config[]) {
  const options = { 'weft.network': 'blue' };
  const ipam = { driver: 'weft', options, config };
  return { name: 'blue', driver: 'weft', options, labels: {}, internal: false, enableIpv6: false, ipam };
}

const DUAL = [{ subnet: '10.5.0.0/24' }, { subnet: 'fd05::/64' }];

test('both addresses of a container have one host number', async (t) => {
  const [{ docker }] = await hosts(t, 1, DUAL);
  assert.deepEqual(await docker.run('blue', 'a', '10.5.0.11'), ['10.5.0.11', 'fd05::b']);
  const [v4 = '', v6 = ''] = await docker.run('blue', 'b');
  assert.equal(v6, `fd05::${Number(v4.split('.')[3]).toString(16)}`);
});

test('a counterpart that somebody has is left, and another address is taken', async (t) => {
  const [{ docker, host }] = await hosts(t, 1, DUAL);
  const wish = { family: 6, ip: 0xfd05_0000_0000_0000_0000_0000_0000_000bn } as never;
  await host.present.use('blue').claim(wish, AbortSignal.timeout(60_000));
  const [, v6 = ''] = await docker.run('blue', 'a', '10.5.0.11');
  assert.match(v6, /^fd05::/);
  assert.notEqual(v6, 'fd05::b');
});

test('an address that was given back has no counterpart', async (t) => {
  const [{ host }] = await hosts(t, 1, DUAL);
  const blue = host.present.use('blue');
  const signal = AbortSignal.timeout(60_000);
  const ip = await blue.claim({ family: 4 }, signal);
  const free = await blue.claim({ family: 6 }, signal);
  await blue.release(ip);
  await blue.release(free);
  const without = await blue.claim({ family: 6 }, signal);
  assert.notEqual(without, free);
});

test('automatic addresses are in the range of the network’s creation, on every host', async (t) => {
  const all = await hosts(t, 2, [{ subnet: '10.5.0.0/24', range: '10.5.0.240/29' }]);
  for (const { docker } of all) {
    for (let n = 0; n < 3; n++) {
      const [ip = ''] = await docker.run('blue', `c${n}`);
      assert.match(ip, /^10\.5\.0\.24[0-7]$/);
    }
  }
  assert.deepEqual(await all[0].docker.run('blue', 'outside', '10.5.0.9'), ['10.5.0.9']);
});

test('a range outside the subnet is refused', async (t) => {
  const range = { subnet: '10.5.0.0/24', range: '10.6.0.0/25' };
  await assert.rejects(
    hosts(t, 1, [range]),
    /the range 10\.6\.0\.0\/25 is not in the subnet 10\.5\.0\.0\/24/,
  );
});

test('options that are not known are refused with those that are', async (t) => {
  const [{ host, docker }] = await hosts(t, 1, [{ subnet: '10.5.0.0/24' }]);
  const request = { family: 4, options: { 'weft.network': 'red', 'weft.netwrok': 'red' } } as const;
  await assert.rejects(host.addresses.requestPool(request), {
    message: /--ipam-opt weft\.netwrok/,
    remedy: 'it has weft.network',
  });
  const typo = blue([{ subnet: '10.7.0.0/24' }]);
  const [options, ipam] = [{ 'weft.network': 'red', 'weft.vin': '7' }, { 'weft.network': 'red' }];
  const red = { ...typo, name: 'red', options, ipam: { ...typo.ipam, options: ipam } };
  await assert.rejects(docker.createNetwork(red), {
    code: 'driver-option',
    message: /-o weft\.vin/,
    remedy: 'it has weft.network, weft.vni, weft.mtu',
  });
});
