import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from '#src/lib/secret.ts';
import { readChangeMember } from '#src/network/change-member.ts';
import { type ChangePhase, withoutPlan, withPhase, withPlan } from '#src/network/change-plan.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { RotatedKeys } from '#src/node/key-rotation.ts';
import { Network } from '#src/node/network.ts';
import { KINDS } from '#src/state/object.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { MemoryHost, testOptions } from '../../test/support/node-host.ts';

/* One host in memory, alone in its network, which changes its backend. Time is real. */

const PREFIX = '/n';
const keyNumber = (n: number) => ({
  publicKey: Buffer.alloc(32, n).toString('base64'),
  privateKey: Secret.copyOf(new Uint8Array(32).fill(n)),
});

/** A node's key files: the first key is 1, the next one 2. */
function keyFiles(): RotatedKeys & { readonly isMade: boolean } {
  let [current, next] = [1, 0];
  return {
    get isMade() {
      return next > 0;
    },
    current: async () => keyNumber(current),
    next: async () => (next > 0 ? keyNumber(next) : undefined),
    makeNext: async () => {
      next = current + 1;
      return keyNumber(next);
    },
    promote: async () => {
      [current, next] = [next, 0];
    },
    ageMs: async () => 0,
  };
}

test('keys that a change brings are rotated without a restart, and those that it takes away no more', async (t) => {
  const stop = new AbortController();
  const host = new MemoryHost({
    clock: systemClock,
    signal: stop.signal,
    kinds: KINDS.all.filter(({ name }) => name.startsWith('wireguard-')),
  });
  const rotated = keyFiles();
  const parts = { ...host.parts, secrets: { read: async () => ({}), rotated } };
  const registry = host.registry(PREFIX, systemClock);
  let text = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
  registry.writeConfig(text);
  const options = testOptions({ wireguardRotate: 86_400_000, wireguardRotateWait: 60_000 });
  const network = new Network(parts, { id: { prefix: PREFIX }, options, onReady: () => {} });
  const ended = network.run(stop.signal).catch(() => {});
  t.after(async () => {
    stop.abort();
    await ended;
  });
  const changeTo = async (backend: string): Promise<void> => {
    text = withPlan(text, backend, { id: backend.length.toString(), by: 'h', at: '' });
    for (const phase of ['prepare', 'moving', 'settling'] satisfies ChangePhase[]) {
      if (phase !== 'prepare') text = withPhase(text, phase);
      registry.writeConfig(text);
      const isThere = async (): Promise<boolean> => {
        const { records } = await registry.list(stop.signal);
        const own = decodeAttributes(records[0]?.value ?? '');
        const member = own.ok ? readChangeMember(own.attributes) : undefined;
        return member?.phase === phase && member.other !== undefined;
      };
      await until(isThere, { what: `phase ${phase} of ${backend}`, timeoutMs: 20_000 });
      // Without a key, because of the change, or because one is under way.
      assert.ok(network.rotate());
    }
    text = withoutPlan(text);
    registry.writeConfig(text);
    const isOver = () => network.status().change === undefined;
    await until(isOver, { what: `end of the change to ${backend}`, timeoutMs: 20_000 });
  };

  await until(() => network.troubles.length === 0, { what: 'network', timeoutMs: 20_000 });
  await changeTo('{"Type":"wireguard"}');
  await until(() => network.status().rotation?.phase === 'idle', { what: 'rotation at rest' });
  assert.equal(network.rotate(), undefined);
  await until(() => rotated.isMade, { what: 'next key', timeoutMs: 20_000 });

  await changeTo('{"Type":"vxlan","VNI":7}');
  assert.match(network.rotate() ?? '', /another backend than wireguard/);
  assert.equal(network.status().rotation, undefined);
});
