import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addressAfter,
  containsAddress,
  containsPrefix,
  equalPrefix,
  formatIp,
  formatIpv4,
  formatIpv6,
  formatPrefix,
  ipv4,
  ipv6,
  isGlobalUnicast,
  lastAddress,
  masked,
  netmask4,
  overlaps,
  type Prefix,
  parseIp,
  parseIpv4,
  parseIpv6,
  parsePrefix,
  parsePrefix4,
  parsePrefix6,
  prefix4,
  prefix6,
} from '#src/lib/ip.ts';

test('an address is counted from the prefix’s own, in both families', () => {
  assert.equal(formatIp(addressAfter(prefix4(ipv4(0x0a050100), 24), 1)), '10.5.1.1');
  assert.equal(formatIp(addressAfter(prefix6(ipv6(0xfd00n << 112n), 64), 2)), 'fd00::2');
});

/** The right-hand sides are what Go 1.26's net/netip prints; zones are the one thing it reads and we refuse. */
const ADDRESSES: readonly [text: string, canonical: string | undefined][] = [
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['10.0.0.1', '10.0.0.1'],
  ['01.2.3.4', undefined],
  ['1.2.3', undefined],
  ['1.2.3.4.5', undefined],
  ['1.2.3.256', undefined],
  ['1.2.3.4 ', undefined],
  [' 1.2.3.4', undefined],
  ['0x1.2.3.4', undefined],
  ['1..3.4', undefined],
  ['', undefined],
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['1:2:3:4:5:6:7:8::', undefined],
  ['1:2:3:4::5:6:7:8', undefined],
  ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
  ['::1.2.3.4', '::102:304'],
  ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ['1:2:3:4:5:6:7:1.2.3.4', undefined],
  ['1.2.3.4::', undefined],
  [':::', undefined],
  ['1::2::3', undefined],
  [':1', undefined],
  ['1:', undefined],
  ['12345::', undefined],
  ['g::', undefined],
  ['fe80::1%eth0', undefined],
  ['FD00::A', 'fd00::a'],
  ['0:0:1:0:0:0:1:0', '0:0:1::1:0'],
  ['1:0:0:2:3:0:0:4', '1::2:3:0:0:4'],
  ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ['fd00:0010:0005:0007:0:0:0:0', 'fd00:10:5:7::'],
  ['::ffff:0:0', '::ffff:0.0.0.0'],
  ['::fffe:1.2.3.4', '::fffe:102:304'],
  ['64:ff9b::1.2.3.04', undefined],
];

test('addresses are read and printed as Go does', () => {
  for (const [text, canonical] of ADDRESSES) {
    const ip = parseIp(text);
    assert.equal(ip === undefined ? undefined : formatIp(ip), canonical, text);
  }
});

const PREFIXES: readonly [text: string, read: string | undefined, network: string | undefined][] = [
  ['10.0.0.0/8', '10.0.0.0/8', '10.0.0.0/8'],
  ['10.1.2.3/16', '10.1.2.3/16', '10.1.0.0/16'],
  ['10.1.2.3/32', '10.1.2.3/32', '10.1.2.3/32'],
  ['0.0.0.0/0', '0.0.0.0/0', '0.0.0.0/0'],
  ['255.255.255.255/1', '255.255.255.255/1', '128.0.0.0/1'],
  ['10.0.0.0/33', undefined, undefined],
  ['10.0.0.0/-1', undefined, undefined],
  ['10.0.0.0/08', undefined, undefined],
  ['10.0.0.0/', undefined, undefined],
  ['10.0.0.0', undefined, undefined],
  ['/8', undefined, undefined],
  ['10.0.0.0/8/8', undefined, undefined],
  ['10.0.0.0/ 8', undefined, undefined],
  ['fd00::1/64', 'fd00::1/64', 'fd00::/64'],
  ['fd00::/129', undefined, undefined],
  ['fd00::1/128', 'fd00::1/128', 'fd00::1/128'],
  ['ffff::/0', 'ffff::/0', '::/0'],
];

test('prefixes are read and masked as Go does', () => {
  for (const [text, read, network] of PREFIXES) {
    const prefix = parsePrefix(text);
    assert.equal(prefix && formatPrefix(prefix), read, text);
    assert.equal(prefix && formatPrefix(masked(prefix)), network, text);
  }
});

