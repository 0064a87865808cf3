import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lackOfSharedDevices, reaches, sharedTenants } from './shared-tenants.ts';
import { PORT } from './tenant-hosts.ts';
import { cannotRun } from './test-lab.ts';

type SharedTenants = Awaited<ReturnType<typeof sharedTenants>>;

/**
 * Each command on h1 is repaired on the event, and both tenants have their way again. At last nothing is wanted there, and
 * nothing is left. The drifts are in several files: each takes its minutes on an emulated machine.
 */
export function repairsSharedTenants(
  name: string,
  driftsOf: (tenants: SharedTenants) => readonly string[],
): void {
  test(name, { skip: cannotRun('ping', 'nft') }, async (t) => {
    const reason = await lackOfSharedDevices(t);
    if (reason !== undefined) return t.skip(reason);
    const tenants = await sharedTenants(t);
    const { h1, a1, a3, b1, b2 } = tenants;
    await reaches(a1, a3.ip);
    await reaches(b1, b2.ip);
    for (const drift of driftsOf(tenants)) {
      await t.test(drift, async () => {
        h1.weft(drift);
        await h1.isRight(`repair after ${drift}`);
        await h1.owner.settled();
        assert.deepEqual(h1.owner.status.failing, []);
        await reaches(a1, a3.ip);
        await reaches(b1, b2.ip);
      });
    }
    await t.test('and what is not wanted any more is gone', async () => {
      await h1.want([]);
      assert.deepEqual(
        (await h1.kernel.links()).map(({ name }) => name),
        ['lo'],
      );
      assert.equal(h1.namespace.run(`ss -Hlnu sport = ${PORT}`).trim(), '');
    });
  });
}
