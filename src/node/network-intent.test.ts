import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Inbound } from '#src/backend/backend.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { type NetworkIntent, ownObjectsOf } from '#src/node/network-intent.ts';
import { formatObject } from '#src/state/object.ts';

const V4 = '"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}';
const V6 = '"EnableIPv6":true,"IPv6Network":"fd05::/48"';

/** The settings of the host that a network with this config wants, in order. */
function settingsOf(
  config: string,
  advertised: readonly string[] = [],
  inbound: Inbound = { devices: ['flannel.1'], underlay: false },
): string[] {
  const backend = { devices: ['flannel.1'], inbound };
  const intent = {
    ...{ config: parseNetworkConfig(config), subnets: {}, underlay: { name: 'eth0' }, advertised },
    backend: { ...backend, ownObjects: () => [] },
  } as unknown as NetworkIntent;
  const objects = ownObjectsOf(intent, { blackhole: false });
  return objects.filter(({ kind }) => kind === 'sysctl').map(formatObject);
}

test('a network of IPv4 turns forwarding on, and touches nothing of IPv6', () => {
  assert.deepEqual(settingsOf(`{${V4}}`, ['eth0']), [
    'net/ipv4/ip_forward=1',
    'net/ipv4/conf/flannel.1/forwarding=1',
  ]);
});

test('of a device that is not there yet no setting is wanted: it would be missing for ever', () => {
  const inbound = { devices: ['flannel-wg', 'flannel-wg.b'], toCome: ['flannel-wg.b'], underlay: true };
  assert.deepEqual(settingsOf(`{${V4}}`, [], inbound), [
    'net/ipv4/ip_forward=1',
    'net/ipv4/conf/flannel-wg/forwarding=1',
    'net/ipv4/conf/eth0/forwarding=1',
  ]);
});

test('IPv6 forwards by one setting, which comes after what keeps the default route', () => {
  const settings = settingsOf(`{${V4},${V6}}`, ['eth0', 'eth1.7']);
  const forwarding = settings.indexOf('net/ipv6/conf/all/forwarding=1');
  assert.ok(forwarding > 0, settings.join('\n'));
  for (const device of ['eth0', 'eth1.7']) {
    const kept = settings.indexOf(`net/ipv6/conf/${device}/accept_ra=2`);
    assert.ok(kept >= 0 && kept < forwarding, settings.join('\n'));
  }
  assert.ok(settings.includes('net/ipv6/conf/flannel.1/accept_ra=0'));
});
