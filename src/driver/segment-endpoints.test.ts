import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LocalEndpoint } from '#src/driver/segment.ts';
import { SegmentEndpoints } from '#src/driver/segment-endpoints.ts';
import { type Ip, ipv4, ipv6 } from '#src/lib/ip.ts';
import { type Mac, macFromBytes } from '#src/lib/mac.ts';

const mac = (n: number): Mac => macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n));
const endpoint = (id: string, n: number, ...addresses: Ip[]): LocalEndpoint => ({
  id,
  mac: mac(n),
  addresses,
  isActive: true,
});

test('endpoints are found by address and MAC, as they are now', () => {
  const endpoints = new SegmentEndpoints();
  const [v4, v6] = [ipv4(1), ipv6(1n)];
  const first = endpoint('a', 1, v4, v6);
  const second = endpoint('b', 1, v4);
  endpoints.set(first);
  endpoints.set(second);
  assert.deepEqual(endpoints.with(v4), [first, second]);
  assert.deepEqual(endpoints.with(v6), [first]);
  assert.deepEqual(endpoints.with(mac(1)), [first, second]);
  const moved = endpoint('a', 2, v6);
  endpoints.set(moved);
  assert.deepEqual(
    [endpoints.with(v4), endpoints.with(mac(1)), endpoints.with(mac(2))],
    [[second], [second], [moved]],
  );
  endpoints.delete('b');
  endpoints.delete('b');
  assert.deepEqual([endpoints.with(v4), [...endpoints.ids()], endpoints.has('b')], [[], ['a'], false]);
  endpoints.clear();
  assert.deepEqual([endpoints.with(v6), [...endpoints.all()]], [[], []]);
});
