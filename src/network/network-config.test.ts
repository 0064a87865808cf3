import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  containsPrefix,
  formatIpv4,
  formatIpv6,
  formatPrefix,
  ipv4,
  masked,
  type Prefix4,
  parsePrefix4,
  prefix4,
} from '#src/lib/ip.ts';
import type { Dialect } from '#src/network/lease-codec.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { isUsable, type Range4 } from '#src/network/subnet-range.ts';

const range4 = (text: string, dialect: Dialect = 'head'): Range4 =>
  parseNetworkConfig(text, dialect).ranges.v4 ?? assert.fail(text);

/** What a config hands out, in one line: `NETWORK /LENGTH FIRST-LAST`. */
function handsOut(text: string, dialect: Dialect = 'head'): string {
  const { network, subnetLength, subnetMin, subnetMax } = range4(text, dialect);
  return `${formatPrefix(network)} /${subnetLength} ${formatIpv4(subnetMin)}-${formatIpv4(subnetMax)}`;
}

test('the scenario’s config', () => {
  const text = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
  assert.equal(handsOut(text), '10.0.0.0/16 /24 10.0.1.0-10.0.255.0');
  const { backend, nftables, warnings } = parseNetworkConfig(text);
  assert.deepEqual([backend.type, nftables, warnings], ['vxlan', false, []]);
});

const ACCEPTED: readonly [name: string, json: string, expected: string, dialect?: Dialect][] = [
  ['host bits are masked', '{"Network":"10.5.7.9/16"}', '10.5.0.0/16 /24 10.5.1.0-10.5.255.0'],
  ['names in any case', '{"NETWORK":"10.5.0.0/16","subnetlen":20}', '10.5.0.0/16 /20 10.5.16.0-10.5.240.0'],
  [
    'SubnetMin and SubnetMax',
    '{"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0"}',
    '10.0.0.0/8 /20 10.10.0.0-10.99.0.0',
  ],
  ['SubnetLen 0 is none', '{"Network":"10.5.0.0/16","SubnetLen":0}', '10.5.0.0/16 /24 10.5.1.0-10.5.255.0'],
  ['default at /22', '{"Network":"10.5.0.0/22"}', '10.5.0.0/22 /24 10.5.1.0-10.5.3.0'],
  ['default at /23, HEAD', '{"Network":"10.5.0.0/23"}', '10.5.0.0/23 /25 10.5.0.128-10.5.1.128'],
  ['default at /23, v0.9.1', '{"Network":"10.5.0.0/23"}', '10.5.0.0/23 /24 10.5.1.0-10.5.1.0', 'v0.9.1'],
  ['default at /24, HEAD', '{"Network":"10.5.0.0/24"}', '10.5.0.0/24 /26 10.5.0.64-10.5.0.192'],
  ['default at /24, v0.9.1', '{"Network":"10.5.0.0/24"}', '10.5.0.0/24 /25 10.5.0.128-10.5.0.128', 'v0.9.1'],
  ['default at /28, HEAD', '{"Network":"10.5.0.0/28"}', '10.5.0.0/28 /30 10.5.0.4-10.5.0.12'],
  ['default at /29, v0.9.1', '{"Network":"10.5.0.0/29"}', '10.5.0.0/29 /30 10.5.0.4-10.5.0.4', 'v0.9.1'],
  [
    'SubnetLen = Network + 1',
    '{"Network":"10.5.0.0/16","SubnetLen":17}',
    '10.5.0.0/16 /17 10.5.128.0-10.5.128.0',
  ],
  ['SubnetLen = Network', '{"Network":"10.5.0.0/24","SubnetLen":24}', '10.5.0.0/24 /24 10.5.0.0-10.5.0.0'],
  [
    'bounds off the boundary, which v0.9.1 accepts: whole subnets between them',
    '{"Network":"10.5.0.0/16","SubnetMin":"10.5.3.7","SubnetMax":"10.5.9.200"}',
    '10.5.0.0/16 /24 10.5.4.0-10.5.9.0',
  ],
  [
    'the top of the address space',
    '{"Network":"255.255.0.0/16"}',
    '255.255.0.0/16 /24 255.255.1.0-255.255.255.0',
  ],
  ['a whole /1', '{"Network":"128.0.0.0/1","SubnetLen":2}', '128.0.0.0/1 /2 192.0.0.0-192.0.0.0'],
  [
    'an IPv6 part that is not enabled',
    '{"Network":"10.5.0.0/16","EnableIPv6":false,"IPv6Network":7}',
    '10.5.0.0/16 /24 10.5.1.0-10.5.255.0',
  ],
];

