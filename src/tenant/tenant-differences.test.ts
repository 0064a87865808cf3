import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { parseTenant } from '#src/tenant/tenant-codec.ts';
import { type SubnetWish, type TenantWish, tenantDifferences } from '#src/tenant/tenant-differences.ts';

const sure = <T>(value: T | undefined): T => value ?? assert.fail();
const parsed = parseTenant(
  'blue',
  '{"vni":7,"subnets":{"v4":{"prefix":"10.6.0.0/24","gateway":"10.6.0.1","auxiliary":{"dns":"10.6.0.2"}}}}',
);
const THERE = parsed.ok ? parsed.value : assert.fail(parsed.reason);

const differences = (wish: Partial<TenantWish>) =>
  tenantDifferences({ name: 'blue', subnets: {}, ...wish }, THERE);
const ofSubnet = (v4: SubnetWish<NonNullable<ReturnType<typeof parsePrefix4>>>) =>
  differences({ subnets: { v4 } });

test('what is not asked for does not differ, nor a tenant from itself', () => {
  assert.deepEqual(differences({}), []);
  assert.deepEqual(tenantDifferences(THERE, THERE), []);
  assert.deepEqual(ofSubnet({}), []);
});

test('each difference names both values', () => {
  const prefix = sure(parsePrefix4('10.5.0.0/24'));
  assert.deepEqual(ofSubnet({ prefix, gateway: sure(parseIpv4('10.5.0.1')) }), [
    'subnet 10.5.0.0/24, but network blue has 10.6.0.0/24',
  ]);
  assert.deepEqual(ofSubnet({ gateway: sure(parseIpv4('10.6.0.254')) }), [
    'gateway 10.6.0.254, but network blue has 10.6.0.1',
  ]);
  assert.deepEqual(differences({ vni: 8, mtu: 1_400, internal: true }), [
    'VNI 8, but network blue has 7',
    'MTU 1400, but network blue has that of the underlay',
    'internal, but network blue has a way out of the network',
  ]);
  assert.deepEqual(
    tenantDifferences({ name: 'blue', subnets: {}, internal: false }, { ...THERE, internal: true }),
    ['a way out, but network blue is internal'],
  );
  assert.deepEqual(differences({ subnets: { v6: { prefix: sure(parsePrefix6('fd00::/64')) } } }), [
    'subnet fd00::/64, but network blue has no IPv6 subnet',
  ]);
});

test('an auxiliary address has to be reserved there, under whatever name', () => {
  const ask = (name: string, text: string) => ofSubnet({ auxiliary: { [name]: sure(parseIpv4(text)) } });
  assert.deepEqual(ask('dns', '10.6.0.2'), []);
  assert.deepEqual(ask('other', '10.6.0.2'), []);
  assert.deepEqual(ask('dns', '10.6.0.3'), [
    'auxiliary address dns=10.6.0.3, but network blue has dns=10.6.0.2',
  ]);
  assert.deepEqual(ask('toString', '10.6.0.3'), [
    'auxiliary address toString=10.6.0.3, but network blue has no toString',
  ]);
});
