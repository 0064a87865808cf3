import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Prefix4 } from '#src/lib/ip.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { withoutSubnets } from '#src/node/underlay/host-facts.ts';
import { nextUnderlay } from '#src/node/underlay/next-underlay.ts';
import { readUnderlayFlags, type UnderlayFlags } from '#src/node/underlay/underlay-selection.ts';
import { describe, host, NO_FLAGS, prefix } from '../../../test/support/underlay-words.ts';

const ETH0 = ['link eth0', 'eth0 172.16.70.191/24'];
const VPN = ['link tun0', 'tun0 10.8.0.2/24'];
const ETH1 = ['link eth1', 'eth1 192.0.2.7/24'];
const DEFAULT = 'default via 172.16.70.1 dev eth0';
const UPLINK = 'default via 192.0.2.1 dev eth1';

const AT_ETH0 = 'eth0 172.16.70.191 mtu 1500, in 172.16.70.0/24, via 172.16.70.1';
const AT_ETH1 = 'eth1 192.0.2.7 mtu 1500, in 192.0.2.0/24, via 192.0.2.1';

type Case = readonly [
  name: string,
  flags: Partial<UnderlayFlags>,
  start: readonly string[],
  now: readonly string[],
  next: string,
];
const ON_DEFAULT = [...ETH0, ...ETH1, DEFAULT];
const CASES: readonly Case[] = [
  ['nothing changed', {}, ON_DEFAULT, ON_DEFAULT, 'stay'],
  [
    'a VPN has the better default route',
    {},
    ON_DEFAULT,
    [...ON_DEFAULT.slice(0, -1), ...VPN, `${DEFAULT} metric 100`, 'default via 10.8.0.1 dev tun0'],
    'stay',
  ],
  [
    'the default route moved',
    {},
    ON_DEFAULT,
    [...ETH0, ...ETH1, UPLINK],
    `moved to ${AT_ETH0.split(', via')[0]}`,
  ],
  ['the default route is gone', {}, [...ETH0], [...ETH0], 'no start'],
  [
    'another gateway',
    {},
    ON_DEFAULT,
    [...ETH0, 'default via 172.16.70.2 dev eth0'],
    'moved to eth0 172.16.70.191 mtu 1500, in 172.16.70.0/24, via 172.16.70.2',
  ],
  [
    'the MTU changed',
    {},
    ON_DEFAULT,
    ['link eth0 mtu 1400', 'eth0 172.16.70.191/24', DEFAULT],
    `moved to ${AT_ETH0.replace('1500', '1400')}`,
  ],
  [
    'a second address, and IPv6',
    {},
    ON_DEFAULT,
    [...ETH0, 'eth0 10.5.7.1/24', 'eth0 fd00::1/64', 'eth0 fd00::abcd/64', 'eth0 fe80::1/64', DEFAULT],
    'moved to eth0 172.16.70.191 mtu 1500, in 172.16.70.0/24 10.5.7.0/24 fd00::/64, via 172.16.70.1',
  ],
  [
    'the order of addresses means nothing',
    {},
    [...ETH0, 'eth0 10.5.7.1/24', DEFAULT],
    ['link eth0', 'eth0 10.5.7.1/24', 'eth0 172.16.70.191/24', DEFAULT],
    'stay',
  ],
  [
    'renumbered, and the default route is not there yet',
    {},
    ON_DEFAULT,
    ['link eth0', 'eth0 172.16.71.5/24', ...ETH1],
    'moved to eth0 172.16.71.5 mtu 1500, in 172.16.71.0/24',
  ],
  [
    'renumbered under a VPN',
    {},
    ON_DEFAULT,
    ['link eth0', 'eth0 172.16.71.5/24', ...VPN, 'default dev tun0'],
    'moved to eth0 172.16.71.5 mtu 1500, in 172.16.71.0/24',
  ],
  [
    'the address is gone',
    {},
    ON_DEFAULT,
    ['link eth0', ...ETH1],
    'gone: the underlay address 172.16.70.191 is gone from eth0: failed to get default interface: Unable to find default route; name the interface that reaches the other hosts with --iface',
  ],
  [
    'the address is gone, and a second uplink is there',
    {},
    ON_DEFAULT,
    ['link eth0', ...ETH1, UPLINK],
    `moved to ${AT_ETH1}`,
  ],
  [
    'only a link-local address is left',
    {},
    ON_DEFAULT,
    ['link eth0', 'eth0 169.254.3.4/16', DEFAULT],
    'gone: the underlay address 172.16.70.191 is gone from eth0',
  ],
  [
    'a link-local address gets a routable one beside it',
    {},
    ['link eth0', 'eth0 169.254.3.4/16', DEFAULT],
    ['link eth0', 'eth0 169.254.3.4/16', 'eth0 172.16.70.191/24', DEFAULT],
    'moved to eth0 172.16.70.191 mtu 1500, in 169.254.0.0/16 172.16.70.0/24, via 172.16.70.1',
  ],
  [
    'the address moved to a bridge',
    {},
    ON_DEFAULT,
    [
      'link eth0',
      'link br0',
      'br0 172.16.70.191/24',
      ...VPN,
      'default dev tun0',
      'default via 172.16.70.1 dev br0 metric 9',
    ],
    `moved to ${AT_ETH0.replace('eth0', 'br0')}`,
  ],
  [
    'the interface was renamed',
    {},
    ON_DEFAULT,
    ['link lan0', 'lan0 172.16.70.191/24', 'default via 172.16.70.1 dev lan0'],
    `moved to ${AT_ETH0.replace('eth0', 'lan0')}`,
  ],
  [
    'the card is gone',
    {},
    ON_DEFAULT,
    [...ETH1],
    'gone: the underlay interface eth0 is gone: failed to get default interface: Unable to find default route; name the interface that reaches the other hosts with --iface',
  ],
  [
    'the card is gone, and a second uplink is there',
    {},
    ON_DEFAULT,
    [...ETH1, UPLINK],
    `moved to ${AT_ETH1}`,
  ],
  ['the card is back', {}, ON_DEFAULT, [...ETH1, ...ETH0, DEFAULT], 'stay'],
  [
    'the interface is down',
    {},
    ON_DEFAULT,
    ['link eth0 down', 'eth0 172.16.70.191/24', DEFAULT],
    'gone: the underlay interface eth0 is down',
  ],
  [
    '--iface by name: another default route',
    { iface: ['eth0'] },
    ON_DEFAULT,
    [...ETH0, ...ETH1, DEFAULT, UPLINK],
    'stay',
  ],
  [
    '--iface by name: the address is gone, another uplink is not what was asked for',
    { iface: ['eth0'] },
    ON_DEFAULT,
    ['link eth0', ...ETH1, UPLINK],
    'gone: the underlay address 172.16.70.191 is gone from eth0: failed to find IPv4 address for interface eth0; give it one with "ip address add ADDRESS/LENGTH dev eth0", or choose another with --iface',
  ],
  [
    '--iface by name: renumbered',
    { iface: ['eth0'] },
    ON_DEFAULT,
    ['link eth0', 'eth0 172.16.71.5/24', ...ETH1],
    'moved to eth0 172.16.71.5 mtu 1500, in 172.16.71.0/24',
  ],
  [
    '--iface by name: down',
    { iface: ['eth0'] },
    ON_DEFAULT,
    ['link eth0 down', 'eth0 172.16.70.191/24', ...ETH1, UPLINK],
    'gone: the underlay interface eth0 is down',
  ],
  [
    '--iface twice: the first is gone',
    { iface: ['eth0', 'eth1'] },
    ON_DEFAULT,
    [...ETH1, UPLINK],
    `moved to ${AT_ETH1}`,
  ],
  [
    '--iface twice: the first is back',
    { iface: ['eth0', 'eth1'] },
    [...ETH1, UPLINK],
    [...ETH0, ...ETH1, UPLINK],
    'stay',
  ],
  [
    '--iface by address: the address moved',
    { iface: ['172.16.70.191'] },
    ON_DEFAULT,
    ['link eth0', 'link br0', 'br0 172.16.70.191/24'],
    'moved to br0 172.16.70.191 mtu 1500, in 172.16.70.0/24',
  ],
  [
    '--iface by address: renumbered, and that is not what was asked for',
    { iface: ['172.16.70.191'] },
    ON_DEFAULT,
    ['link eth0', 'eth0 172.16.71.5/24', DEFAULT],
    'gone: the underlay address 172.16.70.191 is gone from eth0: Failed to find interface to use that matches the interfaces and/or regexes provided: --iface=172.16.70.191; this host has eth0',
  ],
  [
    '--iface-regex: another interface fits as well',
    { ifaceRegex: ['^eth'] },
    ON_DEFAULT,
    [...ETH1, ...ETH0, DEFAULT],
    'stay',
  ],
  [
    '--iface-regex: renumbered within what fits',
    { ifaceRegex: ['^172[.]16[.]'] },
    ON_DEFAULT,
    ['link eth0', 'eth0 10.1.1.1/24', 'eth0 172.16.71.5/24', DEFAULT],
    'moved to eth0 172.16.71.5 mtu 1500, in 10.1.1.0/24 172.16.71.0/24, via 172.16.70.1',
  ],
  [
    "--iface-regex: the overlay's own addresses never fit",
    { ifaceRegex: ['^172[.]', '^10[.]'] },
    ON_DEFAULT,
    ['link eth0', 'link docker0', 'docker0 10.5.26.1/24', 'link flannel.1', 'flannel.1 10.5.26.0/32'],
    'gone: the underlay address 172.16.70.191 is gone from eth0: Failed to find interface to use that matches the interfaces and/or regexes provided: --iface-regex=^172[.] --iface-regex=^10[.]; this host has eth0, docker0, flannel.1',
  ],
  [
    '--iface-can-reach: the way there leads through the VPN now',
    { ifaceCanReach: '198.51.100.9' },
    [...ON_DEFAULT, 'reach eth0 src 172.16.70.191'],
    [...ON_DEFAULT, ...VPN, 'reach tun0 src 10.8.0.2'],
    'stay',
  ],
  [
    '--iface-can-reach: the card is gone',
    { ifaceCanReach: '198.51.100.9' },
    [...ON_DEFAULT, 'reach eth0 src 172.16.70.191'],
    [...ETH1, UPLINK, 'reach eth1 src 192.0.2.7'],
    `moved to ${AT_ETH1}`,
  ],
  [
    '--public-ip of a NAT: renumbered',
    { publicIp: '203.0.113.9' },
    ON_DEFAULT,
    ['link eth0', 'eth0 172.16.71.5/24', DEFAULT],
    'moved to eth0 172.16.71.5 mtu 1500, public 203.0.113.9, in 172.16.71.0/24, via 172.16.70.1',
  ],
  [
    '--public-ip of an interface: another default route',
    { publicIp: '192.0.2.7' },
    ON_DEFAULT,
    [...ETH0, ...ETH1, DEFAULT, 'default via 10.8.0.1 dev tun0'],
    'stay',
  ],
];

