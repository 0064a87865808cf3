import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ip, ipv4, prefix4 } from '#src/lib/ip.ts';
import { planAddress } from '#src/tenant/address-plan.ts';
import { AddressPool } from '#src/tenant/address-pool.ts';
import { faultOfAddress, following } from '#src/tenant/subnet-rules.ts';
import type { AddressRecord, AddressState, TenantSubnet } from '#src/tenant/tenant.ts';

/** 14 addresses, of which 12 are for containers. */
const BASE = ipv4(0x0a050000);
const SUBNET: TenantSubnet = {
  prefix: prefix4(BASE, 28),
  gateway: ipv4(BASE + 1),
  auxiliary: { dns: ipv4(BASE + 14) },
};
const ALL: readonly Ip[] = Array.from({ length: 16 }, (_, n) => following(BASE, n));
const USABLE = ALL.filter((ip) => faultOfAddress(SUBNET, ip) === undefined);
const HOSTS = ['a', 'b', 'c'];

interface Stored extends AddressRecord {
  readonly revision: number;
}

/** A store with guarded writes, and hosts that hear of its changes late. */
class Cluster {
  readonly records = new Map<Ip, Stored>();
  readonly #changes: { readonly ip: Ip; readonly record: Stored | undefined }[] = [];
  readonly #views = HOSTS.map(() => ({ pool: new AddressPool<Stored>(SUBNET), seen: 0 }));
  /** Who has which address, as containers see it. */
  readonly holders = new Map<Ip, string>();

  pool(host: number): AddressPool<Stored> {
    return this.#views[host]?.pool ?? assert.fail();
  }

  isBehind(host: number): boolean {
    return (this.#views[host]?.seen ?? 0) < this.#changes.length;
  }

  catchUp(host: number): void {
    const view = this.#views[host] ?? assert.fail();
    for (const { ip, record } of this.#changes.slice(view.seen)) {
      if (record === undefined) view.pool.delete(ip);
      else view.pool.set(record);
    }
    view.seen = this.#changes.length;
  }

  /** Creates the record, or replaces the one that was read. False when somebody else was first. */
  write(ip: Ip, previous: Stored | undefined, fields: Pick<Stored, 'state' | 'host' | 'names'>): boolean {
    if (this.records.get(ip)?.revision !== previous?.revision) return false;
    const revision = this.#changes.length + 1;
    const since = revision;
    const record = { ip, vtep: ipv4(1), keep: fields.state === 'kept', since, revision, ...fields };
    this.records.set(ip, record);
    this.#changes.push({ ip, record });
    return true;
  }

  forget(ip: Ip): void {
    this.records.delete(ip);
    this.#changes.push({ ip, record: undefined });
  }
}

const host = fc.nat(HOSTS.length - 1);
const name = fc.constantFrom('web', 'db', 'job');
const step = fc.oneof(
  fc.record({ act: fc.constant('claim' as const), host, name, wanted: fc.constantFrom(undefined, ...ALL) }),
  fc.record({ act: fc.constant('claim' as const), host, name, wanted: fc.constant(undefined) }),
  fc.record({
    act: fc.constant('give' as const),
    at: fc.nat(15),
    state: fc.constantFrom('released', 'kept'),
  }),
  fc.record({ act: fc.constant('forget' as const), at: fc.nat(15) }),
  fc.record({ act: fc.constant('catch up' as const), host }),
);

/** What the rules allow, found the slow way in what the host knows. */
function assertByTheRules(
  pool: AddressPool<Stored>,
  inDoubt: ReadonlySet<Ip>,
  claim: { readonly ip: Ip; readonly previous?: Stored },
  asked: { readonly host: string; readonly name: string; readonly wanted: Ip | undefined },
): void {
  const { ip, previous } = claim;
  assert.ok(USABLE.includes(ip));
  assert.equal(pool.get(ip), previous);
  const state = previous?.state;
  assert.ok(state === undefined || state === 'released' || state === 'kept', `${state} was taken`);
  if (asked.wanted !== undefined) {
    assert.equal(ip, asked.wanted);
    return;
  }
  assert.ok(!inDoubt.has(ip));
  if (previous === undefined) return;
  const isItsOwn = previous.host === asked.host && previous.names[0] === asked.name;
  if (isItsOwn) return;
  assert.equal(state, 'released');
  const others = USABLE.filter((other) => !inDoubt.has(other));
  assert.deepEqual(
    others.filter((other) => pool.get(other) === undefined),
    [],
    'something fresh was left',
  );
  const released = others.flatMap((other) => pool.get(other) ?? []).filter((it) => it.state === 'released');
  assert.equal(Math.min(...released.map(({ since }) => since)), previous.since);
}

function assertRefusal(
  pool: AddressPool<Stored>,
  inDoubt: ReadonlySet<Ip>,
  refusal: { readonly reason: string; readonly remedy: string },
  wanted: Ip | undefined,
): void {
  assert.match(refusal.reason, /^\S[^\n]+$/);
  assert.match(refusal.remedy, /^\S[^\n]+$/);
  const isFree = (ip: Ip) => [undefined, 'released'].includes(pool.get(ip)?.state);
  const wished = wanted === undefined ? USABLE.filter((ip) => !inDoubt.has(ip)) : [wanted];
  assert.deepEqual(
    wished.filter((ip) => USABLE.includes(ip) && isFree(ip)),
    [],
  );
}

test('whatever the hosts know and when: one holder for an address, and only what the rules allow', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 120, size: 'max' }),
      fc.uniqueArray(fc.constantFrom(...USABLE), { maxLength: 3 }),
      (steps, doubts) => {
        const cluster = new Cluster();
        const inDoubt = new Set(doubts);
        let containers = 0;
        for (const each of steps) {
          if (each.act === 'catch up') {
            cluster.catchUp(each.host);
          } else if (each.act === 'claim') {
            const pool = cluster.pool(each.host);
            const id = HOSTS[each.host] ?? '';
            const wish = each.wanted === undefined ? {} : { wanted: each.wanted };
            const facts = { subnet: SUBNET, pool, host: id, container: each.name, inDoubt, ...wish };
            const plan = planAddress({ ...facts, hostName: () => undefined });
            if (plan.kind === 'refuse') {
              assertRefusal(pool, inDoubt, plan, each.wanted);
              continue;
            }
            assertByTheRules(pool, inDoubt, plan, { host: id, name: each.name, wanted: each.wanted });
            const fields = { state: 'published', host: id, names: [each.name] } as const;
            const written = cluster.write(plan.ip, plan.previous, fields);
            assert.ok(written || cluster.isBehind(each.host), 'a host that knows everything lost a race');
            if (!written) continue;
            assert.equal(cluster.holders.get(plan.ip), undefined, 'two containers have one address');
            cluster.holders.set(plan.ip, `container ${containers++}`);
          } else {
            const record = cluster.records.get(ALL[each.at] ?? assert.fail());
            if (record === undefined) continue;
            const isHeld = cluster.holders.delete(record.ip);
            if (each.act === 'forget') cluster.forget(record.ip);
            else if (isHeld)
              cluster.write(record.ip, record, { ...record, state: each.state as AddressState });
          }
        }
      },
    ),
    { numRuns: 400 },
  );
});