test('a family-bound reader refuses the other family', () => {
  assert.equal(parsePrefix4('fd00::/64'), undefined);
  assert.equal(parsePrefix6('10.0.0.0/8'), undefined);
  assert.equal(parseIpv4('::1'), undefined);
  assert.equal(parseIpv6('10.0.0.1'), undefined);
});

test('global unicast is what Go says, less 0.0.0.0/8 and IPv4-mapped addresses', () => {
  const yes =
    '10.0.0.1 169.253.1.1 223.255.255.255 240.0.0.1 255.255.255.254 ::2 fec0::1 fd00::1 2001:db8::1';
  const no =
    '0.0.0.0 0.0.0.1 127.0.0.1 169.254.1.1 224.0.0.1 239.255.255.255 255.255.255.255 ' +
    ':: ::1 fe80::1 febf::1 ff02::1 ::ffff:10.0.0.1';
  const verdict = (text: string) => {
    const ip = parseIp(text);
    return ip !== undefined && isGlobalUnicast(ip);
  };
  assert.deepEqual(
    yes.split(' ').filter((text) => !verdict(text)),
    [],
  );
  assert.deepEqual(no.split(' ').filter(verdict), []);
});

const anyIpv4 = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4);
const anyIpv6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map(ipv6);
/** Few distinct bits, so that two of them often overlap. */
const anyPrefix: fc.Arbitrary<Prefix> = fc.oneof(
  fc
    .tuple(fc.oneof(anyIpv4, fc.nat(3).map(ipv4)), fc.integer({ min: 0, max: 32 }))
    .map(([a, l]) => prefix4(a, l)),
  fc
    .tuple(fc.oneof(anyIpv6, fc.bigInt(0n, 3n).map(ipv6)), fc.integer({ min: 0, max: 128 }))
    .map(([a, l]) => prefix6(a, l)),
);

/** The first and last address by arithmetic alone: the oracle for everything below. */
function interval(prefix: Prefix): [bigint, bigint] {
  const size = 1n << BigInt((prefix.family === 4 ? 32 : 128) - prefix.length);
  const first = (BigInt(prefix.address) / size) * size;
  return [first, first + size - 1n];
}

test('text survives a round trip', () => {
  fc.assert(fc.property(anyIpv4, (ip) => parseIpv4(formatIpv4(ip)) === ip));
  fc.assert(fc.property(anyIpv6, (ip) => parseIpv6(formatIpv6(ip)) === ip));
  fc.assert(fc.property(anyPrefix, (prefix) => assert.deepEqual(parsePrefix(formatPrefix(prefix)), prefix)));
});

test('any text at all is read or refused, never thrown at', () => {
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abf:./%-') }));
  fc.assert(fc.property(text, (input) => void [parseIp(input), parsePrefix(input)]));
});

test('first and last address are those of the interval', () => {
  fc.assert(
    fc.property(anyPrefix, (prefix) => {
      const last = prefix.family === 4 ? lastAddress(prefix) : lastAddress(prefix);
      assert.deepEqual([BigInt(masked(prefix).address), BigInt(last)], interval(prefix));
    }),
  );
});

test('containment and overlap agree with intervals and never cross families', () => {
  fc.assert(
    fc.property(anyPrefix, anyPrefix, (a, b) => {
      const [[aFirst, aLast], [bFirst, bLast]] = [interval(a), interval(b)];
      const related = a.family === b.family;
      const bAddress = BigInt(b.address);
      assert.equal(containsAddress(a, b.address), related && aFirst <= bAddress && bAddress <= aLast);
      assert.equal(overlaps(a, b), related && aFirst <= bLast && bFirst <= aLast);
      assert.equal(containsPrefix(a, b), related && aFirst <= bFirst && bLast <= aLast);
      assert.equal(equalPrefix(a, b), related && a.address === b.address && a.length === b.length);
    }),
  );
});

test('netmasks at their edges', () => {
  assert.deepEqual([0, 1, 8, 31, 32].map(netmask4), [0, 0x80000000, 0xff000000, 0xfffffffe, 0xffffffff]);
});
