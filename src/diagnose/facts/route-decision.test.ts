import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpRule, PolicyRoute } from '#src/diagnose/facts/ip-rules.ts';
import { decide } from '#src/diagnose/facts/route-decision.ts';
import { type Ipv4, type Prefix, parseIpv4, parsePrefix } from '#src/lib/ip.ts';

const net = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const rule = (priority: number, more: Partial<IpRule> = {}): IpRule => ({
  ...{ priority, not: false, action: 'lookup', hasOther: false },
  ...more,
});
const route = (table: string, destination: string, device: string, type = 'unicast'): PolicyRoute => ({
  ...{ table, destination: net(destination), type, metric: 0 },
  ...(device !== '' && { device }),
});
const KERNEL = [
  rule(0, { table: 'local' }),
  rule(32766, { table: 'main' }),
  rule(32767, { table: 'default' }),
];
const MAIN = [route('main', '10.0.32.0/24', 'flannel.1'), route('main', '0.0.0.0/0', 'eth0')];
const PACKET = { from: net('10.0.65.2/32'), to: ip('10.0.32.2'), by: 'docker0' };

const way = (rules: readonly IpRule[], routes: readonly PolicyRoute[] = []): string => {
  const decision = decide({ rules: [...KERNEL, ...rules], routes: [...MAIN, ...routes] }, PACKET);
  return `${decision?.rule.priority} ${decision?.route?.device ?? decision?.route?.type ?? decision?.rule.action}`;
};

for (const [what, rules, routes, expected] of [
  ['the kernel’s own rules', [], [], '32766 flannel.1'],
  [
    'a rule for the range',
    [rule(100, { to: net('10.0.0.0/16'), table: '200' })],
    [route('200', '0.0.0.0/0', 'tun0')],
    '100 tun0',
  ],
  [
    'a table without a route for it',
    [rule(100, { table: '200' })],
    [route('200', '192.0.2.0/24', 'tun0')],
    '32766 flannel.1',
  ],
  [
    'a blackhole',
    [rule(100, { table: '200' })],
    [route('200', '0.0.0.0/0', '', 'blackhole')],
    '100 blackhole',
  ],
  ['a rule that drops', [rule(100, { action: 'prohibit' })], [], '100 prohibit'],
  ['a throw', [rule(100, { table: '200' })], [route('200', '0.0.0.0/0', '', 'throw')], '32766 flannel.1'],
  [
    'a rule for another device',
    [rule(100, { by: 'eth1', table: '200' })],
    [route('200', '0.0.0.0/0', 'tun0')],
    '32766 flannel.1',
  ],
  [
    'a rule for a mark',
    [rule(100, { mark: '0x1', table: '200' })],
    [route('200', '0.0.0.0/0', 'tun0')],
    '32766 flannel.1',
  ],
  [
    'a rule for a port',
    [rule(100, { hasOther: true, table: '200' })],
    [route('200', '0.0.0.0/0', 'tun0')],
    '32766 flannel.1',
  ],
  // wg-quick(8) for a default route: what WireGuard sends itself has the mark.
  [
    'a VPN that takes all',
    [
      rule(98, { table: 'main', suppressedLength: 0 }),
      rule(99, { mark: '0xca6c', not: true, table: '51820' }),
    ],
    [route('51820', '0.0.0.0/0', 'wg0')],
    '98 flannel.1',
  ],
  [
    'a VPN that takes all before the main table',
    [rule(99, { mark: '0xca6c', not: true, table: '51820' })],
    [route('51820', '0.0.0.0/0', 'wg0')],
    '99 wg0',
  ],
] as const) {
  test(`policy routing: ${what}`, () => assert.equal(way(rules, routes), expected));
}
