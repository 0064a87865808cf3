import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChangeMember, readChangeMember, writeChangeMember } from '#src/network/change-member.ts';
import type { Json } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';

const MEMBER: ChangeMember = {
  id: 'a1',
  phase: 'moving',
  other: { backendType: 'vxlan', backendData: { VNI: 7, VtepMAC: '0e:00:00:00:00:07' } },
  done: 3,
  of: 4,
  waits: { '10.0.4.0-24': 'no answer' },
  reversePath: { eth0: '1' },
};

test('what is written is read again from the lease', () => {
  const value = encodeAttributes({ backendType: 'vxlan', weft: { Change: writeChangeMember(MEMBER) } });
  assert.equal(
    value,
    '{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"vxlan","Weft":{"Change":{"Id":"a1","Phase":"moving","Other":{"BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"0e:00:00:00:00:07"}},"Done":3,"Of":4,"Waits":{"10.0.4.0-24":"no answer"},"RpFilter":{"eth0":"1"}}}}',
  );
  const decoded = decodeAttributes(value);
  assert.ok(decoded.ok);
  assert.deepEqual(readChangeMember(decoded.attributes), MEMBER);
});

test('a backend without data, and a node that can not take part', () => {
  const other = { backendType: 'host-gw' };
  const members: ChangeMember[] = [
    { ...MEMBER, other },
    { id: 'a1', done: 0, of: 0, waits: {}, trouble: 'no such device type' },
  ];
  for (const member of members)
    assert.deepEqual(readChangeMember({ weft: { Change: writeChangeMember(member) } }), member);
});

test('a lease has room: few peers are named, and texts are short', () => {
  const waits = Object.fromEntries(
    Array.from({ length: 500 }, (_, at) => [`10.0.${at}.0-24`, 'x'.repeat(80)]),
  );
  const member = { ...MEMBER, waits, trouble: 'y'.repeat(5_000) };
  const value = JSON.stringify(writeChangeMember(member));
  assert.ok(value.length < 1_500, String(value.length));
});

const STRANGE: readonly Json[] = [null, 'x', [], {}, { Id: 7 }, { Id: '' }, { Phase: 'moving' }];
for (const value of STRANGE)
  test(`nothing is read from ${JSON.stringify(value)}`, () => {
    assert.equal(readChangeMember({ weft: { Change: value } }), undefined);
  });

test('of strange fields the readable ones count', () => {
  const value = { Id: 'a', Phase: 'x', Other: 7, Done: -1, Of: 1.5, Waits: ['a'], Trouble: {} };
  assert.deepEqual(readChangeMember({ weft: { Change: value } }), { id: 'a', done: 0, of: 0, waits: {} });
  assert.equal(readChangeMember({}), undefined);
});
