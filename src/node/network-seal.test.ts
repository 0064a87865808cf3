import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KeepTable, NetworkSeal } from '#src/node/network-seal.ts';

const SEAL = { port: 8472, vni: 1, device: 'weft-wg.1', isClosed: true };

/** A packet filter that writes down what is asked of it. */
function filter({ fails = false } = {}) {
  const done: string[] = [];
  const keep: KeepTable = ({ table: { name } }) => {
    let trouble: string | undefined;
    return {
      get trouble() {
        return trouble;
      },
      repairs: 0,
      async start(signal) {
        done.push(`start ${name}`);
        signal.addEventListener('abort', () => done.push(`end ${name}`));
        if (fails) trouble = 'there is no program nft';
      },
      async remove() {
        done.push(`remove ${name}`);
        return [];
      },
    };
  };
  return { done, seal: new NetworkSeal(keep) };
}

test('a port is closed once, for as long as it is wanted so', async (t) => {
  const { done, seal } = filter();
  await seal.use(SEAL, t.signal);
  await seal.use({ ...SEAL }, t.signal);
  assert.deepEqual(done, ['start weft-sealed-1']);
  await seal.use({ ...SEAL, port: 4789 }, t.signal);
  assert.deepEqual(done.slice(1), ['end weft-sealed-1', 'start weft-sealed-1']);
});

test('an open port loses what an earlier run made', async (t) => {
  const { done, seal } = filter();
  await seal.use({ ...SEAL, isClosed: false }, t.signal);
  assert.deepEqual(done, ['remove weft-sealed-1']);
  await seal.use(undefined, t.signal);
  assert.equal(done.length, 1);
});

test('without a packet filter nothing is made that takes plain packets', async (t) => {
  const { seal } = filter({ fails: true });
  for (let attempt = 0; attempt < 2; attempt++)
    await assert.rejects(seal.use(SEAL, t.signal), {
      code: 'seal',
      message: 'plain packets of the overlay can not be kept out: there is no program nft',
    });
});
