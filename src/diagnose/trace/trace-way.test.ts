import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hop, HopId } from '#src/diagnose/trace/hop.ts';
import { RemoteSite, type Site } from '#src/diagnose/trace/site.ts';
import { traceWay } from '#src/diagnose/trace/trace-way.ts';

const LOST = { found: ['nothing passes'], ok: false, remedy: 'open the port' } as const;

/** This host, with what it shows of the way out of it and of the way into it. */
const siteOf = (leave: readonly (readonly [HopId, Hop['ok']])[], enter: typeof leave): Site => ({
  name: 'h1',
  answers: true,
  walk: async ({ part, way }) => ({
    host: 'h1',
    hops: (part === 'leave' ? leave : enter).map(
      ([id, ok]): Hop => ({
        ...{ id, ok, way, host: 'h1', about: '', command: '', found: [], expected: '' },
      }),
    ),
    ...(part === 'leave' && { carriage: { kind: 'direct', to: '192.0.2.2' } }),
  }),
});

async function hopsOf(here: Site, all = false): Promise<string[]> {
  const far = new RemoteSite('h2', () => Promise.reject(new Error('silence')));
  const { hops } = await traceWay({
    from: { address: '10.0.1.2', site: here },
    to: { address: '10.0.2.2', site: far },
    evidence: () => LOST,
    all,
  });
  return hops.map(({ way, id, ok }) => `${way} ${id} ${ok}`);
}

test('where nothing that is seen drops the packet, it stops at the wire', async () => {
  const here = siteOf([['route', true]], [['input-filter', true]]);
  assert.deepEqual(await hopsOf(here), ['there route true', 'there wire false']);
});

test('a hop of this host that drops the answer counts more than what was measured', async () => {
  const here = siteOf([['route', true]], [['input-filter', false]]);
  assert.deepEqual(await hopsOf(here), [
    ...['there route true', 'there wire unknown', 'there arrival-device unknown'],
    ...['back container unknown', 'back wire unknown', 'back input-filter false'],
  ]);
});

test('behind a hop of the way there that drops the packet nothing is looked at, but with all', async () => {
  const here = siteOf([['route', false]], [['input-filter', true]]);
  assert.deepEqual(await hopsOf(here), ['there route false']);
  assert.equal((await hopsOf(here, true)).at(-1), 'back input-filter true');
});
