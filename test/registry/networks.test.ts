import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WeftError } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { EtcdV2Networks } from '#src/registry/etcd-v2-networks.ts';
import { EtcdV3Networks } from '#src/registry/etcd-v3-networks.ts';
import { EtcdV3RecordFolders } from '#src/registry/etcd-v3-record-folders.ts';
import { MemoryNetworks } from '#src/registry/memory-networks.ts';
import type { Networks } from '#src/registry/networks.ts';
import { openNetworks } from '#src/registry/open-networks.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { TestStore } from '../support/store.ts';
import { openEtcd } from './open-etcd.ts';
import { watchFor } from './records-compliance.ts';

interface Harness {
  readonly networks: Networks;
  /** Writes a lease of one network. */
  lease(network: string, name: string): Promise<void>;
  close(): Promise<void>;
}

const PREFIX = '/weft/networks';
const CONFIG = '{"Network":"10.5.0.0/16"}';
const signal = () => AbortSignal.timeout(30_000);

function overEtcd(api: 'v2' | 'v3', url: string, stop: () => Promise<void>): Harness {
  const etcd = { endpoints: parseEndpoints(url, { tls: false }), prefix: `${PREFIX}//`, tls: {} };
  const components = { clock: systemClock, random: systemRandom };
  const networks = api === 'v2' ? new EtcdV2Networks(components, etcd) : new EtcdV3Networks(components, etcd);
  return {
    networks,
    async lease(network, name) {
      const registry = openEtcd(api, url, { prefix: `${PREFIX}/${network}` });
      await registry.create(name, 'x', undefined, signal());
      await registry.close();
    },
    async close() {
      await networks.close();
      await stop();
    },
  };
}

const HARNESSES: Readonly<Record<string, () => Promise<Harness>>> = {
  async memory() {
    const networks = new MemoryNetworks({ clock: systemClock });
    return {
      networks,
      async lease(network, name) {
        await networks.registry(network).create(name, 'x', undefined, signal());
      },
      close: () => networks.close(),
    };
  },
  async 'etcd v3'() {
    const server = await EtcdServer.start();
    return overEtcd('v3', server.url, () => server.stop());
  },
  async 'etcd v3, served by the embedded store'() {
    const store = await TestStore.start();
    return overEtcd('v3', store.url, () => store.remove());
  },
  async 'etcd v2'() {
    const server = await EtcdServer.start();
    return overEtcd('v2', server.url, () => server.stop());
  },
};

for (const [name, open] of Object.entries(HARNESSES)) {
  describe(`networks: ${name}`, () => {
    let harness: Harness;
    before(async () => {
      harness = await open();
    });
    after(async () => {
      await harness.close();
    });

    test('there is none in an empty store', async () => {
      assert.deepEqual(await harness.networks.list(signal()), []);
      assert.equal(await harness.networks.readConfig('blue', signal()), undefined);
    });

    test('a config makes a network, and is written once', async () => {
      const { networks } = harness;
      assert.equal(await networks.writeConfig('blue', CONFIG, undefined, signal()), true);
      assert.equal(await networks.writeConfig('blue', 'other', undefined, signal()), false);
      assert.equal(await networks.readConfig('blue', signal()), CONFIG);
      assert.deepEqual(await networks.list(signal()), ['blue']);
    });

    test('leases and other keys make none', async () => {
      const { networks } = harness;
      await harness.lease('tenants', '10.1.0.0-24');
      await harness.lease('a-network-to-come', '10.1.0.0-24');
      for (const lease of ['10.5.1.0-24', '10.5.2.0-24']) await harness.lease('blue', lease);
      // A single network at the prefix itself has its leases there.
      await harness.lease('.', '10.9.0.0-24');
      assert.equal(await networks.writeConfig('red.v2_x-1', CONFIG, undefined, signal()), true);
      assert.deepEqual(await networks.list(signal()), ['blue', 'red.v2_x-1']);
      assert.equal(await networks.readConfig('red.v2_x-1', signal()), CONFIG);
    });

    test('a config is replaced and removed only as it was read', async () => {
      const { networks } = harness;
      const other = '{"Network": "10.6.0.0/16", "x": "ä & = +"}';
      assert.equal(await networks.writeConfig('blue', other, 'stale', signal()), false);
      assert.equal(await networks.writeConfig('blue', other, CONFIG, signal()), true);
      assert.equal(await networks.readConfig('blue', signal()), other);
      assert.equal(await networks.removeConfig('blue', CONFIG, signal()), false);
      assert.equal(await networks.removeConfig('blue', other, signal()), true);
      assert.equal(await networks.removeConfig('blue', other, signal()), false);
      assert.deepEqual(await networks.list(signal()), ['red.v2_x-1']);
    });

    test('a name that is no segment of a key, or that others have, is refused', async () => {
      for (const bad of ['', '.', 'a/b', '../x', '-x', 'ä', 'x'.repeat(65), 'config', 'subnets', 'tenants']) {
        await assert.rejects(harness.networks.writeConfig(bad, CONFIG, undefined, signal()), (error) => {
          assert.ok(error instanceof WeftError && error.code === 'network-name');
          return true;
        });
      }
    });

    test('a watch names the networks, and again when one appears or goes', async () => {
      const { networks } = harness;
      const changes = new NetworkChanges();
      const seen: string[] = [];
      const steps = [
        () => networks.writeConfig('green', CONFIG, undefined, signal()),
        async () => {
          // No network's config: whatever the watch makes of it, nothing appears.
          await harness.lease('green', '10.5.9.0-24');
          await harness.lease('nobody', '10.5.9.0-24');
          return networks.writeConfig('a-network-to-come', CONFIG, undefined, signal());
        },
        () => networks.removeConfig('green', CONFIG, signal()),
      ];
      for await (const names of networks.watch(signal())) {
        const { appeared, gone } = changes.take(names);
        seen.push(...appeared.map((it) => `+${it}`), ...gone.map((it) => `-${it}`));
        if (appeared.length + gone.length === 0) continue;
        const step = steps.shift();
        if (step === undefined) break;
        assert.equal(await step(), true);
      }
      assert.deepEqual(seen, ['+red.v2_x-1', '+green', '+a-network-to-come', '-green']);
      const reason = new Error('enough');
      await assert.rejects(async () => {
        for await (const _ of networks.watch(AbortSignal.abort(reason)));
      }, reason);
    });
  });
}

