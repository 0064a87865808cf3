import assert from 'node:assert/strict';
import { test } from 'node:test';
import { advertisedRoutes } from '#src/node/underlay/advertised-routes.ts';
import { RTPROT_RA } from '#src/state/object.ts';
import { host } from '../../../test/support/underlay-words.ts';

const settings = (values: Readonly<Record<string, string>>) => ({
  read: async (path: string) => values[path],
});
const acceptRa = (device: string): string => `/proc/sys/net/ipv6/conf/${device}/accept_ra`;

test('a default route that forwarding would take away', async () => {
  const { routes } = host(
    'default6 via fe80::1 dev eth0',
    'default6 via fe80::2 dev eth0',
    'default dev eth1',
  );
  const advertised = routes.map((route) => ({ ...route, protocol: RTPROT_RA }));
  const on = settings({ [acceptRa('eth0')]: '1\n', [acceptRa('eth1')]: '1\n' });
  assert.deepEqual(await advertisedRoutes({ routes: advertised }, on), ['eth0']);
  assert.deepEqual(await advertisedRoutes({ routes }, on), [], 'set by hand');
  for (const value of ['0\n', '2\n'])
    assert.deepEqual(
      await advertisedRoutes({ routes: advertised }, settings({ [acceptRa('eth0')]: value })),
      [],
    );
  assert.deepEqual(await advertisedRoutes({ routes: advertised }, settings({})), []);
});
