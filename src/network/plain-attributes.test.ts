import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIpv4, parseIpv6 } from '#src/lib/ip.ts';
import { isJsonObject } from '#src/network/go-json.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { plainAttributes } from '#src/network/plain-attributes.ts';

function plain(text: string): LeaseAttributes | undefined {
  const value: Json = JSON.parse(text);
  return isJsonObject(value) ? plainAttributes(text, value) : assert.fail(text);
}
/** A blank makes a value unusual, so it is read member by member. */
const byMembers = (text: string) => decodeAttributes(` ${text}`);

test('what programs write is plain', () => {
  const attributes: LeaseAttributes = {
    publicIp: parseIpv4('10.37.7.195') ?? assert.fail(),
    publicIpv6: parseIpv6('2001:db8::1') ?? assert.fail(),
    backendType: 'vxlan',
    backendData: { VNI: 1, VtepMAC: '82:4b:b6:2f:54:4e' },
    backendV6Data: { VNI: 1, VtepMAC: '82:4b:b6:2f:54:4f' },
    node: 'n1',
  };
  for (const dialect of ['v0.9.1', 'head'] as const) {
    const text = encodeAttributes(attributes, dialect);
    assert.deepEqual({ ok: true, attributes: plain(text) }, byMembers(text));
  }
  assert.deepEqual(plain('{"PublicIP":"10.0.0.1","PublicIPv6":null}'), {
    publicIp: parseIpv4('10.0.0.1'),
    backendType: '',
  });
});

/** What `JSON.parse` alone would read unlike Go, and what is not as it should be. */
const UNUSUAL = [
  '{"BackendType":"vxlan","BackendType":"vxlan"}',
  '{"BackendType":"a","backendtype":"b"}',
  '{"backendtype":"b"}',
  '{"BackendType":null}',
  '{"BackendType" :"vxlan"}',
  '{"BackendType":"\\u0061"}',
  '{"BackendType":"\\\\"}',
  '{"BackendType":"\\ud800"}',
  '{"BackendType":7}',
  '{"PublicIP":null}',
  '{"PublicIP":"10.0.0"}',
  '{"PublicIPv6":"10.0.0.1"}',
  '{"Node":null}',
  '{"More":1}',
  '{"__proto__":{"BackendType":"vxlan"}}',
  '{"BackendData":{"VtepMAC":"a","VtepMAC":"b"}}',
  '{"BackendData":[{"a":1,"a":2}]}',
  '{"BackendData":{"b":1,"1":2}}',
  '{"BackendData":{"VNI":1.0}}',
  '{"BackendData":{"VNI":1e0}}',
  '{"BackendData":-0}',
  '{"BackendData":99999999999999999999}',
];

for (const text of UNUSUAL) test(`not plain: ${text}`, () => assert.equal(plain(text), undefined));

test('what is plain is read as member by member', () => {
  const name = fc.constantFrom(
    'PublicIP',
    'PublicIPv6',
    'BackendType',
    'backendType',
    'BackendData',
    'Node',
    'Weft',
  );
  const literal = fc.oneof(
    fc.constantFrom('"10.0.0.1"', '"fd00::1"', '"vxlan"', 'null', '1.0', '{"a":1,"A":2}', '{"a":1,"a":2}'),
    fc.json(),
  );
  const members = fc.array(fc.tuple(name, literal), { maxLength: 5 });
  let seen = 0;
  fc.assert(
    fc.property(members, (members) => {
      const text = `{${members.map(([name, value]) => `"${name}":${value}`).join(',')}}`;
      const attributes = plain(text);
      if (attributes === undefined) return;
      seen++;
      assert.deepEqual({ ok: true, attributes }, byMembers(text));
    }),
    { numRuns: 2_000 },
  );
  assert.ok(seen > 100, `${seen} were plain`);
});
