import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { type KernelObject, RT_SCOPE_UNIVERSE, RTPROT_BOOT, RTPROT_WEFT } from '#src/state/object.ts';
import { covers, isOwned, type Scope } from '#src/state/scope.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const net = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const route = (device: string | undefined, protocol: number): KernelObject => ({
  kind: 'route',
  destination: net('10.5.9.0/24'),
  type: device === undefined ? 'blackhole' : 'unicast',
  ...(device !== undefined && { via: ip('192.0.2.9'), device }),
  onlink: false,
  metric: 0,
  protocol,
  scope: RT_SCOPE_UNIVERSE,
});
const scope = (given: Partial<Scope>): Scope => ({ kinds: ['route', 'link'], owns: () => true, ...given });

const CASES: readonly [name: string, given: Partial<Scope>, object: KernelObject, covered: boolean][] = [
  ['no filter', {}, route('eth0', RTPROT_BOOT), true],
  ['another kind', {}, { kind: 'address', prefix: net('10.5.9.1/24'), device: 'eth0' }, false],
  ['its device', { filter: { device: 'eth0' } }, route('eth0', RTPROT_BOOT), true],
  ['another device', { filter: { device: 'eth0' } }, route('eth1', RTPROT_WEFT), false],
  ['a route without a device', { filter: { device: 'eth0' } }, route(undefined, RTPROT_WEFT), false],
  ['the link itself', { filter: { device: 'eth0' } }, { kind: 'link', name: 'eth0' }, true],
  ['another link', { filter: { device: 'eth0' } }, { kind: 'link', name: 'eth1' }, false],
  ['its protocol', { filter: { protocol: RTPROT_WEFT } }, route(undefined, RTPROT_WEFT), true],
  ['another protocol', { filter: { protocol: RTPROT_WEFT } }, route('eth0', RTPROT_BOOT), false],
  ['a link has no protocol', { filter: { protocol: RTPROT_WEFT } }, { kind: 'link', name: 'eth0' }, false],
];

for (const [name, given, object, covered] of CASES)
  test(`covered: ${name}`, () => assert.equal(covers(scope(given), object), covered));

test('an object is owned when one scope covers it and owns it', () => {
  const eth0 = scope({ filter: { device: 'eth0' }, owns: () => false });
  const weft = scope({ filter: { protocol: RTPROT_WEFT } });
  assert.equal(isOwned([eth0, weft], route('eth0', RTPROT_WEFT)), true);
  assert.equal(isOwned([eth0, weft], route('eth0', RTPROT_BOOT)), false);
  assert.equal(isOwned([], route('eth0', RTPROT_WEFT)), false);
});