for (const [name, json, expected, dialect] of ACCEPTED) {
  test(`accepted: ${name}`, () => assert.equal(handsOut(json, dialect), expected));
}

test('what HEAD would refuse is said', () => {
  const warnings = (json: string) => parseNetworkConfig(json).warnings;
  assert.deepEqual(warnings('{"Network":"10.5.0.0/16","SubnetLen":17}'), [
    'network must be able to accommodate at least four subnets',
  ]);
  assert.deepEqual(warnings('{"Network":"10.5.0.0/16","SubnetLen":18}'), []);
  assert.deepEqual(warnings('{"Network":"10.5.0.0/16","SubnetMin":"10.5.3.7","SubnetMax":"10.5.9.200"}'), [
    'SubnetMin is not on a SubnetLen boundary: 10.5.3.7',
    'SubnetMax is not on a SubnetLen boundary: 10.5.9.200',
  ]);
});

const REFUSED: readonly [json: string, message: string][] = [
  ['', 'the network config is not JSON: ""'],
  ['{\n"Network":', 'the network config is not JSON: "{\\n\\"Network\\":"'],
  ['[]', 'the network config is not a JSON object: "[]"'],
  ['null', 'the network config is not a JSON object: "null"'],
  ['{}', 'please define a correct Network parameter in the flannel config (Network: null)'],
  [
    '{"Network":"0.0.0.0/0"}',
    'please define a correct Network parameter in the flannel config (Network: "0.0.0.0/0")',
  ],
  ['{"Network":10}', 'Network must be a string, it is 10'],
  ['{"Network":"10.5.0.0"}', 'invalid IPv4 CIDR format (Network: "10.5.0.0")'],
  ['{"Network":"10.5.0/16"}', 'invalid IPv4 CIDR format (Network: "10.5.0/16")'],
  ['{"Network":"fd00::/48"}', 'invalid IPv4 CIDR format (Network: "fd00::/48")'],
  ['{"Network":"10.5.0.0/16","SubnetLen":"24"}', 'SubnetLen must be a whole number, it is "24"'],
  ['{"Network":"10.5.0.0/16","SubnetLen":24.0}', 'SubnetLen must be a whole number, it is 24.0'],
  ['{"Network":"10.5.0.0/16","SubnetLen":2.4e1}', 'SubnetLen must be a whole number, it is 2.4e1'],
  ['{"Network":"10.5.0.0/16","SubnetMin":null}', 'SubnetMin must be a string, it is null'],
  ['{"Network":"10.5.0.0/16","SubnetLen":31}', 'SubnetLen must be less than /31 (SubnetLen: 31)'],
  ['{"Network":"10.5.0.0/16","SubnetLen":33}', 'SubnetLen must be between 0 and 32, it is 33'],
  [
    '{"Network":"10.5.0.0/16","SubnetLen":15}',
    'HostSubnet is larger network than Network 10.5.0.0/16 (SubnetLen: 15)',
  ],
  [
    '{"Network":"10.5.0.0/30"}',
    'network is too small. Minimum useful network prefix is /28 (Network: "10.5.0.0/30")',
  ],
  [
    '{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0"}',
    'SubnetMin is not in the range of the Network (SubnetMin: "10.6.0.0")',
  ],
  [
    '{"Network":"10.5.0.0/16","SubnetMax":"10.4.0.0"}',
    'SubnetMax is not in the range of the Network (SubnetMax: "10.4.0.0")',
  ],
  ['{"Network":"10.5.0.0/16","SubnetMin":"x"}', 'invalid IPv4 address format (SubnetMin: "x")'],
  [
    '{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.0","SubnetMax":"10.5.3.0"}',
    'no subnet lies between SubnetMin 10.5.9.0 and SubnetMax 10.5.3.0 (SubnetMin: "10.5.9.0")',
  ],
  [
    '{"Network":"255.255.255.0/24","SubnetLen":24,"SubnetMin":"255.255.255.200"}',
    'no subnet lies between SubnetMin 255.255.255.200 and SubnetMax 255.255.255.0 (SubnetMin: "255.255.255.200")',
  ],
  [
    '{"Network":"10.5.0.0/16","EnableIPv6":true}',
    'please define a correct IPv6Network parameter in the flannel config (IPv6Network: null)',
  ],
  [
    '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"::/0"}',
    'please define a correct IPv6Network parameter in the flannel config (IPv6Network: "::/0")',
  ],
  ['{"Network":"10.5.0.0/16","EnableIPv4":false}', 'none defined stack (EnableIPv4: false)'],
  ['{"Network":"10.5.0.0/16","EnableNFTables":"yes"}', 'EnableNFTables must be true or false, it is "yes"'],
  [
    '{"Network":"10.5.0.0/16","Backend":"vxlan"}',
    'error decoding Backend property of config: it is not an object (Backend: "vxlan")',
  ],
  ['{"Network":"10.5.0.0/16","Backend":{"Type":7}}', 'Backend.Type must be a string, it is 7'],
];

