import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasGatewayRoute } from '#src/docker/route-table.ts';
import { parsePrefix4 } from '#src/lib/ip.ts';

/** Linux's own text for: default and 10.5.26.0/24 and 10.5.29.128/25 via a gateway, 10.5.27.0/24 dev d0, blackhole 10.5.28.0/24. */
const ROUTES = [
  'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   ',
  'd0\t00000000\tFE07A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0    ',
  'd0\t001A050A\t0907A8C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0    ',
  'd0\t001B050A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0    ',
  '*\t001C050A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0    ',
  'd0\t801D050A\t0907A8C0\t0003\t0\t0\t0\t80FFFFFF\t0\t0\t0    ',
  'd0\t0007A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0    ',
  '',
].join('\n');

test('a subnet that leads to a gateway is found, in whatever way its host bits are set', () => {
  const verdict = (text: string) => {
    const prefix = parsePrefix4(text);
    assert.ok(prefix);
    return hasGatewayRoute(ROUTES, prefix);
  };
  assert.deepEqual(['10.5.26.1/24', '10.5.29.129/25', '0.0.0.0/0'].map(verdict), [true, true, true]);
  // Directly connected, blackhole, another length, absent.
  assert.deepEqual(
    ['10.5.27.1/24', '10.5.28.1/24', '10.5.26.1/25', '10.5.29.1/24', '10.9.0.1/24'].map(verdict),
    [false, false, false, false, false],
  );
});

test('no table is no route', () => {
  const prefix = parsePrefix4('10.5.26.0/24');
  assert.ok(prefix);
  assert.equal(hasGatewayRoute('', prefix), false);
});
