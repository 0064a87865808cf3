import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { IMAGE } from '#src/lab/docker.ts';
import { faultCalled } from '#src/lab/faults.ts';
import { keepApart } from '../support/apart.ts';
import {
  cannotRunTenants,
  createTenant,
  newName,
  sharedTenants,
  type TenantStore,
  twoOf,
} from '../support/docker-tenants.ts';
import { WEFT } from '../support/flanneld.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { assertViewsAgree, storedAddresses, waitForRelease } from '../support/tenant-views.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * The store is away, or comes back with less than it had (docker-driver.md §6 numbers 14 and 15):
 *
 *     store .190 (killed, frozen, cut off, emptied)     h1 .191 flanneld, dockerd     h2 .192 flanneld, dockerd
 */
const skip = cannotRunTenants('curl');

/** A new container without the store: Docker's user waits no longer for the refusal. */
const REFUSAL_MS = 20_000;

/** The driver meets each fault in the same way, whatever the store; the registry's own tests have all of them. */
const FAULTS = {
  'etcd v3': ['etcd-killed', 'etcd-frozen', 'etcd-partitioned'],
  'etcd v2': ['etcd-killed'],
  embedded: ['etcd-frozen'],
} as const;
const STORES: readonly TenantStore[] = ['etcd v3', 'etcd v2', 'embedded'];

for (const store of STORES) {
  describe(store, () => {
    const tenants = sharedTenants(skip, { store });
    const target = () => {
      const [one] = twoOf(tenants());
      const { lab, store } = tenants();
      return { lab, etcd: store, host: one.host, relay: [WEFT, 'lab', 'relay'] };
    };

    for (const name of FAULTS[store]) {
      test(`${name}: running containers go on, stop and rm work, a new one is refused soon`, {
        skip,
      }, async () => {
        const [one, two] = twoOf(tenants());
        const network = newName();
        await createTenant(tenants(), network, { subnet: '10.61.0.0/24' });
        const a = await one.run(`a-${network}`, network);
        const b = await two.run(`b-${network}`, network);
        const c = await one.run(`c-${network}`, network);
        await waitForAnswer(a, b.address);
        await waitForAnswer(b, c.address);
        const fault = faultCalled(name);
        const { lost } = await duringTraffic(a, b.address, async () => {
          await fault.start(target());
          try {
            await one.must(['stop', `c-${network}`]);
            await one.remove(`c-${network}`);
            const started = performance.now();
            const words = ['run', '-d', '--name', `d-${network}`, '--network', network, IMAGE, 'sleep', '9'];
            const { code, stderr } = await one.attempt(words, REFUSAL_MS);
            assert.notEqual(code, 0);
            assert.notEqual(code, 124, `no answer in ${Math.round(performance.now() - started)} ms`);
            assert.match(stderr, /registry|etcd|store/);
            await one.remove(`d-${network}`);
          } finally {
            await fault.end(target());
          }
        });
        assert.equal(lost, 0);
        await tenants().store.ready();
        await waitForRelease(tenants(), network, c.address);
        await one.remove(`e-${network}`);
        const e = await one.run(`e-${network}`, network);
        await waitForAnswer(b, e.address);
        await assertViewsAgree(tenants());
        await one.remove(`a-${network}`, `e-${network}`);
        await two.remove(`b-${network}`);
      });
    }

    test('after a compaction the next container is seen by the other host', {
      skip: skip || (store === 'etcd v2' && 'API v2 has no compaction'),
    }, async () => {
      const [one, two] = twoOf(tenants());
      const network = newName();
      await createTenant(tenants(), network, { subnet: '10.62.0.0/24' });
      const a = await one.run(`a-${network}`, network);
      await tenants().store.compact();
      const b = await two.run(`b-${network}`, network);
      await waitForAnswer(a, b.address);
      await assertViewsAgree(tenants());
    });

    test('a store that comes back empty: nothing in use is given away', { skip }, async () => {
      const [one, two] = twoOf(tenants());
      const network = newName();
      await createTenant(tenants(), network, { subnet: '10.63.0.0/28' });
      const running = [
        await one.run(`a1-${network}`, network),
        await one.run(`a2-${network}`, network),
        await two.run(`b1-${network}`, network),
        await two.run(`b2-${network}`, network),
      ];
      const { lost } = await duringTraffic(
        running[0] ?? assert.fail(),
        running[2]?.address ?? '',
        async () => {
          const fault = faultCalled('etcd-emptied');
          await fault.start(target());
          await fault.end(target());
          await tenants().store.ready();
        },
      );
      assert.equal(lost, 0);
      const before = new Set(running.map(({ address }) => address));
      for (const [n, host] of [one, two, one, two].entries()) {
        // A refusal is no harm, an address that is in use is.
        const words = [
          'run',
          '-d',
          '--name',
          `n${n}-${network}`,
          '--network',
          network,
          IMAGE,
          'sleep',
          '9999',
        ];
        const { code } = await host.attempt(words);
        if (code !== 0) continue;
        const address = (await host.attachment(`n${n}-${network}`, network))?.IPAddress ?? '';
        assert.equal(before.has(address), false, `${address} was given twice`);
        before.add(address);
      }
      // Each host puts back what its own containers have.
      await assertViewsAgree(tenants(), 60_000);
      const back = (await storedAddresses(tenants())).filter((it) => it.tenant === network);
      for (const { address } of running)
        assert.ok(
          back.some(({ ip }) => ip === address),
          address,
        );
    });
  });
}

describe('a host that is cut off from the store', () => {
  const tenants = sharedTenants(skip);

  test('keeps its traffic, and learns what happened meanwhile', { skip }, async () => {
    const [one, two] = twoOf(tenants());
    const network = newName();
    await createTenant(tenants(), network, { subnet: '10.64.0.0/24' });
    const a = await one.run('on-a', network);
    const b = await two.run('on-b', network);
    await waitForAnswer(a, b.address);
    const join = await keepApart(two.host, tenants().lab.store.address);
    const c = await one.run('on-c', network);
    assert.equal(await answered(a, b.address), 3);
    await two.remove('on-b');
    await join();
    // It is in touch with the store again: one that is not refuses a new container.
    await waitForRelease(tenants(), network, b.address);
    const d = await two.run('on-d', network);
    await waitForAnswer(d, c.address);
    await assertViewsAgree(tenants());
  });
});
