import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseUnderlay, type UnderlayFamilies } from '#src/node/underlay/choose-underlay.ts';
import { nextUnderlay } from '#src/node/underlay/next-underlay.ts';
import { readUnderlayFlags, type UnderlayFlags } from '#src/node/underlay/underlay-selection.ts';
import { describe, host, NO_FLAGS } from '../../../test/support/underlay-words.ts';

const BOTH: UnderlayFamilies = ['v4', 'v6'];
const V6: UnderlayFamilies = ['v6'];
const ETH0 = ['link eth0', 'eth0 192.0.2.7/24', 'eth0 fe80::7/64', 'eth0 2001:db8::7/64'];
const ETH1 = ['link eth1', 'eth1 198.51.100.7/24', 'eth1 fe80::8/64', 'eth1 2001:db8:1::7/64'];
const DEFAULT = 'default via 192.0.2.1 dev eth0';
const DEFAULT6 = 'default6 via fe80::1 dev eth0';
const IN_BOTH = 'in 192.0.2.0/24 2001:db8::/64';
const AT_ETH0 = `eth0 192.0.2.7 and 2001:db8::7 mtu 1500, ${IN_BOTH}, via 192.0.2.1 fe80::1`;

const choose = async (
  families: UnderlayFamilies,
  facts: readonly string[],
  flags: Partial<UnderlayFlags> = {},
) => chooseUnderlay(await readUnderlayFlags({ ...NO_FLAGS, ...flags }), host(...facts), families);

