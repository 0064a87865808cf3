import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LostTenants } from '#src/driver/lost-tenants.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';

const tenantOf = (n: number): Tenant => {
  const prefix = prefix4(ipv4(0x0a800000 + n * 256), 24);
  const v4 = { prefix, gateway: ipv4(prefix.address + 1), auxiliary: {} };
  return { name: `n${n}`, vni: 70_000 + n, internal: false, subnets: { v4 } };
};

function setUp(count: number) {
  const tenants = Array.from({ length: count }, (_, n) => tenantOf(n));
  const state = {
    networks: Object.fromEntries(tenants.map(({ name }) => [`id-${name}`, name])),
    tenants: Object.fromEntries(tenants.map((tenant) => [tenant.name, formatTenant(tenant)])),
  };
  const [there, removed] = [new Set<string>(), new Set<string>()];
  const restored: string[] = [];
  const log: string[] = [];
  const registry = { refusal: undefined as Error | undefined };
  const note = (line: string): void => void log.push(line);
  const lost = new LostTenants({
    book: { state } as never,
    directory: {
      get: (name) => (there.has(name) ? tenantOf(0) : undefined),
      isRemoved: (name) => removed.has(name),
      async restore({ name }) {
        restored.push(name);
        await nextTurn();
        if (registry.refusal !== undefined) throw registry.refusal;
      },
    },
    log: { ...silentLogger, warning: note, error: note },
    signal: new AbortController().signal,
  });
  return { lost, there, removed, restored, log, registry };
}

test('each tenant that was lost is written once, however often the directory changes', async () => {
  const { lost, there, restored, log } = setUp(50);
  there.add('n7');
  for (let n = 0; n < 50; n++) {
    lost.look();
    await nextTurn();
    there.add(`n${n}`);
  }
  assert.equal(restored.length, 49);
  assert.equal(new Set(restored).size, 49);
  assert.equal(log.length, 49);
});

test('one that was removed stays removed', () => {
  const { lost, removed, restored } = setUp(2);
  removed.add('n1');
  lost.look();
  assert.deepEqual(restored, ['n0']);
});

test('one that is lost a second time is written a second time', async () => {
  const { lost, there, restored } = setUp(1);
  for (let time = 0; time < 2; time++) {
    lost.look();
    await nextTurn();
    there.add('n0');
    lost.look();
    there.delete('n0');
  }
  assert.deepEqual(restored, ['n0', 'n0']);
});

test('a refusal is said once, and tried again with the next change', async () => {
  const { lost, restored, log, registry } = setUp(1);
  registry.refusal = new Error('VNI 70000 is n9’s');
  for (let time = 0; time < 3; time++) {
    lost.look();
    await nextTurn();
    await nextTurn();
  }
  assert.equal(restored.length, 3);
  assert.deepEqual(log, ['could not write the record of network n0 again: VNI 70000 is n9’s']);
});
