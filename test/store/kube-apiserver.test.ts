import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { KubeApiServer, type KubeEvent, kubeApiServerProgram } from '../support/kube-api-server.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { unusedPort } from '../support/unused-port.ts';
import { range } from './script.ts';
import { StoreProcess } from './store-process.ts';

/**
 * Kubernetes' API server with the store in etcd's place: the client that uses most of etcd's API. It lists in pages,
 * writes by comparison, watches with progress, compacts, and keeps its events with leases.
 */
const NODES = 200;
const CONFIG_MAPS = Number(process.env.WEFT_KUBE_CONFIGMAPS ?? 1_000);
const WRITERS = 8;
const KILLS = 5;
/** Acknowledged writes before each kill. */
const WRITES = Math.max(50, CONFIG_MAPS / (KILLS + 1));

const MAPS = '/api/v1/namespaces/default/configmaps';
const { program, skip } = kubeApiServerProgram();

const configMap = (name: string, value: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  data: { value },
});

/** Lines of its log about etcd, from warnings up. klog begins each with the first letter of its level. */
const complaints = (log: string): string[] =>
  log
    .split('\n')
    .filter((line) => /^[WEF]\d/.test(line) && /etcd|mvcc|rpc error|\[core\]|watch chan/i.test(line));

/**
 * What it complains of, at etcd too, when that is killed: lost connections, and watches of what seldom changes, whose
 * revision is compacted when they come back.
 */
const OF_KILLS = /connection refused|connection reset|EOF|broken pipe|required revision has been compacted/;

interface Backend {
  readonly url: string;
  /** kill -9, and a start with the same data. */
  restart(): Promise<void>;
}

async function startStore(context: TestContext): Promise<Backend> {
  const [folder, port] = [scratchFolder(context), await unusedPort()];
  let store = await StoreProcess.start({ folder, port });
  context.after(() => store.kill());
  return {
    url: store.url,
    async restart() {
      await store.kill();
      store = await StoreProcess.start({ folder, port });
    },
  };
}

async function startEtcd(context: TestContext): Promise<Backend> {
  const etcd = await EtcdServer.start();
  context.after(() => etcd.stop());
  return {
    url: etcd.url,
    async restart() {
      await etcd.kill();
      await etcd.launch();
    },
  };
}

async function startApiServer(context: TestContext, { url }: Backend): Promise<KubeApiServer> {
  const args = ['--etcd-compaction-interval=5s'];
  const server = await KubeApiServer.start(program, { etcd: url, args });
  context.after(() => server.stop());
  return server;
}

test('the API server uses progress requests: WatchList, and a watch without a revision', {
  skip,
}, async (context) => {
  const store = await startStore(context);
  const server = await startApiServer(context, store);
  const stop = AbortSignal.timeout(20_000);
  for (const query of [
    'allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan',
    'allowWatchBookmarks=true',
  ]) {
    const seen: KubeEvent[] = [];
    for await (const event of server.watch('/api/v1/namespaces', query, stop)) {
      seen.push(event);
      const names = seen.map(({ object }) => object.metadata?.name);
      if (names.includes('kube-system') && event.type === 'BOOKMARK') break;
    }
    assert.equal(seen.at(-1)?.type, 'BOOKMARK', JSON.stringify(seen));
  }
  assert.doesNotMatch(server.log, /RequestWatchProgress/);
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'one' },
    involvedObject: { namespace: 'default' },
  };
  assert.equal((await server.call('POST', '/api/v1/namespaces/default/events', event)).status, 201);
  const api = new EtcdApi(store.url);
  context.after(() => api.close());
  const { kvs } = await api.call(api.kv, api.kv.range, range('/registry/events/default/one'));
  assert.notEqual(kvs[0]?.lease, 0n);
  assert.deepEqual(complaints(server.log), []);
});

/** Config maps as the writers know them: what was acknowledged, and what may have been written. */
class Ledger {
  /** Name to the values it may have now; none: it may be absent. */
  readonly expected = new Map<string, Set<string | undefined>>();
  acknowledged = 0;
  unknown = 0;

  attempt(name: string, value: string | undefined): void {
    const values = this.expected.get(name) ?? new Set([undefined]);
    this.expected.set(name, values.add(value));
  }

  acknowledge(name: string, value: string | undefined): void {
    this.expected.set(name, new Set([value]));
    this.acknowledged++;
  }

  /** What is not as it was acknowledged. */
  lost(found: ReadonlyMap<string, string | undefined>): string[] {
    return Array.from(this.expected)
      .filter(([name, values]) => !values.has(found.get(name)))
      .map(([name, values]) => `${name}: ${found.get(name)}, not ${[...values].join(' or ')}`);
  }
}

