import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, parseLabTenants } from '#src/lab/lab-tenant.ts';
import { formatIpv4, formatPrefix } from '#src/lib/ip.ts';

const refused = (words: readonly string[], message: RegExp, hosts = 3): void =>
  assert.throws(() => parseLabTenants(words, hosts), { code: 'lab-network', message });

test('all tenants have one subnet unless they name another, and so the same addresses', () => {
  const tenants = parseLabTenants(['red', 'blue', 'green=10.6.0.0/28'], 3);
  assert.deepEqual(
    tenants.map(({ name, subnet }) => [name, formatPrefix(subnet), formatIpv4(addressOf(subnet, 2))]),
    [
      ['red', '10.5.0.0/24', '10.5.0.12'],
      ['blue', '10.5.0.0/24', '10.5.0.12'],
      ['green', '10.6.0.0/28', '10.6.0.12'],
    ],
  );
});

test('a tenant that Docker or the lab could not make is refused', () => {
  refused(['a b'], /"a b" can't be a network's name/);
  refused([''], /"" can't be a network's name/);
  refused(['flannel'], /flannel's own network/);
  refused(['red', 'red=10.6.0.0/24'], /it is there twice/);
  refused(['red=10.6'], /"10\.6" is no IPv4 subnet/);
  refused(['red=10.6.0.1/24'], /has host bits/);
  refused(['red='], /"" is no IPv4 subnet/);
  refused(['red=10.6.0.0/28'], /10\.6\.0\.0\/28 is too small for 5 hosts/, 5);
  assert.equal(parseLabTenants(['red=10.6.0.0/28'], 4).length, 1);
});
