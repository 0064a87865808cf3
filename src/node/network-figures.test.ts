import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { type CountedNetwork, networkFigures } from '#src/node/network-figures.ts';

const CONFIG = parseNetworkConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
const NOTHING: CountedNetwork = { dataPath: undefined, membership: undefined, putToRoute: undefined };

const dataPath = (names: readonly string[]): CountedNetwork['dataPath'] =>
  ({
    intent: { config: CONFIG, backend: { devices: ['flannel.1'] } },
    table: { records: () => names.map((name) => ({ name })) },
    owner: { kinds: new Map([['route', { wanted: 1, found: 1, failing: 0, repairs: 0 }]]) },
    rules: { repairs: 2, failure: 'iptables-restore ended with 4' },
  }) as unknown as CountedNetwork['dataPath'];

test('before the start there are no figures of lease, subnets and devices', () => {
  assert.deepEqual(networkFigures(NOTHING), {
    registry: { reconnects: 0, events: 0 },
    kinds: new Map(),
    firewall: { repairs: 0, failing: false },
    devices: [],
  });
});

test('subnets are those of the leases that take one, and our own', () => {
  const names = ['10.5.1.0-24', '10.5.2.0-24', '10.5.0.0-16', '10.6.1.0-24', 'not a subnet'];
  const { subnets, firewall, devices } = networkFigures({ ...NOTHING, dataPath: dataPath(names) });
  assert.deepEqual(subnets, { capacity: 255, used: 3 });
  assert.deepEqual([firewall, devices], [{ repairs: 2, failing: true }, ['flannel.1']]);
});

test('a lease has a time, a reservation has none', () => {
  const counts = { renewals: 3, failures: 1, reconnects: 2, events: 9 };
  const of = (remainingMs: number | undefined) =>
    networkFigures({ ...NOTHING, membership: { counts, remainingMs } });
  assert.deepEqual(of(30_500).lease, { remainingSeconds: 30.5, renewals: 3, failures: 1 });
  assert.deepEqual(of(undefined).lease, { renewals: 3, failures: 1 });
  assert.deepEqual(of(1).registry, { reconnects: 2, events: 9 });
});