for (const [json, message] of REFUSED) {
  test(`refused: ${json}`, () => assert.throws(() => parseNetworkConfig(json), { code: 'config', message }));
}

/** What a config of IPv6 hands out, in one line. */
function handsOut6(fields: string): string {
  const { v6 } = parseNetworkConfig(`{"Network":"10.5.0.0/16","EnableIPv6":true,${fields}}`).ranges;
  return v6 === undefined
    ? 'nothing'
    : `${formatPrefix(v6.network)} /${v6.subnetLength} ${formatIpv6(v6.subnetMin)}-${formatIpv6(v6.subnetMax)}`;
}

// HEAD's defaults (pkg/subnet/config.go).
const ACCEPTED6: readonly [fields: string, expected: string][] = [
  ['"IPv6Network":"fd00:10:5::/48"', 'fd00:10:5::/48 /64 fd00:10:5:1::-fd00:10:5:ffff::'],
  ['"IPv6Network":"fd00:10:5::7/48"', 'fd00:10:5::/48 /64 fd00:10:5:1::-fd00:10:5:ffff::'],
  ['"IPv6Network":"FD00:10:5::/62"', 'fd00:10:5::/62 /64 fd00:10:5:1::-fd00:10:5:3::'],
  ['"IPv6Network":"fd00:10:5::/63"', 'fd00:10:5::/63 /65 fd00:10:5:0:8000::-fd00:10:5:1:8000::'],
  ['"IPv6Network":"fd00::/124"', 'fd00::/124 /126 fd00::4-fd00::c'],
  ['"IPv6Network":"fd00::/48","IPv6SubnetLen":80', 'fd00::/48 /80 fd00::1:0:0:0-fd00:0:0:ffff:ffff::'],
  [
    '"IPv6Network":"fd00::/48","IPv6SubnetMin":"fd00:0:0:10::","IPv6SubnetMax":"fd00:0:0:1f::"',
    'fd00::/48 /64 fd00:0:0:10::-fd00:0:0:1f::',
  ],
  [
    '"IPv6Network":"fd00::/48","IPv6SubnetMin":null,"IPv6SubnetMax":"::"',
    'fd00::/48 /64 fd00:0:0:1::-fd00:0:0:ffff::',
  ],
];
for (const [fields, expected] of ACCEPTED6)
  test(`IPv6: ${fields}`, () => assert.equal(handsOut6(fields), expected));

const REFUSED6: readonly [fields: string, message: string][] = [
  ['"IPv6Network":"10.5.0.0/16"', 'invalid IPv6 CIDR format (IPv6Network: "10.5.0.0/16")'],
  ['"IPv6Network":"fd00::/48","IPv6SubnetLen":127', 'SubnetLen must be less than /127 (IPv6SubnetLen: 127)'],
  [
    '"IPv6Network":"fd00::/48","IPv6SubnetLen":49',
    'network must be able to accommodate at least four subnets (IPv6SubnetLen: 49)',
  ],
  [
    '"IPv6Network":"fd00::/125"',
    'IPv6Network is too small. Minimum useful network prefix is /124 (IPv6Network: "fd00::/125")',
  ],
  [
    '"IPv6Network":"fd00::/48","IPv6SubnetMin":"fd01::"',
    'IPv6SubnetMin is not in the range of the IPv6Network (IPv6SubnetMin: "fd01::")',
  ],
  [
    '"IPv6Network":"fd00::/48","IPv6SubnetMax":"fd00:0:0:1::1"',
    'IPv6SubnetMax is not on a SubnetLen boundary: fd00:0:0:1::1 (IPv6SubnetMax: "fd00:0:0:1::1")',
  ],
  [
    '"IPv6Network":"fd00::/48","IPv6SubnetMin":"fd00:0:0:9::","IPv6SubnetMax":"fd00:0:0:3::"',
    'no subnet lies between IPv6SubnetMin fd00:0:0:9:: and IPv6SubnetMax fd00:0:0:3:: (IPv6SubnetMin: "fd00:0:0:9::")',
  ],
];
for (const [fields, message] of REFUSED6)
  test(`IPv6 refused: ${fields}`, () => assert.throws(() => handsOut6(fields), { code: 'config', message }));

