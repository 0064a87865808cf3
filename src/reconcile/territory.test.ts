import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Holding } from '#src/reconcile/holding.ts';
import { Territory } from '#src/reconcile/territory.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';
import { covers, type Scope } from '#src/state/scope.ts';
import { anyObject } from '../../test/support/any-object.ts';

const all = KINDS.names;
const onDevice = (device: string): Scope => ({ kinds: all, filter: { device }, owns: () => true });

function territory(owners: Readonly<Record<string, readonly Scope[]>>): {
  territory: Territory;
  holdings: Holding[];
} {
  const territory = new Territory();
  const holdings = Object.entries(owners).map(
    ([name, scopes]) => new Holding({ name, scopes: () => scopes }),
  );
  for (const holding of holdings) territory.add(holding);
  return { territory, holdings };
}

test('an object is its owners’ as a walk through all scopes would have it', () => {
  const filter = fc.constantFrom(undefined, { device: 'eth0' }, { device: 'flannel.1' }, { protocol: 87 });
  const scope = fc
    .record({ kinds: fc.subarray([...all], { minLength: 1 }), filter, owned: fc.subarray([...all]) })
    .map(({ kinds, filter, owned }): Scope => {
      const owns = ({ kind }: KernelObject) => owned.includes(kind);
      return { kinds, owns, ...(filter !== undefined && { filter }) };
    });
  const owner = fc.record({ scopes: fc.array(scope, { maxLength: 3 }), mayRemove: fc.boolean() });
  fc.assert(
    fc.property(fc.array(owner, { maxLength: 3 }), anyObject, (owners, object) => {
      const made = territory(Object.fromEntries(owners.map(({ scopes }, n) => [String(n), scopes])));
      for (const [n, holding] of made.holdings.entries()) holding.mayRemove = owners[n]?.mayRemove ?? false;
      const claims = owners.flatMap(({ scopes, mayRemove }, n) =>
        scopes.filter((scope) => covers(scope, object)).map((scope) => ({ scope, mayRemove, n })),
      );
      const owning = claims.filter(({ scope }) => scope.owns(object));
      assert.equal(
        made.territory.isFollowed(object),
        owning.length > 0 || (claims.length > 0 && object.kind === 'link'),
      );
      const isRemoved =
        KINDS.of(object).isRemovable && owning.length > 0 && owning.every(({ mayRemove }) => mayRemove);
      assert.equal(made.territory.remover(object) !== undefined, isRemoved);
    }),
  );
});

test('each part of the kernel is listed once, and no part of one that is listed whole', () => {
  const { territory: both } = territory({
    blue: [onDevice('blue'), { kinds: ['route'], filter: { protocol: 87 }, owns: () => true }],
    red: [
      { kinds: ['route'], filter: { protocol: 87 }, owns: () => true },
      { kinds: ['address'], owns: () => false },
    ],
  });
  const queries = both.queries().map(({ kinds, ...filter }) => `${kinds} ${JSON.stringify(filter)}`);
  assert.deepEqual(queries.sort(), [
    'address {}',
    'bridge-fdb {"device":"blue"}',
    'bridge-port {"device":"blue"}',
    'bridge-vlan {"device":"blue"}',
    'fast-hook {"device":"blue"}',
    'fast-local {"device":"blue"}',
    'fast-path {"device":"blue"}',
    'fast-peer {"device":"blue"}',
    'fdb {"device":"blue"}',
    'ike-connection {"device":"blue"}',
    'link {}',
    'neighbour {"device":"blue"}',
    'route {"device":"blue"}',
    'route {"protocol":87}',
    'sysctl {"device":"blue"}',
    'vni {"device":"blue"}',
    'wireguard-device {"device":"blue"}',
    'wireguard-peer {"device":"blue"}',
    'xfrm-policy {"device":"blue"}',
  ]);
});

test('an owner’s devices are those of which no other owner follows the entries', () => {
  const { territory: shared, holdings } = territory({
    blue: [
      onDevice('blue'),
      onDevice('eth0'),
      { kinds: ['link'], filter: { device: 'eth1' }, owns: () => false },
    ],
    red: [onDevice('red'), { kinds: ['neighbour'], filter: { device: 'eth0' }, owns: () => true }],
  });
  const [blue, red] = holdings;
  assert.ok(blue && red);
  assert.deepEqual(shared.devicesOf(blue, ['neighbour', 'fdb']), ['blue']);
  assert.deepEqual(shared.devicesOf(red, ['neighbour', 'fdb']), ['red']);
  shared.remove(red);
  assert.deepEqual(shared.devicesOf(blue, ['neighbour', 'fdb']), ['blue', 'eth0']);
});

test('scopes that an owner exchanges are read again', () => {
  let scopes = [onDevice('blue')];
  const changing = new Territory();
  changing.add(new Holding({ name: 'blue', scopes: () => scopes }));
  assert.ok(changing.isFollowed({ kind: 'link', name: 'blue' }));
  scopes = [onDevice('green')];
  changing.mayHaveChanged();
  assert.ok(!changing.isFollowed({ kind: 'link', name: 'blue' }));
  assert.ok(changing.isFollowed({ kind: 'link', name: 'green' }));
});