/** Creates, changes and deletes config maps of its own until it is stopped. */
async function write(
  server: KubeApiServer,
  ledger: Ledger,
  writer: number,
  stop: AbortSignal,
): Promise<void> {
  for (let n = 0; !stop.aborted; n++) {
    const old = `w${writer}-${n - 3}`;
    const [method, name, value] =
      n % 4 === 3
        ? (['PUT', old, `changed ${n}`] as const)
        : n % 10 === 8
          ? (['DELETE', old, undefined] as const)
          : (['POST', `w${writer}-${n}`, `${n}`] as const);
    ledger.attempt(name, value);
    const path = method === 'POST' ? MAPS : `${MAPS}/${name}`;
    const answer = await server
      .call(method, path, value === undefined ? undefined : configMap(name, value))
      .catch(() => undefined);
    if (answer !== undefined && answer.status < 300) ledger.acknowledge(name, value);
    else ledger.unknown++;
  }
}

/** Keeps what a list and the watches after it said, as an informer does. */
class Informer {
  readonly values = new Map<string, string | undefined>();
  lists = 0;
  readonly #server: KubeApiServer;

  constructor(server: KubeApiServer) {
    this.#server = server;
  }

  async run(stop: AbortSignal): Promise<void> {
    for (let revision: string | undefined; !stop.aborted; ) {
      try {
        revision ??= await this.#list();
        const query = `allowWatchBookmarks=true&resourceVersion=${revision}`;
        for await (const { type, object } of this.#server.watch(MAPS, query, stop)) {
          if (type === 'ERROR') {
            revision = undefined;
            break;
          }
          revision = object.metadata?.resourceVersion;
          if (type === 'DELETED') this.values.delete(object.metadata?.name ?? '');
          else if (type !== 'BOOKMARK') this.values.set(object.metadata?.name ?? '', object.data?.value);
        }
      } catch {
        // The connection ended, or the server is not ready: again, from the same revision.
      }
    }
  }

  async #list(): Promise<string> {
    const { revision, items } = await this.#server.list(MAPS);
    this.lists++;
    this.values.clear();
    for (const { metadata, data } of items) this.values.set(metadata?.name ?? '', data?.value);
    return revision;
  }
}

for (const [name, start] of [
  ['the store', startStore],
  ['etcd', startEtcd],
] as const)
  test(`${KILLS} times kill -9 of ${name} under the API server lose no acknowledged write`, {
    skip,
  }, async (context) => {
    const backend = await start(context);
    const server = await startApiServer(context, backend);
    const started = performance.now();
    const stop = new AbortController();
    context.after(() => stop.abort());
    for (let n = 0; n < NODES; n++) {
      const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: `node-${n}` } };
      const { status } = await server.call('POST', '/api/v1/nodes', node);
      assert.equal(status, 201);
    }
    assert.deepEqual(complaints(server.log), []);

    const ledger = new Ledger();
    const informer = new Informer(server);
    const informed = informer.run(stop.signal);
    const writing = new AbortController();
    const writers = Array.from({ length: WRITERS }, (_, n) => write(server, ledger, n, writing.signal));
    const more = async (): Promise<void> => {
      const wanted = ledger.acknowledged + WRITES;
      await until(() => ledger.acknowledged >= wanted, { what: `${WRITES} more writes`, timeoutMs: 60_000 });
    };
    for (let kill = 0; kill < KILLS; kill++) {
      await more();
      await backend.restart();
    }
    await more();
    writing.abort();
    await Promise.all(writers);

    const { items } = await server.list(MAPS);
    const found = new Map(items.map(({ metadata, data }) => [metadata?.name ?? '', data?.value]));
    assert.deepEqual(ledger.lost(found), []);
    assert.equal((await server.list('/api/v1/nodes')).items.length, NODES);
    assert.deepEqual(
      [...found.keys()].filter((name) => !ledger.expected.has(name)),
      [],
    );
    const agrees = () => informer.values.size === items.length && ledger.lost(informer.values).length === 0;
    await until(agrees, { what: 'agreement of the watch', timeoutMs: 20_000 });
    stop.abort();
    await informed;

    // Read past the API server, whose lists come from its own memory.
    const api = new EtcdApi(backend.url);
    context.after(() => api.close());
    const prefix = '/registry/configmaps/default/';
    const { count } = await api.call(
      api.kv,
      api.kv.range,
      range(prefix, { rangeEnd: Buffer.from(`${prefix.slice(0, -1)}0`), countOnly: true }),
    );
    assert.equal(count, BigInt(items.length));
    assert.deepEqual(
      complaints(server.log).filter((line) => !OF_KILLS.test(line)),
      [],
    );
    context.diagnostic(
      `${ledger.acknowledged} acknowledged writes, 0 lost; ${ledger.unknown} without an answer; ` +
        `${items.length} config maps, ${informer.lists} lists of the watcher; ` +
        `${((performance.now() - started) / 1000).toFixed(0)} s`,
    );
  });
