import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { silentLogger } from '#src/lib/log.ts';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import { LeaseWatcher } from '#src/registry/lease-watcher.ts';
import type { Registry } from '#src/registry/registry.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { unusedPort } from '../support/unused-port.ts';
import { nameOf, watchFor, written } from './compliance.ts';
import { APIS, openEtcd } from './open-etcd.ts';

/** Beyond this a fault counts as not noticed: twice what the timers inside add up to. */
const NOTICED_WITHIN_MS = 15_000;
/** A call, or a watch until its end; a machine that does much else takes its time. */
const patience = () => AbortSignal.timeout(60_000);

/** Follows the leases, keeping the set of names as an agent would. */
function follow(registry: Registry) {
  const controller = new AbortController();
  const names = new Set<string>();
  let snapshots = 0;
  const watcher = new LeaseWatcher(
    { registry, clock: systemClock, random: systemRandom, logger: silentLogger },
    {
      onSnapshot({ records }) {
        snapshots++;
        names.clear();
        for (const { name } of records) names.add(name);
      },
      onBatch({ events }) {
        for (const event of events) {
          if (event.type === 'put') names.add(event.record.name);
          else names.delete(event.name);
        }
      },
    },
  );
  const running = watcher.run(controller.signal).catch(() => {});
  return {
    watcher,
    names,
    snapshots: () => snapshots,
    async end() {
      controller.abort();
      await running;
      await registry.close();
    },
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const giveUp = Date.now() + NOTICED_WITHIN_MS; !holds(); await delay(20)) {
    if (Date.now() > giveUp) assert.fail(`not within ${NOTICED_WITHIN_MS} ms: ${what}`);
  }
}

async function failureOf(call: Promise<unknown>): Promise<RegistryError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, `expected a RegistryError, got ${error}`);
  assert.doesNotMatch(error.message, /\n/);
  return error;
}

const drain = async (registry: Registry, revision: bigint) => {
  for await (const _ of registry.watch(revision, patience()));
};

