import assert from 'node:assert/strict';
import type { SharedTenants } from './shared-tenants.ts';
import { PORT } from './tenant-hosts.ts';
import { reaches } from './tenants-apart.ts';

/** What a command changed on h1 is repaired on the event, and both tenants have their way again. */
export async function isRepaired({ h1, a1, a3, b1, b2 }: SharedTenants, drift: string): Promise<void> {
  h1.weft(drift);
  await h1.isRight(`repair after ${drift}`);
  await h1.owner.settled();
  await reaches(a1, a3.ip);
  await reaches(b1, b2.ip);
}

/** Nothing is wanted on h1, and nothing is left. */
export async function isGone({ h1 }: SharedTenants): Promise<void> {
  await h1.want([]);
  assert.deepEqual(await h1.madeLinks(), []);
  assert.equal(h1.namespace.run(`ss -Hlnu sport = ${PORT}`).trim(), '');
}
