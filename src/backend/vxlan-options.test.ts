import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readVxlanOptions, type VxlanOptions } from '#src/backend/vxlan-options.ts';
import { WeftError } from '#src/lib/errors.ts';
import { GoObject } from '#src/network/go-json.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';

const DEFAULTS: VxlanOptions = {
  vni: 1,
  port: 8472,
  gbp: false,
  directRouting: false,
  learning: false,
  mtu: undefined,
};

/** As the operator writes it: below `Backend` of the network config. */
const read = (fields: string): VxlanOptions =>
  readVxlanOptions(
    parseNetworkConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"${fields}}}`).backend.options,
  );

const READ: readonly [fields: string, expected: Partial<VxlanOptions>][] = [
  ['', {}],
  [
    ',"VNI":4097,"Port":4789,"GBP":true,"DirectRouting":true,"Learning":true,"MTU":9000',
    { vni: 4097, port: 4789, gbp: true, directRouting: true, learning: true, mtu: 9000 },
  ],
  [',"vni":7,"PORT":4789,"directrouting":true', { vni: 7, port: 4789, directRouting: true }],
  [',"VNI":null,"Port":null,"GBP":null,"MTU":null', {}],
  // The default is there before Go reads: a VNI of 0 is a 0; Port and MTU of 0 ask for the default.
  [',"VNI":0,"Port":0,"MTU":0', { vni: 0 }],
  [',"VNI":9999999,"Port":65535,"MTU":65535', { vni: 9_999_999, port: 65_535, mtu: 65_535 }],
  [',"MTU":118', { mtu: 118 }],
  [',"Encrypt":null', {}],
  [',"Encrypt":"wireguard"', { encrypt: { policy: 'require', port: 51_820 } }],
  [
    ',"encrypt":"wireguard","EncryptPolicy":"prefer","EncryptPort":51999',
    { encrypt: { policy: 'prefer', port: 51_999 } },
  ],
  [',"MacPrefix":"0E-2A","Name":"x"', {}],
];

for (const [fields, expected] of READ) {
  test(`read: {"Type":"vxlan"${fields}}`, () => assert.deepEqual(read(fields), { ...DEFAULTS, ...expected }));
}

const REFUSED: readonly [fields: string, message: string][] = [
  [',"VNI":16777216', 'Backend.VNI must be between 0 and 16777215, it is 16777216'],
  [
    ',"VNI":10000000',
    'the device flannel.10000000 would have a name of 16 characters, and the kernel takes 15: choose a VNI up to 9999999 (Backend.VNI: 10000000)',
  ],
  [
    ',"VNI":16777215',
    'the device flannel.16777215 would have a name of 16 characters, and the kernel takes 15: choose a VNI up to 9999999 (Backend.VNI: 16777215)',
  ],
  [',"VNI":-1', 'Backend.VNI must be between 0 and 16777215, it is -1'],
  [',"VNI":"1"', 'Backend.VNI must be a whole number, it is "1"'],
  [',"VNI":1.5', 'Backend.VNI must be a whole number, it is 1.5'],
  [',"Port":65536', 'Backend.Port must be between 0 and 65535, it is 65536'],
  [',"Encrypt":"ipsec"', 'packets can be encrypted with "wireguard" only (Backend.Encrypt: "ipsec")'],
  [',"Encrypt":true', 'Backend.Encrypt must be a string, it is true'],
  [
    ',"Encrypt":"wireguard","EncryptPolicy":"Require"',
    'the policy must be "require" or "prefer" (Backend.EncryptPolicy: "Require")',
  ],
  [
    ',"EncryptPolicy":"require"',
    'it has a meaning only with "Encrypt": "wireguard" (Backend.EncryptPolicy: "require")',
  ],
  [
    ',"Encrypt":"wireguard","DirectRouting":true',
    'packets of a direct route are not encrypted: leave out one of Encrypt and DirectRouting (Backend.DirectRouting: true)',
  ],
  [
    ',"Encrypt":"wireguard","MTU":197',
    'an MTU below 198 leaves no packet room in the tunnel (Backend.MTU: 197)',
  ],
  [',"GBP":"true"', 'Backend.GBP must be true or false, it is "true"'],
  [',"DirectRouting":1', 'Backend.DirectRouting must be true or false, it is 1'],
  [',"Learning":[]', 'Backend.Learning must be true or false, it is []'],
  [',"MTU":65536', 'Backend.MTU must be between 0 and 65535, it is 65536'],
  [',"MTU":117', 'an MTU below 118 leaves no packet room (Backend.MTU: 117)'],
];

for (const [fields, message] of REFUSED) {
  test(`refused: {"Type":"vxlan"${fields}}`, () =>
    assert.throws(() => read(fields), { code: 'config', message }));
}

test('any values at all are read as ones the kernel takes, or refused with a config error', () => {
  const value = fc.oneof(fc.jsonValue(), fc.integer({ min: -1, max: 2 ** 25 }), fc.boolean());
  const fields = fc.dictionary(
    fc.constantFrom('VNI', 'port', 'GBP', 'DirectRouting', 'Learning', 'mtu'),
    value,
  );
  fc.assert(
    fc.property(fields, (given) => {
      let options: VxlanOptions;
      try {
        options = readVxlanOptions(new GoObject(JSON.parse(JSON.stringify(given))));
      } catch (error) {
        assert.ok(error instanceof WeftError && error.code === 'config', String(error));
        return;
      }
      assert.ok(options.vni >= 0 && options.vni < 10_000_000, `VNI ${options.vni}`);
      assert.ok(options.port > 0 && options.port < 2 ** 16, `port ${options.port}`);
      assert.ok(options.mtu === undefined || (options.mtu >= 118 && options.mtu < 2 ** 16), `${options.mtu}`);
    }),
  );
});

test('an IPv6 device leaves less room for the VNI in its name, and needs a larger MTU', () => {
  const both = { v4: true, v6: true };
  const options = (given: Record<string, number>) => readVxlanOptions(new GoObject(given, 'Backend.'), both);
  assert.equal(options({ VNI: 9999, MTU: 1350 }).vni, 9999);
  assert.throws(() => options({ VNI: 10_000 }), {
    code: 'config',
    message:
      'the device flannel-v6.10000 would have a name of 16 characters, and the kernel takes 15: choose a VNI up to 9999 (Backend.VNI: 10000)',
  });
  assert.throws(() => options({ MTU: 1349 }), {
    code: 'config',
    message: 'an MTU below 1350 leaves no packet room (Backend.MTU: 1349)',
  });
});
