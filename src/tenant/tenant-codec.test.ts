import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIpv4, parseIpv6, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { formatTenant, parseTenant, parseVniName, vniName } from '#src/tenant/tenant-codec.ts';

const sure = <T>(value: T | undefined): T => value ?? assert.fail();

const SMALL: Tenant = {
  name: 'blue',
  vni: 70_001,
  subnets: {
    v4: { prefix: sure(parsePrefix4('10.5.0.0/24')), gateway: sure(parseIpv4('10.5.0.1')), auxiliary: {} },
  },
  internal: false,
};
const LARGE: Tenant = {
  name: 'red.v2_x-1',
  vni: 16_777_215,
  subnets: {
    v4: {
      prefix: sure(parsePrefix4('10.6.0.0/16')),
      range: sure(parsePrefix4('10.6.128.0/17')),
      gateway: sure(parseIpv4('10.6.0.254')),
      auxiliary: { router: sure(parseIpv4('10.6.0.2')), 'a name': sure(parseIpv4('10.6.0.3')) },
    },
    v6: {
      prefix: sure(parsePrefix6('fd00:6::/64')),
      range: sure(parsePrefix6('fd00:6::8000:0/97')),
      gateway: sure(parseIpv6('fd00:6::1')),
      auxiliary: { router: sure(parseIpv6('fd00:6::2')) },
    },
  },
  mtu: 1_400,
  internal: true,
};

test('the text of a tenant', () => {
  assert.equal(
    formatTenant(SMALL),
    '{"vni":70001,"subnets":{"v4":{"prefix":"10.5.0.0/24","gateway":"10.5.0.1"}}}',
  );
  assert.equal(
    formatTenant(LARGE),
    '{"vni":16777215,"subnets":{' +
      '"v4":{"prefix":"10.6.0.0/16","range":"10.6.128.0/17","gateway":"10.6.0.254","auxiliary":{"router":"10.6.0.2","a name":"10.6.0.3"}},' +
      '"v6":{"prefix":"fd00:6::/64","range":"fd00:6::8000:0/97","gateway":"fd00:6::1","auxiliary":{"router":"fd00:6::2"}}},' +
      '"mtu":1400,"internal":true}',
  );
});

test('what was written is read', () => {
  for (const tenant of [SMALL, LARGE])
    assert.deepEqual(parseTenant(tenant.name, formatTenant(tenant)), { ok: true, value: tenant });
});

test('fields of a later version are ignored, and stay when the value is written again', () => {
  const later = formatTenant(SMALL).replace(/^\{/, '{"encrypted":{"since":7},"vni":9,');
  const parsed = parseTenant('blue', later);
  assert.deepEqual(parsed, { ok: true, value: SMALL });
  assert.equal(formatTenant(SMALL, later), formatTenant(SMALL).replace(/\}$/, ',"encrypted":{"since":7}}'));
  for (const former of ['', 'junk', '[1]', 'null', '{"__proto__":1}'])
    assert.ok(formatTenant(SMALL, former).startsWith(formatTenant(SMALL).slice(0, -1)), former);
});

const v4 = (fields: object) => JSON.stringify({ vni: 7, subnets: { v4: fields } });
const v6 = (fields: object) => JSON.stringify({ vni: 7, subnets: { v6: fields } });
const good = { prefix: '10.5.0.0/24', gateway: '10.5.0.1' };