for (const [name, given, start, now, expected] of CASES) {
  test(`${name}: ${expected.split(/[:,]/)[0]}`, async () => {
    const selection = await readUnderlayFlags({ ...NO_FLAGS, ...given });
    const choose = () => chooseUnderlay(selection, host(...start));
    if (expected === 'no start') return assert.throws(choose, { code: 'interface' });
    const next = nextUnderlay(
      choose(),
      selection,
      withoutSubnets(host(...now), { v4: prefix('10.5.26.0/24') as Prefix4 }),
    );
    const text =
      next.kind === 'stay'
        ? 'stay'
        : next.kind === 'moved'
          ? `moved to ${describe(next.to)}`
          : `gone: ${next.why}`;
    assert.equal(text, expected);
  });
}

const FIRST: readonly (readonly [
  name: string,
  flags: Partial<UnderlayFlags>,
  facts: readonly string[],
  expected: string,
])[] = [
  [
    'the default route with the least metric',
    {},
    [...ETH0, ...ETH1, `${DEFAULT} metric 5`, `${UPLINK} metric 1`],
    AT_ETH1,
  ],
  [
    '--public-ip of an interface (HEAD)',
    { publicIp: '192.0.2.7' },
    ON_DEFAULT,
    'eth1 192.0.2.7 mtu 1500, in 192.0.2.0/24',
  ],
  [
    '--public-ip of a NAT (v0.9.1)',
    { publicIp: '203.0.113.9' },
    ON_DEFAULT,
    AT_ETH0.replace(', in', ', public 203.0.113.9, in'),
  ],
  [
    '--iface without an address: the next one',
    { iface: ['wlan0', 'eth1'] },
    ['link wlan0', ...ETH1],
    'eth1 192.0.2.7 mtu 1500, in 192.0.2.0/24',
  ],
  [
    '--iface comes before --iface-regex',
    { iface: ['eth1'], ifaceRegex: ['eth0'] },
    ON_DEFAULT,
    'eth1 192.0.2.7 mtu 1500, in 192.0.2.0/24',
  ],
  [
    '--iface-regex: addresses come before names',
    { ifaceRegex: ['eth0|^192[.]'] },
    ON_DEFAULT,
    'eth1 192.0.2.7 mtu 1500, in 192.0.2.0/24',
  ],
  [
    'a routable address before a link-local one',
    { iface: ['eth0'] },
    ['link eth0', 'eth0 169.254.1.1/16', 'eth0 172.16.70.191/24'],
    'eth0 172.16.70.191 mtu 1500, in 169.254.0.0/16 172.16.70.0/24',
  ],
  [
    'the last link-local address (v0.9.1)',
    { iface: ['eth0'] },
    ['link eth0', 'eth0 169.254.1.1/16', 'eth0 169.254.1.2/16'],
    'eth0 169.254.1.2 mtu 1500, in 169.254.0.0/16',
  ],
];
for (const [name, given, facts, expected] of FIRST) {
  test(`chosen at the start: ${name}`, async () => {
    const selection = await readUnderlayFlags({ ...NO_FLAGS, ...given });
    assert.equal(describe(chooseUnderlay(selection, host(...facts))), expected);
  });
}

const REFUSED: readonly (readonly [flags: Partial<UnderlayFlags>, message: RegExp])[] = [
  [{ publicIp: 'nat' }, /^invalid public IP address: nat$/],
  [{ publicIpv6: '192.0.2.1' }, /^invalid public IPv6 address: 192\.0\.2\.1$/],
  [{ ifaceCanReach: 'eth0' }, /^invalid address of --iface-can-reach: eth0$/],
  [{ ifaceRegex: ['eth(?=0)'] }, /^--iface-regex=eth\(\?=0\) is not a regular expression: .*\(\?=/],
];
for (const [given, message] of REFUSED) {
  test(`refused: ${JSON.stringify(given)}`, async () => {
    await assert.rejects(readUnderlayFlags({ ...NO_FLAGS, ...given }), { code: 'interface', message });
  });
}

test('an interface without an MTU is refused at the start', async () => {
  const selection = await readUnderlayFlags(NO_FLAGS);
  const facts = host('link eth0 mtu 0', 'eth0 172.16.70.191/24', DEFAULT);
  assert.throws(() => chooseUnderlay(selection, facts), {
    message: /^failed to determine MTU for 172\.16\.70\.191/,
  });
});