for (const api of APIS) {
  describe(`etcd ${api} in trouble`, () => {
    test('a frozen server is noticed by a call and by a watch, and used again when it thaws', async () => {
      const server = await EtcdServer.start();
      const registry = openEtcd(api, server.url);
      try {
        const { revision } = await registry.list(patience());
        const controller = new AbortController();
        const watching = failureOf(
          (async () => {
            for await (const _ of registry.watch(revision, controller.signal)) server.freeze();
          })(),
        );
        const notice = await Promise.race([watching, delay(NOTICED_WITHIN_MS)]);
        assert.ok(notice instanceof RegistryError, 'the watch hangs');
        assert.equal(notice.reason, 'timeout');
        const call = await failureOf(registry.list(patience()));
        assert.equal(call.reason, 'timeout');
        assert.match(call.message, /^cannot list the leases: http:\/\/127.0.0.1:\d+: no answer within 4 s$/);
        server.thaw();
        await registry.list(patience());
      } finally {
        await registry.close();
        await server.stop();
      }
    });

    test('a server that is killed and comes back loses no event and costs no new list', async () => {
      const server = await EtcdServer.start();
      const other = openEtcd(api, server.url);
      const { names, snapshots, watcher, end } = follow(openEtcd(api, server.url));
      try {
        await other.create('10.1.0.0-24', '', undefined, patience());
        await until('the first lease is seen', () => names.has('10.1.0.0-24'));
        await server.kill();
        await until('the outage is seen', () => watcher.state.kind === 'retrying');
        const refused = await failureOf(other.list(patience()));
        assert.equal(refused.reason, 'unreachable');
        assert.match(refused.message, /connection (refused|reset|closed)/);
        await server.launch();
        await other.create('10.2.0.0-24', '', undefined, patience());
        await until('the second lease is seen', () => names.has('10.2.0.0-24'));
        // A list of v2 has no order.
        assert.deepEqual([...names].toSorted(), ['10.1.0.0-24', '10.2.0.0-24']);
        assert.equal(watcher.state.kind, 'connected');
        // v2 keeps its history in memory only.
        assert.equal(snapshots(), api === 'v3' ? 1 : snapshots());
      } finally {
        await end();
        await other.close();
        await server.stop();
      }
    });

    test('a server that comes back empty leads to a new list', async () => {
      const server = await EtcdServer.start();
      const other = openEtcd(api, server.url);
      const { names, snapshots, watcher, end } = follow(openEtcd(api, server.url));
      try {
        for (const name of ['10.1.0.0-24', '10.2.0.0-24', '10.3.0.0-24']) {
          await other.create(name, '', undefined, patience());
        }
        await until('three leases are seen', () => names.size === 3);
        await server.kill();
        await server.forgetEverything();
        await server.launch();
        await until('all leases are gone', () => names.size === 0 && snapshots() > 1);
        await until('the watch stands', () => watcher.state.kind === 'connected');
        await other.create('10.4.0.0-24', '', undefined, patience());
        await until('a lease of the new store is seen', () => names.has('10.4.0.0-24'));
      } finally {
        await end();
        await other.close();
        await server.stop();
      }
    });

    test('a dead first endpoint costs no call, and is not asked again', async () => {
      const server = await EtcdServer.start();
      const dead = `http://127.0.0.1:${await unusedPort()}`;
      const registry = openEtcd(api, `${dead},${server.url}`);
      try {
        // A write goes on to the next endpoint, because it never reached the first one.
        const record = written(await registry.create('10.1.0.0-24', '', undefined, patience()));
        const { revision } = await registry.list(patience());
        assert.equal(await registry.remove(record, patience()), true);
        const seen = await watchFor(registry, revision, patience(), (events) => events.length > 0);
        assert.deepEqual(seen.map(nameOf), ['10.1.0.0-24']);
        await server.kill();
        const { message, reason } = await failureOf(registry.list(patience()));
        assert.equal(reason, 'unreachable');
        assert.match(message, new RegExp(`${server.url}: .*; ${dead}: connection refused$`));
      } finally {
        await registry.close();
        await server.stop();
      }
    });

    test('of two servers, the one that answers takes over from a frozen one', async () => {
      const frozen = await EtcdServer.start();
      const server = await EtcdServer.start();
      const registry = openEtcd(api, `${frozen.url},${server.url}`, { callTimeoutMs: 2_000 });
      try {
        frozen.freeze();
        assert.deepEqual((await registry.list(patience())).records, []);
      } finally {
        await registry.close();
        await frozen.stop();
        await server.stop();
      }
    });
  });
}

describe('etcd v3 in detail', () => {
  test('a store that began from nothing and counts beyond our revision is recognised', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v3', server.url);
    try {
      await registry.create('10.1.0.0-24', 'ours', undefined, patience());
      const { revision } = await registry.list(patience());
      await server.kill();
      await server.forgetEverything();
      await server.launch();
      for (let i = 0; i < 10; i++) await server.ctl('put', `/elsewhere/${i}`, 'x');
      await assert.rejects(drain(registry, revision), CompactedError);
    } finally {
      await registry.close();
      await server.stop();
    }
  });

  test('leases that came to nothing, or were taken off a key, are not left behind', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v3', server.url);
    const leases = async () => (await server.ctl('lease', 'list')).trim().split('\n').slice(1);
    try {
      const record = written(await registry.create('10.1.0.0-24', 'a', 60, patience()));
      await registry.create('10.1.0.0-24', 'b', 60, patience());
      await registry.replace({ ...record, revision: 1n }, 'c', 60, patience());
      const renewed = written(await registry.replace(record, 'd', 60, patience()));
      assert.equal((await leases()).length, 1);
      await registry.remove(renewed, patience());
      assert.deepEqual(await leases(), []);
    } finally {
      await registry.close();
      await server.stop();
    }
  });

  test('an old lease that others hung their keys on is left alone', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v3', server.url);
    try {
      const record = written(await registry.create('10.1.0.0-24', 'a', 60, patience()));
      assert.ok(record.expiry.kind === 'leased');
      await server.ctl('put', `--lease=${record.expiry.leaseId.toString(16)}`, '/elsewhere', 'x');
      await registry.replace(record, 'b', 60, patience());
      assert.match(await server.ctl('get', '/elsewhere'), /x/);
    } finally {
      await registry.close();
      await server.stop();
    }
  });

  test('a quiet watch is certain up to now, again and again, and hands out no events', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v3', server.url);
    try {
      const { revision } = await registry.list(patience());
      let marks = 0;
      for await (const batch of registry.watch(revision, patience())) {
        assert.deepEqual(batch, { events: [], revision });
        if (++marks === 3) break;
      }
    } finally {
      await registry.close();
      await server.stop();
    }
  });
});

