import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWords } from '#src/cli/command-words.ts';
import { readNewTenant, TENANT_FLAGS } from '#src/cli/tenant-flags.ts';
import { optionsOf } from '#src/lib/go-flags.ts';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';

function read(...words: string[]) {
  const parsed = parseWords(TENANT_FLAGS, words);
  assert.ok(parsed.outcome === 'parsed', words.join(' '));
  return readNewTenant('blue', optionsOf(TENANT_FLAGS, parsed.given));
}

test('nothing given is nothing asked for', () => {
  assert.deepEqual(read(), { name: 'blue', v4: {} });
});

test('gateways, ranges and auxiliary addresses go to the subnet of their family', () => {
  assert.deepEqual(
    read(
      ...['--subnet=10.5.0.0/24', '--subnet6', 'fd00:5::/64', '--gateway=10.5.0.9', '--gateway=fd00:5::9'],
      ...['--ip-range', '10.5.0.128/25', '--aux', 'a=10.5.0.2', '--aux', 'b=fd00:5::2', '--aux=c=10.5.0.3'],
      ...['--vni=7', '--mtu=1400', '--internal'],
    ),
    {
      name: 'blue',
      vni: 7,
      mtu: 1_400,
      internal: true,
      v4: {
        prefix: parsePrefix('10.5.0.0/24'),
        gateway: parseIp('10.5.0.9'),
        range: parsePrefix('10.5.0.128/25'),
        auxiliary: { a: parseIp('10.5.0.2'), c: parseIp('10.5.0.3') },
      },
      v6: {
        prefix: parsePrefix('fd00:5::/64'),
        gateway: parseIp('fd00:5::9'),
        auxiliary: { b: parseIp('fd00:5::2') },
      },
    },
  );
  assert.deepEqual(read('--ipv6'), { name: 'blue', v4: {}, v6: {} });
});

test('what can not be read is refused by its flag', () => {
  const refused: readonly [words: string[], reason: RegExp][] = [
    [['--subnet=10.5.0.0'], /--subnet 10\.5\.0\.0 is not an IPv4 prefix/],
    [['--subnet=fd00::/64'], /is not an IPv4 prefix/],
    [['--subnet=10.5.0.7/24'], /can't create network blue: .* has host bits/],
    [['--subnet6=10.5.0.0/24'], /is not an IPv6 prefix/],
    [['--gateway=10.5'], /--gateway 10\.5 is not an IP address/],
    [['--gateway=10.5.0.1', '--gateway=10.5.0.2'], /--gateway is given 2 times for IPv4/],
    [['--gateway=fd00::1'], /no IPv6 subnet/],
    [['--aux=10.5.0.2'], /--aux 10\.5\.0\.2 is not NAME=IP/],
    [['--aux=a=b'], /is not NAME=IP/],
  ];
  for (const [words, reason] of refused) assert.throws(() => read(...words), reason);
});
