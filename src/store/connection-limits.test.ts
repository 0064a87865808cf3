import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressGroup, ConnectionLimits } from '#src/store/connection-limits.ts';

test('an address has so many connections, and gets room back', () => {
  const limits = new ConnectionLimits({ perAddress: 2, newcomers: 9 });
  const from = (remoteAddress: string) => limits.enter({ remoteAddress, destroy() {} });
  const leave = from('10.0.0.1');
  assert.ok(leave);
  assert.ok(from('::ffff:10.0.0.1'));
  assert.equal(from('10.0.0.1'), undefined);
  assert.ok(from('10.0.0.2'));
  leave();
  assert.ok(from('10.0.0.1'));
  assert.equal(from('10.0.0.1'), undefined);
});

test('the oldest newcomer makes room; who was admitted stays', () => {
  const limits = new ConnectionLimits({ perAddress: 9, newcomers: 2 });
  const ended: string[] = [];
  const connection = (name: string) => ({ destroy: () => ended.push(name) });
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(connection);
  assert.ok(a && b && c && d);
  for (const one of [a, b]) limits.newcomer(one);
  limits.settled(a);
  limits.newcomer(c);
  assert.deepEqual(ended, []);
  limits.newcomer(d);
  assert.deepEqual(ended, ['b']);
});

test('an IPv6 host is its /64', () => {
  assert.equal(addressGroup('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2');
  assert.equal(addressGroup('2001:db8::1'), '2001:db8:0:0');
  assert.equal(addressGroup('fe80::1%eth0'), 'fe80:0:0:0');
  assert.equal(addressGroup('::1'), '0:0:0:0');
  assert.equal(addressGroup('10.1.2.3'), '10.1.2.3');
  assert.equal(addressGroup(undefined), '');
});
