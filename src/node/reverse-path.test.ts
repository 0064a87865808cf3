import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { ChangingBackend } from '#src/backend/changing.ts';
import { ipv4 } from '#src/lib/ip.ts';
import { withPlan } from '#src/network/change-plan.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { loosened, restored } from '#src/node/reverse-path.ts';

function changing(to: string): ChangingBackend {
  const text = withPlan('{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"}}', to, {
    id: 'a',
    by: '',
    at: '',
  });
  const address = { v4: ipv4(0xac104601) };
  const prepared = prepareBackend(parseNetworkConfig(text), { links: [], identity: 'x', instance: '' });
  const backend = prepared.make({ name: 'eth0', mtu: 1500, address, publicIp: address });
  assert.ok(backend instanceof ChangingBackend);
  return backend;
}

const filesOf = (settings: Readonly<Record<string, string>>) => ({
  read: async (path: string) => {
    const value = settings[/conf\/([^/]+)\/rp_filter$/.exec(path)?.[1] ?? ''];
    return value === undefined ? undefined : `${value}\n`;
  },
});

const ROWS: readonly [
  what: string,
  all: string,
  fresh: string,
  eth0: string,
  wanted: object,
  before: object,
][] = [
  ['nothing is checked', '0', '0', '0', {}, {}],
  ['all are loose', '2', '1', '1', { 'flannel.1': '2', eth0: '2' }, { 'flannel.1': '1', eth0: '1' }],
  ['all are strict', '1', '0', '0', { 'flannel.1': '2', eth0: '2' }, { 'flannel.1': '0', eth0: '0' }],
  ['the interface is strict', '0', '0', '1', { eth0: '2' }, { eth0: '1' }],
  ['new devices are strict', '0', '1', '2', { 'flannel.1': '2' }, { 'flannel.1': '1' }],
];

for (const [what, all, fresh, eth0, wanted, before] of ROWS)
  test(`source checks where ${what}`, async () => {
    const files = filesOf({ all, default: fresh, eth0 });
    const found = await loosened(files, changing('{"Type":"host-gw"}'), 'eth0', {});
    assert.deepEqual(Object.fromEntries(found.wanted), wanted);
    assert.deepEqual(found.before, before);
    assert.deepEqual(Object.fromEntries(await restored(files, found)), before);
  });

test('a restart knows what the setting was before it was loosened', async () => {
  const files = filesOf({ all: '0', default: '0', eth0: '2' });
  const found = await loosened(files, changing('{"Type":"host-gw"}'), 'eth0', { eth0: '1' });
  assert.deepEqual([Object.fromEntries(found.wanted), found.before], [{ eth0: '2' }, { eth0: '1' }]);
});

test('between two tunnels the interface stays as it is', async () => {
  const files = filesOf({ all: '0', default: '1', eth0: '1' });
  const found = await loosened(files, changing('{"Type":"vxlan","VNI":7}'), 'eth0', {});
  assert.deepEqual(Object.fromEntries(found.wanted), { 'flannel.1': '2', 'flannel.7': '2' });
  assert.deepEqual(found.before, { 'flannel.1': '1' });
  const after = Object.fromEntries(await restored(files, found));
  assert.deepEqual(after, { 'flannel.1': '1', 'flannel.7': '1' });
});

test('a device that is there has what it was given, whatever new ones get', async () => {
  const files = filesOf({ all: '0', default: '1', eth0: '0', 'flannel.1': '2' });
  const loose = await loosened(files, changing('{"Type":"vxlan","DirectRouting":true}'), 'eth0', {});
  assert.deepEqual([Object.fromEntries(loose.wanted), loose.before], [{}, {}]);

  const strict = filesOf({ all: '0', default: '0', eth0: '0', 'flannel.1': '1' });
  const found = await loosened(strict, changing('{"Type":"vxlan","DirectRouting":true}'), 'eth0', {});
  assert.deepEqual(
    [Object.fromEntries(found.wanted), found.before],
    [{ 'flannel.1': '2' }, { 'flannel.1': '1' }],
  );
});
