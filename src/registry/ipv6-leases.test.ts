import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { leasesFor, leasesUnder, refuseFlannels } from '#src/registry/ipv6-leases.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const ONLY6 = '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10::/48"}';
const BOTH = '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10::/48"}';
const rangesOf = (text: string) => parseNetworkConfig(text).ranges;
const FLANNEL = '{"PublicIP":"192.0.2.9","PublicIPv6":null,"BackendType":"vxlan"}';
const { signal } = new AbortController();

test('a network with IPv4 has its leases where flannel looks, one without it elsewhere', async () => {
  const registry = new MemoryRegistry({ clock: new FakeClock() });
  assert.equal(leasesFor(registry, rangesOf(BOTH)), registry);
  const only6 = leasesFor(registry, rangesOf(ONLY6));
  await only6.create('fd00:10:0:7::-64', FLANNEL, 60, signal);
  assert.deepEqual((await registry.list(signal)).records, []);
  const names = (await only6.list(signal)).records.map(({ name }) => name);
  assert.deepEqual(names, ['fd00:10:0:7::-64']);
  registry.writeConfig(ONLY6);
  assert.equal(await only6.readConfig(signal), ONLY6);
});

test('a config that can not be read has IPv4', () => {
  const registry = new MemoryRegistry({ clock: new FakeClock() });
  for (const text of [undefined, 'junk', BOTH]) assert.equal(leasesUnder(registry, text), registry);
  assert.notEqual(leasesUnder(registry, ONLY6), registry);
});

test('a flannel in the network is named; a weft, a reservation and junk are none', async () => {
  const registry = new MemoryRegistry({ clock: new FakeClock() });
  await registry.create('10.5.2.0-24', FLANNEL.replace('}', ',"Node":"n1"}'), 60, signal);
  await registry.create('10.5.3.0-24', FLANNEL, undefined, signal);
  await registry.create('10.5.4.0-24', 'junk', 60, signal);
  await refuseFlannels(registry, rangesOf(ONLY6), signal);
  await registry.create('10.5.9.0-24', FLANNEL, 60, signal);
  await refuseFlannels(registry, rangesOf(BOTH), signal);
  await assert.rejects(refuseFlannels(registry, rangesOf(ONLY6), signal), {
    code: 'lease',
    message:
      'the network config has no IPv4 (EnableIPv4: false), and hosts with flannel are in the network, which can not follow: 10.5.9.0-24 (192.0.2.9)',
  });
});
