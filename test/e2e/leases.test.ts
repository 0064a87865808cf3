import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import {
  flagsFor,
  PREFIX,
  readLease,
  startFlanneld,
  waitForRoute,
  writeConfig,
} from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * What others write beside our own lease: reservations, peers that change, peers that left while we were down, junk.
 * The peers are keys written by hand.
 *
 *     store .190 etcd     h1 .191 flanneld     peers .201 …: only in etcd
 */
const skip = cannotRun('etcd', 'etcdctl');

const leaseOf = (address: string, mac: string): string =>
  `{"PublicIP":"${address}","BackendType":"vxlan","BackendData":{"VtepMAC":"${mac}"}}`;
const key = (subnet: string): string => `${PREFIX}/subnets/${subnet}.0-24`;
const [MAC, OTHER_MAC] = ['4e:75:5c:b8:d8:01', '4e:75:5c:b8:d8:02'];

for (const api of [2, 3] as const) {
  const put = (etcd: Etcd, subnet: string, value: string) =>
    etcd.must(api, [api === 2 ? 'set' : 'put', key(subnet), value]);
  const remove = (etcd: Etcd, subnet: string) => etcd.must(api, [api === 2 ? 'rm' : 'del', key(subnet)]);

  test(`a reservation is taken and stays one (etcd v${api})`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [etcd, host] = [await Etcd.start(lab), lab.host('h1')];
    await writeConfig(etcd, api);
    await put(etcd, '10.0.77', `{"PublicIP":"${host.address}"}`);
    const { subnetEnv } = await startFlanneld(host, flagsFor(host, etcd));
    assert.match(subnetEnv, /^FLANNEL_SUBNET=10\.0\.77\.1\/24$/m);
    assert.match(await readLease(etcd, api, '10.0.77'), /VtepMAC/);
    if (api === 2) {
      assert.doesNotMatch(await etcd.must(2, ['-o', 'extended', 'get', key('10.0.77')]), /^TTL: [1-9]/m);
    } else {
      const { kvs } = JSON.parse(await etcd.must(3, ['get', '-w', 'json', key('10.0.77')])) as {
        kvs: { lease?: number }[];
      };
      assert.deepEqual(
        kvs.map((kv) => kv.lease ?? 0),
        [0],
      );
    }
  });

  test(`a peer's new MAC and address leave nothing of the old (etcd v${api})`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [etcd, host] = [await Etcd.start(lab), lab.host('h1')];
    await writeConfig(etcd, api);
    await put(etcd, '10.0.88', leaseOf('172.16.70.201', MAC));
    await startFlanneld(host, flagsFor(host, etcd));
    await waitForRoute(host, '10.0.88');
    await put(etcd, '10.0.88', leaseOf('172.16.70.202', OTHER_MAC));
    await becomesOnly(host, [{ mac: OTHER_MAC, dst: '172.16.70.202' }]);
    const neighbour = new RegExp(`^10\\.0\\.88\\.0 lladdr ${OTHER_MAC} `);
    await until(async () => neighbour.test(await host.must(['ip', 'neigh', 'show', 'dev', 'flannel.1'])), {
      what: 'new neighbour',
    });
  });

  test(`peers that left while flanneld was down go at its start, foreign entries stay (etcd v${api})`, {
    skip,
  }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [etcd, host] = [await Etcd.start(lab), lab.host('h1')];
    await writeConfig(etcd, api);
    await put(etcd, '10.0.88', leaseOf('172.16.70.201', MAC));
    await put(etcd, '10.0.89', leaseOf('172.16.70.202', OTHER_MAC));
    const { daemon } = await startFlanneld(host, flagsFor(host, etcd));
    await waitForRoute(host, '10.0.88');
    await waitForRoute(host, '10.0.89');
    await daemon.stop();
    await remove(etcd, '10.0.88');
    await host.batch(['route add 192.168.7.0/24 via 172.16.70.1', 'route add 10.99.0.0/24 dev eth0']);
    await startFlanneld(host, flagsFor(host, etcd));
    await until(async () => (await host.must(['ip', 'route', 'show', '10.0.88.0/24'])) === '', {
      what: 'removal',
    });
    // A peer's forwarding entry goes after its route.
    await becomesOnly(host, [{ mac: OTHER_MAC, dst: '172.16.70.202' }]);
    const routes = await host.must(['ip', 'route']);
    for (const kept of ['192.168.7.0/24', '10.99.0.0/24', '10.0.89.0/24'])
      assert.ok(routes.includes(kept), routes);
  });

  test(`junk below the leases is passed over, before the start and after (etcd v${api})`, {
    skip,
  }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [etcd, host] = [await Etcd.start(lab), lab.host('h1')];
    await writeConfig(etcd, api);
    await put(etcd, '10.0.88', leaseOf('172.16.70.201', MAC));
    await put(etcd, '10.0.66', 'not JSON');
    const { daemon } = await startFlanneld(host, flagsFor(host, etcd));
    await waitForRoute(host, '10.0.88');
    for (const [name, value] of [
      ['10.0.67.0-24', '{"PublicIP":7}'],
      ['not-a-subnet', leaseOf('172.16.70.203', OTHER_MAC)],
      ['10.0.68.0-24', ''],
    ] as const) {
      await etcd.must(api, [api === 2 ? 'set' : 'put', `${PREFIX}/subnets/${name}`, value]);
    }
    await put(etcd, '10.0.89', leaseOf('172.16.70.202', OTHER_MAC));
    await waitForRoute(host, '10.0.89');
    await waitForRoute(host, '10.0.88');
    assert.equal(daemon.isAlive(), true);
  });
}

/** Waits until these are all the forwarding entries. */
async function becomesOnly(host: Host, wanted: readonly { mac: string; dst: string }[]): Promise<void> {
  const forwarding = async () =>
    (await host.ip(['fdb', 'show', 'dev', 'flannel.1'], 'bridge')).map(({ mac, dst }) => ({ mac, dst }));
  await until(async () => JSON.stringify(await forwarding()) === JSON.stringify(wanted), {
    what: 'forwarding entries as wanted',
  }).catch(async () => assert.deepEqual(await forwarding(), wanted));
}
