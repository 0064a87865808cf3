import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ipv4, type Ipv6, ipv4, ipv6, parseIpv4, parseIpv6 } from '#src/lib/ip.ts';
import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';
import { type Dialect, decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';

const v4 = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const v6 = (text: string): Ipv6 => parseIpv6(text) ?? assert.fail(text);

/** Byte for byte what v0.9.1 was seen to write and what HEAD's structures marshal to, backend by backend. */
const WRITTEN: readonly [name: string, dialect: Dialect, attributes: LeaseAttributes, text: string][] = [
  [
    'vxlan',
    'v0.9.1',
    {
      publicIp: v4('10.37.7.195'),
      backendType: 'vxlan',
      backendData: { VtepMAC: '82:4b:b6:2f:54:4e' },
    },
    '{"PublicIP":"10.37.7.195","BackendType":"vxlan","BackendData":{"VtepMAC":"82:4b:b6:2f:54:4e"}}',
  ],
  [
    'vxlan',
    'head',
    {
      publicIp: v4('192.168.64.3'),
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:44' },
    },
    '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}',
  ],
  [
    'vxlan, dual stack',
    'head',
    {
      publicIp: v4('192.168.64.3'),
      publicIpv6: v6('2001:db8::1'),
      backendType: 'vxlan',
      backendData: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:44' },
      backendV6Data: { VNI: 1, VtepMAC: 'c6:d2:32:6f:8f:45' },
    },
    '{"PublicIP":"192.168.64.3","PublicIPv6":"2001:db8::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:45"}}',
  ],
  [
    'host-gw',
    'v0.9.1',
    { publicIp: v4('10.37.7.195'), backendType: 'host-gw' },
    '{"PublicIP":"10.37.7.195","BackendType":"host-gw"}',
  ],
  [
    'host-gw',
    'head',
    { publicIp: v4('10.37.7.195'), backendType: 'host-gw' },
    '{"PublicIP":"10.37.7.195","PublicIPv6":null,"BackendType":"host-gw"}',
  ],
  ['udp', 'v0.9.1', { publicIp: v4('10.37.7.195'), backendType: '' }, '{"PublicIP":"10.37.7.195"}'],
  [
    'udp',
    'head',
    { publicIp: v4('10.37.7.195'), backendType: '' },
    '{"PublicIP":"10.37.7.195","PublicIPv6":null}',
  ],
  [
    'wireguard',
    'head',
    {
      publicIp: v4('10.37.7.195'),
      backendType: 'wireguard',
      backendData: { PublicKey: 'base64+/=', Port: 51820 },
    },
    '{"PublicIP":"10.37.7.195","PublicIPv6":null,"BackendType":"wireguard","BackendData":{"PublicKey":"base64+/=","Port":51820}}',
  ],
  [
    'extension, escaped as Go does',
    'head',
    { publicIp: v4('10.37.7.195'), backendType: 'extension', backendData: '<x>&\u2028\u2029"\\/\n\u0001é' },
    '{"PublicIP":"10.37.7.195","PublicIPv6":null,"BackendType":"extension","BackendData":"\\u003cx\\u003e\\u0026\\u2028\\u2029\\"\\\\/\\n\\u0001é"}',
  ],
  ['no IPv4 address', 'head', { backendType: '' }, '{"PublicIP":"0.0.0.0","PublicIPv6":null}'],
];

for (const [name, dialect, attributes, text] of WRITTEN) {
  test(`${name}, as flannel ${dialect} writes it`, () => {
    assert.equal(encodeAttributes(attributes, dialect), text);
    const decoded = decodeAttributes(text);
    assert.ok(decoded.ok);
    assert.equal(encodeAttributes(decoded.attributes, dialect), text);
  });
}

test('v0.9.1 gets nothing of IPv6', () => {
  const data = { VtepMAC: '82:4b:b6:2f:54:4e' };
  assert.equal(
    encodeAttributes(
      {
        publicIp: v4('10.37.7.195'),
        publicIpv6: v6('2001:db8::1'),
        backendType: 'vxlan',
        backendData: data,
        backendV6Data: data,
      },
      'v0.9.1',
    ),
    '{"PublicIP":"10.37.7.195","BackendType":"vxlan","BackendData":{"VtepMAC":"82:4b:b6:2f:54:4e"}}',
  );
});

test('our own field comes last, where flannel ignores it', () => {
  assert.equal(
    encodeAttributes({ publicIp: v4('10.37.7.195'), backendType: 'host-gw', node: 'n1' }),
    '{"PublicIP":"10.37.7.195","PublicIPv6":null,"BackendType":"host-gw","Node":"n1"}',
  );
});

test('names are read in any case, unknown fields ignored', () => {
  assert.deepEqual(
    decodeAttributes('{"publicip":"10.0.0.1","BACKENDTYPE":"vxlan","AskedBy":"x","More":[1]}'),
    {
      ok: true,
      attributes: { publicIp: v4('10.0.0.1'), backendType: 'vxlan' },
    },
  );
});

test('of several spellings the last in the text counts, as in flannel', () => {
  const read = (fields: string) => {
    const decoded = decodeAttributes(`{"PublicIP":"10.0.0.1",${fields}}`);
    return decoded.ok ? decoded.attributes : assert.fail(decoded.reason);
  };
  assert.equal(read('"BackendType":"a","backendtype":"b","BackendType":"c"').backendType, 'c');
  assert.equal(read('"BackendType":"vxlan","BackendType":null').backendType, 'vxlan');
  assert.equal(read('"publicip":"10.0.0.2","PublicIP":"10.0.0.3"').publicIp, v4('10.0.0.3'));
  assert.deepEqual(read('"BackendData":{"a":1},"backenddata":{"b":1}').backendData, { b: 1 });
  assert.equal(read('"BackendData":{"a":1},"BackendData":null').backendData, null);
  const data = read('"BackendData":{"VtepMAC":"a","vtepmac":"b","VtepMAC":"c"}').backendData;
  assert.equal(isJsonObject(data) && fieldOf(data, 'VtepMAC'), 'c');
});

test('an operator’s reservation has an address and nothing else', () => {
  assert.deepEqual(decodeAttributes('{"PublicIP":"10.0.0.1"}'), {
    ok: true,
    attributes: { publicIp: v4('10.0.0.1'), backendType: '' },
  });
});

const UNREADABLE: readonly [text: string, reason: string][] = [
  ['', 'its value is not JSON'],
  ['junk', 'its value is not JSON'],
  ['{"PublicIP":"10.0.0.1"', 'its value is not JSON'],
  ['[]', 'its value is not a JSON object'],
  ['null', 'its value is not a JSON object'],
  ['"x"', 'its value is not a JSON object'],
  ['{"PublicIP":7}', 'PublicIP must be a string, it is 7'],
  ['{"PublicIP":null}', 'PublicIP must be a string, it is null'],
  ['{"PublicIP":"10.0.0.1","publicip":null}', 'PublicIP must be a string, it is null'],
  ['{"PublicIP":"\\u00310.0.0.1"}', 'it has no readable address (PublicIP: "10.0.0.1")'],
  ['{"PublicIP":"10.0.0"}', 'it has no readable address (PublicIP: "10.0.0")'],
  ['{"PublicIP":"10.0.0.1","PublicIPv6":"10.0.0.1"}', 'it has no readable address (PublicIPv6: "10.0.0.1")'],
  ['{"PublicIP":"10.0.0.1","BackendType":{}}', 'BackendType must be a string, it is {}'],
  [`{"PublicIP":"${'1'.repeat(5000)}"}`, 'its value has 5015 characters'],
];

for (const [text, reason] of UNREADABLE) {
  test(`unreadable: ${text.slice(0, 60)}`, () => {
    assert.deepEqual(decodeAttributes(text), { ok: false, reason });
  });
}

test('any text at all is read or refused, with a short reason', () => {
  const json = fc
    .jsonValue()
    .map((value) => JSON.stringify({ PublicIP: value, BackendType: value, Node: value }));
  fc.assert(
    fc.property(fc.oneof(fc.string(), json), (text) => {
      const decoded = decodeAttributes(text);
      assert.ok(decoded.ok || decoded.reason.length < 200);
    }),
  );
});

test('what we write is read back the same', () => {
  const attributes: fc.Arbitrary<LeaseAttributes> = fc.record(
    {
      publicIp: fc.integer({ min: 0, max: 0xffffffff }).map(ipv4),
      publicIpv6: fc.bigInt(0n, (1n << 128n) - 1n).map(ipv6),
      backendType: fc.string(),
      // -0 is no JSON.
      backendData: fc.jsonValue().map((value): Json => JSON.parse(JSON.stringify(value))),
      node: fc.string(),
      weft: fc
        .dictionary(fc.string(), fc.jsonValue())
        .map((value): { readonly [name: string]: Json } => JSON.parse(JSON.stringify(value))),
    },
    { requiredKeys: ['publicIp', 'backendType'] },
  );
  fc.assert(
    fc.property(attributes, (given) => {
      assert.deepEqual(decodeAttributes(encodeAttributes(given)), { ok: true, attributes: { ...given } });
    }),
  );
});
