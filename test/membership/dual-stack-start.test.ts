import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { acquireLease } from '#src/membership/acquire-lease.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { handedOutBy } from '#src/network/overlap-rules.ts';
import { systemClock } from '#src/sys/clock.ts';
import { APIS, openEtcd } from '../registry/open-etcd.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { cannotRun } from '../support/test-lab.ts';

const HOSTS = 20;
const config = parseNetworkConfig(
  '{"Network":"10.8.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:8::/48","Backend":{"Type":"vxlan"}}',
);
const overlap = { handedOut: handedOutBy(config.ranges), connected: [], needed: [], allowed: false };

for (const api of APIS)
  test(`hosts that all start at once on one etcd share no subnet of either family: ${api}`, {
    skip: cannotRun('etcd', 'etcdctl'),
  }, async (t) => {
    const server = await EtcdServer.start();
    t.after(() => server.stop());
    const registry = openEtcd(api, server.url, { callTimeoutMs: 20_000 });
    t.after(() => registry.close());
    // All choose by what they saw before any of them wrote.
    const listing = Promise.resolve(await registry.list(t.signal));
    const leases = await Promise.all(
      Array.from({ length: HOSTS }, (_, n) => {
        const claimant = { node: `n${n}`, publicIp: { v4: ipv4(0xac104601 + n) } };
        const attributes = { node: claimant.node, publicIp: claimant.publicIp.v4, backendType: 'vxlan' };
        return acquireLease(
          { registry, clock: systemClock, random: Math.random, log: silentLogger },
          {
            ...{ config, claimant, overlap, listing, previous: {}, avoid: [], ttlSeconds: 86_400 },
            attributesFor: () => attributes,
          },
          t.signal,
        );
      }),
    );
    const names = leases.map(({ record }) => record.name).sort();
    for (const family of [0, 1])
      assert.equal(new Set(names.map((name) => name.split('&')[family])).size, HOSTS, names.join());
    const { records } = await registry.list(t.signal);
    assert.deepEqual(records.map(({ name }) => name).sort(), names);
  });
