import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp, type Ip, ipv4, ipv6 } from '#src/lib/ip.ts';
import { AddressSet } from '#src/tenant/address-set.ts';
import { following } from '#src/tenant/subnet-rules.ts';

const BASES: readonly Ip[] = [
  ipv4(0x0a050000),
  ipv4(0xfffff000),
  ipv6(0xfd00n << 112n),
  ipv6(2n ** 128n - 4_096n),
];

for (const base of BASES) {
  test(`it finds what a plain set finds, from ${formatIp(base)} on`, () => {
    const offset = fc.nat(4_095);
    const change = fc.record({
      add: fc.boolean(),
      from: offset,
      count: fc.constantFrom(1, 31, 1_024, 3_000),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30, size: 'max' }), offset, offset, (changes, from, last) => {
        const set = new AddressSet();
        const plain = new Set<number>();
        for (const { add, from: first, count } of changes) {
          for (let at = first; at < Math.min(4_096, first + count); at++) {
            const ip = following(base, at);
            if (add) set.add(ip);
            else set.delete(ip);
            if (add) plain.add(at);
            else plain.delete(at);
          }
        }
        let expected: Ip | undefined;
        for (let at = from; at <= last && expected === undefined; at++)
          if (!plain.has(at)) expected = following(base, at);
        assert.equal(set.firstOutside(following(base, from), following(base, last)), expected);
        assert.equal(set.has(following(base, from)), plain.has(from));
      }),
      { numRuns: 60 },
    );
  });
}