test('v3: the keys of tenants wake no watch, nor do leases at the prefix itself', async () => {
  const server = await EtcdServer.start();
  // Without the pause in which a look waits for more changes, each change that wakes the watch is a look of its own.
  const sleep = (ms: number, ended?: AbortSignal) => systemClock.sleep(ms === 200 ? 0 : ms, ended);
  const clock = { ...systemClock, sleep };
  const etcd = { endpoints: parseEndpoints(server.url, { tls: false }), prefix: PREFIX, tls: {} };
  const networks = new EtcdV3Networks({ clock, random: systemRandom }, etcd);
  const folders = new EtcdV3RecordFolders({ clock: systemClock, random: systemRandom }, etcd);
  const write = async (): Promise<void> => {
    for (const path of ['tenants/addresses/blue', 'tenants', 'subnets']) {
      const records = folders.folder(path);
      for (const name of ['10.5.0.7', '10.5.0.8', '10.5.0.9']) {
        const { revision } = await records.list(signal());
        await records.create(name, 'x', undefined, signal());
        // The store has sent it to all watchers.
        await watchFor(records, revision, signal(), (events) => events.length > 0);
      }
    }
    await networks.writeConfig('green', CONFIG, undefined, signal());
  };
  const seen: string[] = [];
  let written: Promise<void> | undefined;
  try {
    for await (const names of networks.watch(signal())) {
      seen.push(names.join());
      if (names.length > 0) break;
      written ??= write();
    }
    await written;
    assert.deepEqual(seen, ['', 'green']);
  } finally {
    await networks.close();
    await folders.close();
    await server.stop();
  }
});

test('the API is the one in which there are networks; v3 where there are none yet', async () => {
  const server = await EtcdServer.start();
  const components = {
    clock: systemClock,
    random: systemRandom,
    files: systemFiles,
    logger: silentLogger,
  };
  const options = { endpoints: server.url, prefix: PREFIX, api: 'auto', tls: {} } as const;
  const apiOf = async () => {
    const networks = await openNetworks(components, options, signal());
    await networks.close();
    return networks.api;
  };
  try {
    assert.equal(await apiOf(), 'v3');
    const v2 = await openNetworks(components, { ...options, api: 'v2' }, signal());
    await v2.writeConfig('blue', CONFIG, undefined, signal());
    await v2.close();
    assert.equal(await apiOf(), 'v2');
  } finally {
    await server.stop();
  }
});

/** Hands over the names that are new or gone since the last time. The first time, all of them are new. */
class NetworkChanges {
  #known: ReadonlySet<string> = new Set();

  take(names: readonly string[]): { readonly appeared: readonly string[]; readonly gone: readonly string[] } {
    const now = new Set(names);
    const known = this.#known;
    this.#known = now;
    return {
      appeared: names.filter((name) => !known.has(name)),
      gone: [...known].filter((name) => !now.has(name)),
    };
  }
}
