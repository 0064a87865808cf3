import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '#src/lib/ip.ts';
import { macOf } from '#src/tenant/mac-of.ts';

test('the MAC follows from the address', () => {
  const of = (text: string) => macOf(parseIp(text) ?? assert.fail(text));
  assert.equal(of('10.5.0.7'), '02:42:0a:05:00:07');
  assert.equal(of('255.254.253.252'), '02:42:ff:fe:fd:fc');
  assert.equal(of('fd00::7'), '02:42:00:00:00:07');
  assert.equal(of('fd00::1:0:0:7'), '02:42:00:01:00:07');
  assert.equal(of('fd00:1:2:3::ffff:ffff'), '02:42:ff:ff:ff:ff');
});
