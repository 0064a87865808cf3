import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { handedOutBy, hiddenBy, type OverlapRules, rangeOverlaps } from '#src/network/overlap-rules.ts';

const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const config = (fields: string) =>
  parseNetworkConfig(`{"Network":"10.0.0.0/8",${fields}"Backend":{"Type":"vxlan"}}`);
const DOCUMENTED = '"SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0",';

const RANGES: readonly (readonly [text: string, overlaps: boolean])[] = [
  ['10.240.0.0/16', false],
  ['10.9.0.0/16', false],
  ['10.10.0.0/32', true],
  ['10.99.15.255/32', true],
  ['10.99.16.0/20', false],
  ['10.0.0.0/8', true],
  ['0.0.0.0/0', true],
  ['200.0.0.0/8', false],
  ['fd00::/8', false],
];
for (const [text, expected] of RANGES) {
  test(`the subnets 10.10.0.0 to 10.99.0.0/20 ${expected ? 'overlap' : 'leave'} ${text}`, () => {
    assert.equal(rangeOverlaps(handedOutBy(config(DOCUMENTED).ranges), prefix(text)), expected);
  });
}

const RULES: OverlapRules = {
  handedOut: handedOutBy(config('').ranges),
  connected: [prefix('10.240.0.0/20'), prefix('fd00::/64')],
  needed: [
    { ip: parseIp('10.240.0.1') ?? assert.fail(), use: 'the default gateway' },
    { ip: parseIp('10.9.9.9') ?? assert.fail(), use: 'etcd' },
  ],
  allowed: false,
};
const HIDING: readonly (readonly [
  subnet: string,
  without: string | undefined,
  permitted: string | undefined,
])[] = [
  ['10.11.0.0/24', undefined, undefined],
  // The connected network has the longer prefix: its hosts stay where they are.
  ['10.240.0.0/16', undefined, undefined],
  // The same prefix would take the place of the connected network's own route.
  ['10.240.0.0/20', 'holds 10.240.0.1, the default gateway', 'holds 10.240.0.1, the default gateway'],
  ['10.240.0.0/24', 'holds 10.240.0.1, the default gateway', 'holds 10.240.0.1, the default gateway'],
  ['10.240.3.0/24', "overlaps the underlay's 10.240.0.0/20", undefined],
  ['10.9.0.0/16', 'holds 10.9.9.9, etcd', 'holds 10.9.9.9, etcd'],
  ['fd00::/80', "overlaps the underlay's fd00::/64", undefined],
];
for (const [subnet, without, permitted] of HIDING) {
  test(`what a route to ${subnet} hides: ${without ?? 'nothing'}`, () => {
    assert.equal(hiddenBy(prefix(subnet), RULES), without);
    assert.equal(hiddenBy(prefix(subnet), { ...RULES, allowed: true }), permitted);
  });
}
