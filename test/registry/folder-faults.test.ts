import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { LeaseWatcher } from '#src/registry/lease-watcher.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { APIS } from './open-etcd.ts';
import { openFolders } from './open-folders.ts';

const signal = () => AbortSignal.timeout(30_000);
const PATHS = ['tenants/networks', 'tenants/addresses/blue', 'tenants/addresses/red'];

/** Follows several folders over the connection that they share, and keeps the names in each. */
function follow(folders: RecordFolders) {
  const controller = new AbortController();
  const lines: string[] = [];
  const logger: Logger = { ...silentLogger, warning: (line) => lines.push(line) };
  const followed = PATHS.map((path) => {
    const names = new Set<string>();
    const registry = folders.folder(path);
    const watcher = new LeaseWatcher(
      { registry, clock: systemClock, random: systemRandom, logger },
      {
        words: { records: 'keys', known: 'what is' },
        onSnapshot({ records }) {
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
    return { path, names, watcher, running };
  });
  const all = (what: string, holds: (each: (typeof followed)[number]) => boolean): Promise<unknown> =>
    until(() => followed.every(holds), { what, timeoutMs: 30_000 });
  const end = async () => {
    controller.abort();
    await Promise.all(followed.map(({ running }) => running));
    await folders.close();
  };
  return { followed, lines, all, end };
}

for (const api of APIS) {
  test(`etcd ${api}: folders over one connection survive a server that is killed, and one that is frozen`, async (t) => {
    const server = await EtcdServer.start();
    t.after(() => server.stop());
    const other = openFolders(api, server.url);
    t.after(() => other.close());
    const { followed, lines, all, end } = follow(openFolders(api, server.url));
    t.after(end);
    const create = async (name: string) => {
      for (const path of PATHS) await other.folder(path).create(name, path, undefined, signal());
    };
    await create('one');
    await all('the first records are seen', ({ names }) => names.has('one'));
    await server.kill();
    await all('the outage is seen', ({ watcher }) => watcher.state.kind === 'retrying');
    await server.launch();
    await create('two');
    await all('the second records are seen', ({ names }) => names.has('two'));
    server.freeze();
    await all('the frozen server is seen', ({ watcher }) => watcher.state.kind === 'retrying');
    server.thaw();
    await create('three');
    await all('the third records are seen', ({ names }) => names.has('three'));
    for (const { path, names } of followed) {
      assert.deepEqual([...names].toSorted(), ['one', 'three', 'two'], path);
      const lost = lines.filter((line) => line.startsWith(`lost etcd ${api} at ${server.url}, below `));
      const ofThis = lost.filter((line) => line.includes(`/${path}, going on with what is known so far: `));
      assert.ok(ofThis.length >= 2, lines.join('\n'));
    }
  });
}