const CHOSEN: readonly (readonly [
  name: string,
  families: UnderlayFamilies,
  flags: Partial<UnderlayFlags>,
  facts: readonly string[],
  expected: string,
])[] = [
  ['the default route of both families', BOTH, {}, [...ETH0, ...ETH1, DEFAULT, DEFAULT6], AT_ETH0],
  [
    'no IPv6 default route, but an address',
    BOTH,
    {},
    [...ETH0, ...ETH1, DEFAULT],
    AT_ETH0.replace(' fe80::1', ''),
  ],
  [
    'IPv6 is not looked at',
    ['v4'],
    {},
    [...ETH0, DEFAULT],
    `eth0 192.0.2.7 mtu 1500, ${IN_BOTH}, via 192.0.2.1`,
  ],
  [
    'the IPv6 default route alone',
    V6,
    {},
    [...ETH0, ...ETH1, DEFAULT, 'default6 via fe80::1 dev eth1'],
    'eth1 2001:db8:1::7 mtu 1500, in 198.51.100.0/24 2001:db8:1::/64, via fe80::1',
  ],
  [
    'an interface that has IPv6 only',
    V6,
    {},
    ['link eth0', 'eth0 2001:db8::7/64', DEFAULT6],
    'eth0 2001:db8::7 mtu 1500, in 2001:db8::/64, via fe80::1',
  ],
  [
    'by hand before SLAAC, before temporary, before tentative',
    V6,
    { iface: ['eth0'] },
    [
      'link eth0',
      'eth0 2001:db8::4/64 tentative',
      'eth0 2001:db8::3/64 dynamic temporary',
      'eth0 2001:db8::2/64 dynamic',
      'eth0 2001:db8::1/64',
    ],
    'eth0 2001:db8::1 mtu 1500, in 2001:db8::/64',
  ],
  [
    'a stable address before a temporary one',
    V6,
    { iface: ['eth0'] },
    ['link eth0', 'eth0 2001:db8::3/64 dynamic temporary', 'eth0 2001:db8::2/64 dynamic'],
    'eth0 2001:db8::2 mtu 1500, in 2001:db8::/64',
  ],
  [
    'an address that is not sure yet, where there is no other: a host that has just started',
    V6,
    { iface: ['eth0'] },
    ['link eth0', 'eth0 2001:db8::4/64 tentative', 'eth0 2001:db8::5/64 deprecated'],
    'eth0 2001:db8::4 mtu 1500, in 2001:db8::/64',
  ],
  ['--iface by an IPv6 address', BOTH, { iface: ['2001:db8::7'] }, ETH0, AT_ETH0.split(', via')[0] ?? ''],
  [
    '--iface by the other of two IPv6 addresses',
    BOTH,
    { iface: ['2001:db8::9'] },
    [...ETH0, 'eth0 2001:db8::9/64'],
    `eth0 192.0.2.7 and 2001:db8::9 mtu 1500, ${IN_BOTH}`,
  ],
  ['--iface by its IPv4 address', BOTH, { iface: ['192.0.2.7'] }, ETH0, AT_ETH0.split(', via')[0] ?? ''],
  [
    '--iface-regex that an address of each family matches',
    BOTH,
    { ifaceRegex: ['^(192[.]|2001:db8::9)'] },
    [...ETH1, ...ETH0, 'eth0 2001:db8::9/64'],
    `eth0 192.0.2.7 and 2001:db8::9 mtu 1500, ${IN_BOTH}`,
  ],
  [
    '--iface-regex of an IPv6 network',
    V6,
    { ifaceRegex: ['^2001:db8:1:'] },
    [...ETH0, ...ETH1],
    'eth1 2001:db8:1::7 mtu 1500, in 198.51.100.0/24 2001:db8:1::/64',
  ],
  [
    '--iface-can-reach of an IPv6 address takes its source',
    BOTH,
    { ifaceCanReach: '2001:db8::99' },
    [...ETH0, 'eth0 2001:db8::9/64', 'reach eth0 src 2001:db8::9'],
    `eth0 192.0.2.7 and 2001:db8::9 mtu 1500, ${IN_BOTH}`,
  ],
  [
    '--public-ipv6 that the interface has is the address as well',
    BOTH,
    { iface: ['eth0'], publicIpv6: '2001:db8::9' },
    [...ETH0, 'eth0 2001:db8::9/64'],
    `eth0 192.0.2.7 and 2001:db8::9 mtu 1500, ${IN_BOTH}`,
  ],
  [
    '--public-ipv6 that no interface has',
    BOTH,
    { publicIpv6: '2001:db8:ffff::1' },
    [...ETH0, DEFAULT, DEFAULT6],
    AT_ETH0.replace(', in', ', public 192.0.2.7 and 2001:db8:ffff::1, in'),
  ],
  [
    '--public-ipv6 names the interface of an IPv6 network',
    V6,
    { publicIpv6: '2001:db8:1::7' },
    [...ETH0, ...ETH1, DEFAULT6],
    'eth1 2001:db8:1::7 mtu 1500, in 198.51.100.0/24 2001:db8:1::/64',
  ],
];
for (const [name, families, flags, facts, expected] of CHOSEN) {
  test(`chosen: ${name}`, async () => {
    assert.equal(describe(await choose(families, facts, flags)), expected);
  });
}

const REFUSED: readonly (readonly [
  name: string,
  families: UnderlayFamilies,
  flags: Partial<UnderlayFlags>,
  facts: readonly string[],
  message: RegExp,
])[] = [
  [
    'default routes on different interfaces',
    BOTH,
    {},
    [...ETH0, ...ETH1, DEFAULT, 'default6 via fe80::1 dev eth1'],
    /^v6 default route interface eth1 must be the same with v4 default route interface eth0$/,
  ],
  ['no IPv4 default route', BOTH, {}, [...ETH0, DEFAULT6], /^failed to get default interface: /],
  ['no IPv6 default route', V6, {}, [...ETH0, DEFAULT], /^failed to get default v6 interface: /],
  [
    'a link-local address alone: no router answered yet',
    BOTH,
    {},
    ['link eth0', 'eth0 192.0.2.7/24', 'eth0 fe80::7/64', DEFAULT],
    /^failed to find IPv6 address for interface eth0: it has only fe80::7 \(link-local\)$/,
  ],
  [
    'an address that another host has',
    V6,
    { iface: ['eth0'] },
    ['link eth0', 'eth0 2001:db8::7/64 tentative duplicate'],
    /^failed to find IPv6 address .*: it has only 2001:db8::7 \(another host has it too\)$/,
  ],
  [
    'an interface without IPv6',
    BOTH,
    { iface: ['eth0'] },
    ['link eth0', 'eth0 192.0.2.7/24'],
    /^failed to find IPv6 address for interface eth0$/,
  ],
];
for (const [name, families, flags, facts, message] of REFUSED) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(choose(families, facts, flags), { code: 'interface', message });
  });
}