/** So that all hosts of a large network together do not ask more than etcd can answer. */
test('the more leases there are, the later a quiet watch asks for a sign of life', async () => {
  const server = await EtcdServer.start();
  // Its time is that of the pauses that are over, however late the machine is.
  let passed = 0;
  const clock: Clock = {
    ...systemClock,
    monotonic: () => passed,
    async sleep(ms, signal) {
      const end = passed + ms;
      await systemClock.sleep(ms, signal);
      passed = Math.max(passed, end);
    },
  };
  const registry = openEtcd('v3', server.url, { watchQuietMs: 50, clock });
  try {
    const leases = 400;
    for (let n = 0; n < leases; n += 100) {
      const puts = Array.from({ length: 100 }, (_, at) => {
        const [second, third] = [Math.floor((n + at) / 256), (n + at) % 256];
        return `put /flannel-vxlan/network/subnets/10.${second}.${third}.0-24 x`;
      });
      await server.shell(
        `printf '\\n%s\\n\\n\\n' '${puts.join('\n')}' | ETCDCTL_API=3 etcdctl --endpoints=${server.url} txn`,
      );
    }
    const { revision, records } = await registry.list(patience());
    assert.equal(records.length, leases);
    const times: number[] = [];
    for await (const _ of registry.watch(revision, patience())) {
      times.push(passed);
      if (times.length === 3) break;
    }
    // The first message says that the watch is there; a question comes so many milliseconds later.
    assert.deepEqual(times, [0, leases, 2 * leases]);
  } finally {
    await registry.close();
    await server.stop();
  }
});

describe('etcd v2 in detail', () => {
  test('a quiet watch survives a busy store', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v2', server.url);
    try {
      const { revision } = await registry.list(patience());
      let resume = revision;
      let busy = false;
      for await (const batch of registry.watch(revision, patience())) {
        assert.deepEqual(batch.events, []);
        if (!busy) await server.outrunHistory();
        busy = true;
        resume = batch.revision;
        if (resume > revision + 1_000n) break;
      }
      await server.ctl2('set', '/flannel-vxlan/network/subnets/10.1.0.0-24', 'x');
      const seen = await watchFor(registry, resume, patience(), (events) => events.length > 0);
      assert.deepEqual(seen.map(nameOf), ['10.1.0.0-24']);
    } finally {
      await registry.close();
      await server.stop();
    }
  });

  test('who is far behind asks for a list, and not for one event after the other', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v2', server.url);
    try {
      const { revision } = await registry.list(patience());
      await server.outrunHistory();
      await assert.rejects(drain(registry, revision), (error) => {
        assert.ok(error instanceof CompactedError);
        assert.match(error.message, /^etcd is \d{3,} events ahead, which is more than half of its history$/);
        return true;
      });
    } finally {
      await registry.close();
      await server.stop();
    }
  });

  test('a folder below the leases is ignored, and its removal asks for a new list', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v2', server.url);
    try {
      await server.ctl2('mkdir', '/flannel-vxlan/network/subnets/folder');
      await server.ctl2('set', '/flannel-vxlan/network/subnets/10.1.0.0-24', 'x');
      const { records, revision } = await registry.list(patience());
      assert.deepEqual(
        records.map(({ name }) => name),
        ['10.1.0.0-24'],
      );
      await server.ctl2('rm', '--recursive', '/flannel-vxlan/network');
      await assert.rejects(drain(registry, revision), CompactedError);
      assert.deepEqual((await registry.list(patience())).records, []);
    } finally {
      await registry.close();
      await server.stop();
    }
  });
});