const REFUSED: readonly (readonly [text: string, reason: string])[] = [
  ['', 'its value is not JSON'],
  ['[]', 'its value is not a JSON object'],
  ['null', 'its value is not a JSON object'],
  ['{}', 'it has no vni'],
  ['{"vni":0}', 'its vni must be a whole number between 1 and 16777215, it is 0'],
  ['{"vni":16777216}', 'its vni must be a whole number between 1 and 16777215, it is 16777216'],
  ['{"vni":"7"}', 'its vni must be a whole number between 1 and 16777215, it is "7"'],
  ['{"vni":7.5}', 'its vni must be a whole number between 1 and 16777215, it is 7.5'],
  ['{"vni":7}', 'it has no subnet'],
  ['{"vni":7,"subnets":[]}', 'its subnets must be an object, it is []'],
  ['{"vni":7,"subnets":{"v4":"10.5.0.0/24"}}', 'its subnets.v4 must be an object, it is "10.5.0.0/24"'],
  [v4({ gateway: '10.5.0.1' }), 'it has no subnets.v4.prefix'],
  [v4({ prefix: '10.5.0.0/24' }), 'it has no subnets.v4.gateway'],
  [v4({ ...good, prefix: 'fd00::/64' }), 'its subnets.v4.prefix must be a prefix, it is "fd00::/64"'],
  [v4({ ...good, prefix: '10.5.0.1/24' }), 'the subnet 10.5.0.1/24 has host bits'],
  [v4({ ...good, prefix: '10.5.0.0/31' }), 'the subnet 10.5.0.0/31 must have a length of 8 to 30 bits'],
  [v4({ ...good, prefix: '0.0.0.0/0' }), 'the subnet 0.0.0.0/0 must have a length of 8 to 30 bits'],
  [
    v4({ prefix: '224.0.0.0/24', gateway: '224.0.0.1' }),
    'the subnet 224.0.0.0/24 is not one of unicast addresses that hosts may have',
  ],
  [
    v4({ ...good, gateway: '10.5.0.255' }),
    "the gateway can't be used: 10.5.0.255 is the broadcast address of 10.5.0.0/24",
  ],
  [
    v4({ ...good, gateway: '10.6.0.1' }),
    "the gateway can't be used: 10.6.0.1 is not in the subnet 10.5.0.0/24",
  ],
  [v4({ ...good, range: '10.6.0.0/24' }), 'the range 10.6.0.0/24 is not in the subnet 10.5.0.0/24'],
  [v4({ ...good, range: '10.5.0.0/16' }), 'the range 10.5.0.0/16 is not in the subnet 10.5.0.0/24'],
  [v4({ ...good, range: '10.5.0.1/25' }), 'the range 10.5.0.1/25 has host bits'],
  [v4({ ...good, auxiliary: { a: '10.5.0.1' } }), 'the auxiliary address a is the gateway 10.5.0.1'],
  [
    v4({ ...good, auxiliary: { a: '10.6.0.1' } }),
    "the auxiliary address a can't be used: 10.6.0.1 is not in the subnet 10.5.0.0/24",
  ],
  [v4({ ...good, auxiliary: { a: 5 } }), 'its subnets.v4.auxiliary.a must be an address, it is 5'],
  [
    v6({ prefix: 'fe80::/64', gateway: 'fe80::1' }),
    'the subnet fe80::/64 is not one of unicast addresses that hosts may have',
  ],
  [
    v6({ prefix: 'fd00::/127', gateway: 'fd00::1' }),
    'the subnet fd00::/127 must have a length of 8 to 126 bits',
  ],
  [
    v6({ prefix: 'fd00::/64', gateway: 'fd00::' }),
    "the gateway can't be used: fd00:: is the network address of fd00::/64",
  ],
  ['{"vni":7,"mtu":67}', 'its mtu must be a whole number, it is 67'],
  [
    JSON.stringify({ vni: 7, mtu: 1_279, subnets: { v6: { prefix: 'fd00::/64', gateway: 'fd00::1' } } }),
    'the MTU must be between 1280 and 65535, it is 1279',
  ],
  ['{"vni":7,"internal":"yes"}', 'its internal must be true or false, it is "yes"'],
  ['x'.repeat(70_000), 'its value has 70000 characters'],
];
for (const [text, reason] of REFUSED) {
  test(`refused: ${text.slice(0, 90)}`, () => {
    assert.deepEqual(parseTenant('blue', text), { ok: false, reason });
  });
}

test('a key that is no name is refused', () => {
  for (const name of ['', '.', 'a b', '_x', 'ä', 'x'.repeat(65)])
    assert.equal(parseTenant(name, formatTenant(SMALL)).ok, false);
});

test('no value throws, and each reason is one line', () => {
  const json = fc.oneof(
    fc.json(),
    fc
      .record({ vni: fc.jsonValue(), subnets: fc.dictionary(fc.constantFrom('v4', 'v6'), fc.jsonValue()) })
      .map((it) => JSON.stringify(it)),
    fc
      .dictionary(fc.constantFrom('prefix', 'gateway', 'range', 'auxiliary', '__proto__'), fc.jsonValue())
      .map((it) => v4({ ...good, ...it })),
  );
  fc.assert(
    fc.property(json, (text) => {
      const parsed = parseTenant('blue', text);
      if (!parsed.ok) assert.match(parsed.reason, /^\S[^\n]{3,300}$/);
      else assert.deepEqual(parseTenant('blue', formatTenant(parsed.value)), parsed);
    }),
    { numRuns: 500 },
  );
});

test('the name of a VNI, in one spelling', () => {
  for (const vni of [1, 70_001, 16_777_215]) assert.equal(parseVniName(vniName(vni)), vni);
  for (const name of ['', '0', '01', '16777216', '1e3', '-1', ' 1', '99999999'])
    assert.equal(parseVniName(name), undefined);
});