test('a network may have IPv6 alone, and its Network is not looked at', () => {
  const { ranges } = parseNetworkConfig(
    '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10:5::/48","Network":"0.0.0.0/0"}',
  );
  assert.deepEqual(Object.keys(ranges), ['v6']);
});

test('the backend: udp when absent, none when it has no type, lower case for the look-up', () => {
  const typeOf = (backend: string) => parseNetworkConfig(`{"Network":"10.5.0.0/16"${backend}}`).backend.type;
  assert.equal(typeOf(''), 'udp');
  assert.equal(typeOf(',"Backend":{}'), '');
  assert.equal(typeOf(',"Backend":{"type":"VXLAN"}'), 'vxlan');
  assert.equal(typeOf(',"Backend":null'), '');
  assert.equal(typeOf(',"Backend":{"Type":"vxlan"},"backend":null'), '');
  assert.equal(typeOf(',"Backend":{"Type":"host-gw","type":"vxlan"}'), 'vxlan');
  assert.equal(typeOf(',"Backend":{"Type":"vxlan","Type":null}'), 'vxlan');
});

test('a field has the last value in the text, in whatever spelling, and null changes nothing', () => {
  const read = (fields: string) => range4(`{"Network":"10.0.0.0/8",${fields}}`);
  assert.equal(read('"SubnetLen":20,"subnetlen":21,"SubnetLen":22').subnetLength, 22);
  assert.equal(read('"SubnetLen":20,"SubnetLen":null').subnetLength, 20);
  assert.equal(read('"\u017fubnetLen":20').subnetLength, 20);
  assert.equal(formatPrefix(read('"Network":"10.5.0.0/16"').network), '10.5.0.0/16');
});

test('the backend’s own options are there for it to read', () => {
  const { options } = parseNetworkConfig(
    '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":7}}',
  ).backend;
  assert.equal(options.integer('vni', 0, 2 ** 24 - 1), 7);
  assert.throws(() => options.boolean('VNI'), { message: 'Backend.VNI must be true or false, it is 7' });
});

test('a subnet is usable within the bounds, at its length, on its boundary', () => {
  const config = range4('{"Network":"10.5.0.0/16","SubnetMin":"10.5.4.0","SubnetMax":"10.5.9.0"}');
  const usable = (text: string) => {
    const prefix = parsePrefix4(text);
    return prefix !== undefined && isUsable(config, prefix);
  };
  assert.deepEqual(['10.5.4.0/24', '10.5.9.0/24'].map(usable), [true, true]);
  const unusable = [
    '10.5.3.0/24',
    '10.5.10.0/24',
    '10.5.4.0/25',
    '10.5.4.0/23',
    '10.5.4.1/24',
    '10.6.4.0/24',
  ];
  assert.deepEqual(
    unusable.filter((text) => usable(text)),
    [],
  );
});

test('whatever is accepted hands out whole subnets inside the network', () => {
  const address = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4);
  const config = fc.record(
    {
      Network: fc
        .tuple(address, fc.integer({ min: 1, max: 32 }))
        .map(([a, l]) => formatPrefix(prefix4(a, l))),
      SubnetLen: fc.integer({ min: 0, max: 32 }),
      offsets: fc.tuple(fc.nat(0xffffffff), fc.nat(0xffffffff)),
      dialect: fc.constantFrom<Dialect>('v0.9.1', 'head'),
    },
    { requiredKeys: ['Network', 'dialect'] },
  );
  const within = ({ address: base, length }: Prefix4, offset: number): string =>
    formatIpv4(ipv4(base + (offset % 2 ** (32 - length))));
  fc.assert(
    fc.property(config, ({ offsets, dialect, ...json }) => {
      const given = parsePrefix4(json.Network);
      assert.ok(given);
      const bounds = offsets && {
        SubnetMin: within(masked(given), offsets[0]),
        SubnetMax: within(masked(given), offsets[1]),
      };
      let read: Range4;
      try {
        read = range4(JSON.stringify({ ...json, ...bounds }), dialect);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'config');
        return;
      }
      for (const base of [read.subnetMin, read.subnetMax]) {
        const subnet = prefix4(base, read.subnetLength);
        assert.ok(isUsable(read, subnet) && containsPrefix(read.network, subnet), formatPrefix(subnet));
      }
    }),
    { numRuns: 500 },
  );
});
