import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CompactionRequest } from '#src/etcd/rpc.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import type { RecordFolders, WatchEvent } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { put } from '../store/script.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { TestStore } from '../support/store.ts';
import { type Api, PREFIX } from './open-etcd.ts';
import { openFolders } from './open-folders.ts';
import { nameOf, recordsSuite, watchFor, written } from './records-compliance.ts';

const FOLDER = 'tenants/addresses/blue';
const NEIGHBOUR = `${PREFIX}/tenants/addresses/blue-extra/x`;
const signal = () => AbortSignal.timeout(20_000);

interface Store {
  readonly folders: RecordFolders;
  /** A second client of the same store. */
  readonly other: RecordFolders;
  compact(): Promise<void>;
  writeNeighbour?(): Promise<void>;
  close(): Promise<void>;
}

/** Both clients of a server; the first one's prefix is spelled as Go's path.Join would clean it. */
function clients(api: Api, url: string): Pick<Store, 'folders' | 'other'> {
  return { folders: openFolders(api, url, '/flannel-vxlan//network/'), other: openFolders(api, url) };
}

const STORES: Readonly<Record<string, () => Promise<Store>>> = {
  async memory() {
    const folders = new MemoryRecordFolders({ clock: systemClock });
    const compact = async () => folders.folder(FOLDER).compact();
    return { folders, other: folders, compact, close: () => folders.close() };
  },
  async 'etcd v3'() {
    const server = await EtcdServer.start();
    const both = clients('v3', server.url);
    return {
      ...both,
      async compact() {
        const { revision } = await both.folders.folder(FOLDER).list(signal());
        await server.ctl('compact', String(revision));
      },
      async writeNeighbour() {
        await server.ctl('put', NEIGHBOUR, 'beside');
      },
      async close() {
        await both.folders.close();
        await both.other.close();
        await server.stop();
      },
    };
  },
  async 'etcd v3, served by the embedded store'() {
    const server = await TestStore.start();
    const api = new EtcdApi(server.url);
    const both = clients('v3', server.url);
    return {
      ...both,
      async compact() {
        const { revision } = await both.folders.folder(FOLDER).list(signal());
        await api.call(api.kv, api.kv.compact, CompactionRequest.create({ revision }));
      },
      async writeNeighbour() {
        await api.call(api.kv, api.kv.put, put(NEIGHBOUR, 'beside'));
      },
      async close() {
        await both.folders.close();
        await both.other.close();
        api.close();
        await server.remove();
      },
    };
  },
  async 'etcd v2'() {
    const server = await EtcdServer.start();
    const both = clients('v2', server.url);
    return {
      ...both,
      compact: () => server.outrunHistory(),
      async writeNeighbour() {
        await server.ctl2('set', NEIGHBOUR, 'beside');
      },
      async close() {
        await both.folders.close();
        await both.other.close();
        await server.stop();
      },
    };
  },
};

for (const [name, open] of Object.entries(STORES)) {
  recordsSuite(`a folder in ${name}`, async () => {
    const { folders, other, ...store } = await open();
    return { ...store, records: folders.folder(FOLDER), other: other.folder(FOLDER) };
  });

  describe(`folders of records: ${name}`, () => {
    const withStore = async (act: (store: Store) => Promise<void>): Promise<void> => {
      const store = await open();
      try {
        await act(store);
      } finally {
        await store.close();
      }
    };

    test('addresses of both families are names', () =>
      withStore(async ({ folders, other }) => {
        const names = ['10.5.0.7', 'fd00:5::7', '2001:db8:1:2:3:4:5:6', 'fd00::1:0:0:1'];
        const records = folders.folder(FOLDER);
        for (const each of names) written(await records.create(each, `of ${each}`, undefined, signal()));
        const listed = await other.folder(FOLDER).list(signal());
        const values = Object.fromEntries(listed.records.map((record) => [record.name, record.value]));
        assert.deepEqual(values, Object.fromEntries(names.map((each) => [each, `of ${each}`])));
        for (const each of names) assert.equal((await records.read(each, signal()))?.value, `of ${each}`);
      }));

    test('folders do not see each other’s records, and are watched side by side', () =>
      withStore(async ({ folders, other }) => {
        const paths = [
          'tenants/networks',
          'tenants/vnis',
          'tenants/addresses/blue',
          'tenants/addresses/blue2',
        ];
        const opened = paths.map((path) => folders.folder(path));
        const watches: Promise<readonly WatchEvent[]>[] = [];
        for (const records of opened) {
          const { revision } = await records.list(signal());
          watches.push(watchFor(records, revision, signal(), (events) => events.length >= 3));
        }
        // Closed are the records of a folder that nobody watches: the others do not notice.
        await folders.folder('tenants/hosts').close();
        for (const at of [0, 1]) {
          for (const path of paths)
            written(await other.folder(path).create(`${path.length}-${at}`, path, 600, signal()));
        }
        for (const records of opened) {
          const [first] = (await records.list(signal())).records;
          assert.ok(first);
          assert.equal(await records.remove(first, signal()), true);
        }
        for (const [at, events] of (await Promise.all(watches)).entries()) {
          const length = paths[at]?.length;
          assert.deepEqual(
            events.map(({ type }) => type),
            ['put', 'put', 'removed'],
          );
          assert.deepEqual(events.slice(0, 2).map(nameOf), [`${length}-0`, `${length}-1`]);
        }
      }));
  });
}

for (const api of ['v3', 'v2'] as const) {
  test(`etcd ${api}: errors name the key or the folder`, async () => {
    const folders = openFolders(api, 'http://127.0.0.1:1');
    const records = folders.folder('tenants/networks');
    const place = `${PREFIX}/tenants/networks`;
    await assert.rejects(records.list(signal()), {
      message: new RegExp(`^cannot list the keys below ${place}: `),
    });
    await assert.rejects(records.create('blue', '', undefined, signal()), {
      message: new RegExp(`^cannot write the key ${place}/blue: `),
    });
    assert.equal(records.description, `etcd ${api} at http://127.0.0.1:1, below ${place}`);
    await folders.close();
  });
}