const START = [...ETH0, DEFAULT, DEFAULT6];
const NEXT: readonly (readonly [name: string, now: readonly string[], next: string])[] = [
  ['nothing changed', START, 'stay'],
  [
    'another IPv6 default route',
    [...ETH0, ...ETH1, DEFAULT, 'default6 dev eth1'],
    `${AT_ETH0.replace(' fe80::1', '')}`,
  ],
  [
    'a temporary address came and one is renewed',
    [...START, 'eth0 2001:db8::abcd/64 dynamic temporary'],
    'stay',
  ],
  [
    'renumbered in IPv6 alone: IPv4 stays',
    ['link eth0', 'eth0 192.0.2.7/24', 'eth0 2001:db8:2::7/64', DEFAULT, DEFAULT6],
    'eth0 192.0.2.7 and 2001:db8:2::7 mtu 1500, in 192.0.2.0/24 2001:db8:2::/64, via 192.0.2.1 fe80::1',
  ],
  [
    'renumbered in IPv4 alone: IPv6 stays',
    ['link eth0', 'eth0 192.0.2.8/24', 'eth0 2001:db8::9/64', 'eth0 2001:db8::7/64', DEFAULT, DEFAULT6],
    AT_ETH0.replace('192.0.2.7', '192.0.2.8'),
  ],
  [
    'the router withdraws the prefix, and another is there',
    [
      'link eth0',
      'eth0 192.0.2.7/24',
      'eth0 2001:db8::7/64 deprecated',
      'eth0 2001:db8:2::7/64 dynamic',
      DEFAULT,
    ],
    'eth0 192.0.2.7 and 2001:db8:2::7 mtu 1500, in 192.0.2.0/24 2001:db8::/64 2001:db8:2::/64, via 192.0.2.1',
  ],
  [
    'the router withdraws the prefix, and there is no other',
    ['link eth0', 'eth0 192.0.2.7/24', 'eth0 2001:db8::7/64 deprecated', ...ETH1, DEFAULT, DEFAULT6],
    'stay',
  ],
  [
    'the IPv6 address is gone',
    ['link eth0', 'eth0 192.0.2.7/24', 'eth0 fe80::7/64', DEFAULT, DEFAULT6],
    'gone: the underlay address 2001:db8::7 is gone from eth0: failed to find IPv6 address for interface eth0: it has only fe80::7 (link-local); give it one with "ip address add ADDRESS/LENGTH dev eth0", or choose another with --iface',
  ],
  [
    'another host has the IPv6 address',
    ['link eth0', 'eth0 192.0.2.7/24', 'eth0 2001:db8::7/64 duplicate', 'eth0 2001:db8::8/64', DEFAULT],
    'eth0 192.0.2.7 and 2001:db8::8 mtu 1500, in 192.0.2.0/24 2001:db8::/64, via 192.0.2.1',
  ],
  [
    'the addresses moved to a bridge',
    ['link eth0', 'eth0 fe80::7/64', 'link br0', 'br0 192.0.2.7/24', 'br0 2001:db8::7/64', DEFAULT],
    `br0 192.0.2.7 and 2001:db8::7 mtu 1500, ${IN_BOTH}`,
  ],
];
for (const [name, now, expected] of NEXT) {
  test(`followed: ${name}`, async () => {
    const selection = await readUnderlayFlags(NO_FLAGS);
    const next = nextUnderlay(chooseUnderlay(selection, host(...START), BOTH), selection, host(...now));
    const text =
      next.kind === 'moved' ? describe(next.to) : next.kind === 'gone' ? `gone: ${next.why}` : 'stay';
    assert.equal(text, expected);
  });
}
