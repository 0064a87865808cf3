import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { CompareResult, CompareTarget, SortOrder, SortTarget, WatchFilter } from '#src/etcd/names.ts';
import type { Compare, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest } from '#src/etcd/rpc.ts';
import { EtcdApi, type WatchReader } from '../support/etcd-api.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { TestStore } from '../support/store.ts';
import {
  ALL,
  bytes,
  comparable,
  compare,
  put,
  putOp,
  range,
  rangeOp,
  remove,
  removeOp,
  txn,
  txnOp,
  watched,
} from './script.ts';

/**
 * One script of calls, made to a real etcd and to the embedded store side by side, in the same order. Every answer is
 * compared, with all revisions and with the code and text of its error; left out are ids of the cluster and its term.
 */
let etcd: EtcdServer;
let store: TestStore;
let apis: readonly EtcdApi[] = [];

before(async () => {
  [etcd, store] = await Promise.all([EtcdServer.start(), TestStore.start()]);
  apis = [new EtcdApi(etcd.url), new EtcdApi(store.url)];
});

after(async () => {
  for (const api of apis) api.close();
  await Promise.all([etcd?.stop(), store?.remove()]);
});

/** Asks both, and asserts that they answer the same. Returns the answer. */
async function same(what: string, ask: (api: EtcdApi) => Promise<unknown>): Promise<unknown> {
  const [theirs, ours] = (await Promise.all(apis.map(ask))).map(comparable);
  assert.deepEqual(ours, theirs, what);
  return ours;
}
/** The same, and the answer holds this text, so that the test shows what etcd says. */
async function says(text: string, ask: (api: EtcdApi) => Promise<unknown>): Promise<void> {
  assert.match(JSON.stringify(await same(text, ask)), new RegExp(text));
}

const doPut = (request: PutRequest) => (api: EtcdApi) => api.answer(api.kv, api.kv.put, request);
const doRange = (request: RangeRequest) => (api: EtcdApi) => api.answer(api.kv, api.kv.range, request);
const doRemove = (request: DeleteRangeRequest) => (api: EtcdApi) =>
  api.answer(api.kv, api.kv.deleteRange, request);
const doTxn = (request: TxnRequest) => (api: EtcdApi) => api.answer(api.kv, api.kv.txn, request);
const doCompact = (revision: bigint) => (api: EtcdApi) =>
  api.answer(api.kv, api.kv.compact, { revision, physical: true });
const doGrant = (ID: bigint, TTL: bigint) => (api: EtcdApi) =>
  api.answer(api.lease, api.lease.leaseGrant, { ID, TTL });
const doRevoke = (ID: bigint) => (api: EtcdApi) => api.answer(api.lease, api.lease.leaseRevoke, { ID });
const revisionOf = async (): Promise<bigint> => {
  const [api] = apis;
  assert.ok(api);
  const { header } = await api.call(api.kv, api.kv.range, range('nothing'));
  return header?.revision ?? 0n;
};

suite('the embedded store answers as etcd does', () => {
  test('a new store is at revision 1', async () => {
    await says('"revision":"1n"', doRange(range('a')));
    await says('key is not provided', doRange(range('')));
  });

  test('put', async () => {
    await says('"revision":"2n"', doPut(put('a', '1')));
    await same('again, with what was', doPut(put('a', '2', { prevKv: true })));
    await same('no value', doPut(put('empty', '')));
    await same('bytes that are no text', doPut(put('\x00\xff', '\xff\xfe')));
    await says('key is not provided', doPut(put('', 'x')));
    await says('value is provided', doPut(put('a', 'x', { ignoreValue: true })));
    await says('lease is provided', doPut(put('a', 'x', { ignoreLease: true, lease: 5n })));
    await says('key not found', doPut(put('missing', '', { ignoreValue: true })));
    await says('requested lease not found', doPut(put('a', 'x', { lease: 99n })));
    await same('value kept', doPut(put('a', '', { ignoreValue: true, prevKv: true })));
    await same('all', doRange(range('\0', ALL)));
  });

  test('range: ends, limits, orders, filters', async () => {
    for (const key of ['k/1', 'k/2', 'k/3', 'k/4', 'l']) await same(key, doPut(put(key, `v${key.at(-1)}`)));
    for (const key of ['k/3', 'k/1', 'k/1']) await same(key, doPut(put(key, `w${key.at(-1)}`)));
    const k = { rangeEnd: bytes('k0') };
    const requests: Partial<RangeRequest>[] = [
      k,
      { rangeEnd: bytes('\0') },
      { rangeEnd: bytes('a') },
      { rangeEnd: bytes('k/') },
      { ...k, limit: 2n },
      { ...k, limit: 4n },
      { ...k, limit: -1n },
      { ...k, limit: 1n, countOnly: true },
      { ...k, keysOnly: true },
      { ...k, serializable: true },
      { ...k, sortOrder: SortOrder.DESCEND },
      { ...k, sortOrder: SortOrder.DESCEND, limit: 3n },
      ...Object.values(SortTarget).flatMap((sortTarget) =>
        // Keys of one version have no order among themselves.
        sortTarget === SortTarget.VERSION
          ? []
          : Object.values(SortOrder).map((sortOrder) => ({ ...k, sortTarget, sortOrder })),
      ),
      { ...k, sortTarget: SortTarget.VALUE, limit: 2n },
      { ...k, sortTarget: SortTarget.MOD, sortOrder: SortOrder.DESCEND, limit: 2n },
      { ...k, minModRevision: 9n },
      { ...k, maxModRevision: 10n },
      { ...k, minCreateRevision: 8n, maxCreateRevision: 9n },
      { ...k, minModRevision: 9n, limit: 1n },
      { ...k, revision: 9n },
      { ...k, revision: 9n, limit: 1n },
      { ...k, revision: 9n, countOnly: true },
      { ...k, revision: 2n },
      { ...k, revision: -1n },
      { revision: 7n },
    ];
    for (const request of requests) await same(String(comparable(request)), doRange(range('k/', request)));
    await says('required revision is a future revision', doRange(range('k/', { revision: 1000n })));
  });

  test('delete', async () => {
    await same('one', doRemove(remove('k/4', { prevKv: true })));
    await same('none', doRemove(remove('k/4', { prevKv: true })));
    await same('several, one revision', doRemove(remove('k/2', { rangeEnd: bytes('k/9') })));
    await says('key is not provided', doRemove(remove('')));
    await same('a key that begins again', doPut(put('k/2', 'again')));
    await same('what is left', doRange(range('\0', ALL)));
  });

  test('txn: comparisons', async () => {
    const { EQUAL, GREATER, LESS, NOT_EQUAL } = CompareResult;
    const { VERSION, CREATE, MOD, VALUE, LEASE } = CompareTarget;
    const value = (text: string): Compare['targetUnion'] => ({ $case: 'value', value: bytes(text) });
    const version = (count: bigint): Compare['targetUnion'] => ({ $case: 'version', version: count });
    const conditions: Compare[] = [EQUAL, GREATER, LESS, NOT_EQUAL].flatMap((result) => [
      compare('k/1', VALUE, result, value('w1')),
      compare('k/1', VALUE, result, value('w2')),
      compare('k/1', VALUE, result, undefined),
      compare('missing', VALUE, result, value('')),
      compare('k/1', VERSION, result, version(3n)),
      compare('missing', VERSION, result, version(0n)),
      compare('k/1', CREATE, result, { $case: 'createRevision', createRevision: 6n }),
      compare('k/1', MOD, result, { $case: 'modRevision', modRevision: 12n }),
      compare('k/1', LEASE, result, { $case: 'lease', lease: 0n }),
      compare('k/', VERSION, result, version(1n), 'k0'),
      compare('x/', VERSION, result, version(0n), 'x0'),
      compare('x/', VALUE, result, value(''), 'x0'),
      compare('k/1', MOD, result, version(3n)),
    ]);
    for (const condition of conditions) {
      await same(JSON.stringify(comparable(condition)), doTxn(txn([condition], [], [rangeOp(range('l'))])));
    }
    await same('an unknown comparison', doTxn(txn([compare('a', VERSION, 9, version(7n))], [])));
    await same('an unknown target', doTxn(txn([compare('a', 9, EQUAL, version(7n))], [])));
  });

  test('txn: one revision, changes in order, reads that see them', async () => {
    await same(
      'put, read, delete, read',
      doTxn(
        txn(
          [],
          [
            putOp(put('t/1', 'one', { prevKv: true })),
            rangeOp(range('t/', { rangeEnd: bytes('t0') })),
            putOp(put('t/2', 'two')),
            removeOp(remove('l', { prevKv: true })),
            rangeOp(range('l')),
            rangeOp(range('k/1', { revision: 9n })),
          ],
        ),
      ),
    );
    await same('nothing to do is no revision', doTxn(txn([], [removeOp(remove('none'))])));
    await same('empty', doTxn(txn([], [])));
    await same(
      'nested, chosen by what was before',
      doTxn(
        txn(
          [],
          [
            putOp(put('t/1', 'changed')),
            txnOp(
              txn(
                [
                  compare('t/1', CompareTarget.VALUE, CompareResult.EQUAL, {
                    $case: 'value',
                    value: bytes('one'),
                  }),
                ],
                [putOp(put('t/3', 'was one'))],
                [putOp(put('t/3', 'was not one'))],
              ),
            ),
            rangeOp(range('t/', { rangeEnd: bytes('t0') })),
          ],
        ),
      ),
    );
    await same('history of a txn', doRange(range('t/', { rangeEnd: bytes('t0'), revision: 21n })));
  });

  test('txn: what is refused', async () => {
    const many = (count: number) => Array.from({ length: count }, (_, n) => putOp(put(`m/${n}`, '')));
    await says('duplicate key given', doTxn(txn([], [putOp(put('d', '1')), putOp(put('d', '2'))])));
    await says('duplicate key given', doTxn(txn([], [putOp(put('d', '1')), removeOp(remove('d'))])));
    await says(
      'duplicate key given',
      doTxn(txn([], [removeOp(remove('c', { rangeEnd: bytes('e') })), putOp(put('d', '1'))])),
    );
    await says(
      'duplicate key given',
      doTxn(txn([], [putOp(put('d', '1')), txnOp(txn([], [putOp(put('d', '2'))]))])),
    );
    await says(
      'duplicate key given',
      doTxn(txn([], [], [txnOp(txn([], [putOp(put('d', '2'))])), txnOp(txn([], [putOp(put('d', '2'))]))])),
    );
    await same(
      'both branches of one nested txn may put it',
      doTxn(txn([], [txnOp(txn([], [putOp(put('d', '2'))], [putOp(put('d', '3'))]))])),
    );
    await same('deletes may overlap', doTxn(txn([], [removeOp(remove('d')), removeOp(remove('d'))])));
    await same('128 operations', doTxn(txn([], many(128))));
    await says('too many operations', doTxn(txn([], many(129))));
    await says('too many operations', doTxn(txn([], [...many(100), txnOp(txn([], many(29)))])));
    await says('key is not provided', doTxn(txn([], [], [rangeOp(range(''))])));
    await says('key is not provided', doTxn(txn([compare('', 0, 0, undefined)], [])));
    await says('key not found', doTxn(txn([], [{ request: undefined }])));
    await says(
      'key not found',
      doTxn(txn([], [putOp(put('q', '1')), putOp(put('r', '', { ignoreValue: true }))])),
    );
    await says(
      'requested lease not found',
      doTxn(txn([], [putOp(put('q', '1')), putOp(put('r', '', { lease: 7n }))])),
    );
    await says(
      'future revision',
      doTxn(txn([], [putOp(put('q', '1')), rangeOp(range('q', { revision: 999n }))])),
    );
    await same('nothing of it was done', doRange(range('q', { rangeEnd: bytes('s') })));
    await says('request is too large', doPut(put('large', 'x'.repeat(1600 * 1024))));
  });

  test('compaction', async () => {
    await says('future revision', doCompact(1000n));
    await same('at 10', doCompact(10n));
    await says('has been compacted', doCompact(10n));
    await says('has been compacted', doCompact(3n));
    await says('has been compacted', doRange(range('k/', { rangeEnd: bytes('k0'), revision: 9n })));
    await says('has been compacted', doTxn(txn([], [rangeOp(range('k/1', { revision: 9n }))])));
    for (const revision of [10n, 11n, 15n, 16n]) {
      await same(`read at ${revision}`, doRange(range('\0', { ...ALL, revision })));
    }
    await same('at the current revision', doCompact(await revisionOf()));
    await same('all', doRange(range('\0', ALL)));
  });

  test('leases', async () => {
    await same('grant', doGrant(71n, 600n));
    await says('lease already exists', doGrant(71n, 600n));
    await says('too large lease TTL', doGrant(72n, 9_000_000_001n));
    await says('"TTL":"2n"', doGrant(73n, 1n));
    await same('a negative TTL', doGrant(74n, -5n));
    await same('a negative id', doGrant(-75n, 500n));
    for (const key of ['le/2', 'le/1', 'le/3']) await same(key, doPut(put(key, 'x', { lease: 71n })));
    await same('the lease kept', doPut(put('le/1', 'y', { ignoreLease: true })));
    await same('the lease left', doPut(put('le/3', 'y')));
    const timeToLive = (ID: bigint) => async (api: EtcdApi) => {
      const answer = await api.call(api.lease, api.lease.leaseTimeToLive, { ID, keys: true });
      // Between two reads of two clocks a second may end.
      const near = answer.TTL >= answer.grantedTTL - 2n && answer.TTL <= answer.grantedTTL;
      const keys = answer.keys.toSorted(Buffer.compare);
      return { ...answer, keys, TTL: answer.TTL < 0 ? answer.TTL : near };
    };
    await same('what is left', timeToLive(71n));
    await same('of none', timeToLive(1234n));
    await same('keep alive', (api) => api.keepAlive(71n));
    await same('keep none alive', (api) => api.keepAlive(1234n));
    await same('by lease', doRange(range('le/', { rangeEnd: bytes('le0') })));
    await same('list', async (api) => {
      const { leases } = await api.call(api.lease, api.lease.leaseLeases, {});
      return leases.map(({ ID }) => ID).filter((ID) => ID === 71n || ID === -75n);
    });
    await same('revoke', doRevoke(71n));
    await says('requested lease not found', doRevoke(71n));
    await same('its keys are gone', doRange(range('le/', { rangeEnd: bytes('le0') })));
    await same('revoke without keys is no revision', doRevoke(-75n));
    await same('and now', doRange(range('nothing')));
  });

  test('an expired lease takes its keys, in one revision', async () => {
    await same('grant', doGrant(81n, 2n));
    const first = (await revisionOf()) + 1n;
    await same(
      'put',
      doTxn(
        txn(
          [],
          ['ex/2', 'ex/1'].map((key) => putOp(put(key, '', { lease: 81n }))),
        ),
      ),
    );
    await same('watch', async (api) => {
      const watch = api.watch();
      watch.create({ key: bytes('ex/'), rangeEnd: bytes('ex0'), startRevision: first });
      let gone = 0;
      const messages = await watch.until(({ events }) => {
        gone += events.filter(({ type }) => type === 1).length;
        return gone === 2;
      });
      watch.end();
      return watched(messages).slice(1);
    });
    await same('gone', doRange(range('ex/', { rangeEnd: bytes('ex0') })));
  });
});

suite('the embedded store is watched as etcd is', () => {
  let start: bigint;
  before(async () => {
    start = (await revisionOf()) + 1n;
    await same('1', doPut(put('w/a', '1')));
    await same('2', doTxn(txn([], [putOp(put('w/b', '1')), putOp(put('w/a', '2'))])));
    await same('3', doRemove(remove('w/a')));
    await same('4', doPut(put('w/a', '3')));
    await same('5', doPut(put('x', 'outside')));
  });

  const key = bytes('w/');
  const rangeEnd = bytes('w0');
  /** Watches on both until `count` events were seen, and compares what came. */
  const sameWatch = (
    what: string,
    count: number,
    begin: (watch: WatchReader) => void,
    act?: () => Promise<void>,
  ) =>
    same(what, async (api) => {
      const watch = api.watch();
      begin(watch);
      const created = await watch.next();
      await act?.();
      let seen = 0;
      const messages: (typeof created)[] = [created];
      while (seen < count) {
        const message = await watch.next();
        seen += Math.max(1, message.events.length);
        messages.push(message);
      }
      watch.end();
      return watched(messages);
    });

  test('history, with and without what was before', async () => {
    await sameWatch('from the start', 5, (watch) => watch.create({ key, rangeEnd, startRevision: start }));
    await sameWatch('prev_kv', 5, (watch) =>
      watch.create({ key, rangeEnd, startRevision: start, prevKv: true }),
    );
    await sameWatch('one key', 4, (watch) => watch.create({ key: bytes('w/a'), startRevision: start }));
    await sameWatch('to the end', 6, (watch) =>
      watch.create({ key, rangeEnd: bytes('\0'), startRevision: start }),
    );
    await sameWatch('no puts', 1, (watch) =>
      watch.create({ key, rangeEnd, startRevision: start, filters: [WatchFilter.NOPUT] }),
    );
    await sameWatch('no deletes', 4, (watch) =>
      watch.create({ key, rangeEnd, startRevision: start, filters: [WatchFilter.NODELETE] }),
    );
  });

  test('several watchers on one stream, ids given and chosen', async () => {
    await same('watchers', async (api) => {
      const watch = api.watch();
      const messages = [];
      for (const watchId of [0n, 7n, 0n, 7n, 0n]) {
        watch.create({ key: bytes(`never${watchId}`), watchId });
        messages.push(await watch.next());
      }
      watch.create({ key: bytes('b'), rangeEnd: bytes('a') });
      messages.push(await watch.next());
      watch.cancel(7n);
      messages.push(await watch.next());
      watch.cancel(99n);
      watch.create({ key: bytes('last') });
      messages.push(await watch.next());
      watch.end();
      return watched(messages);
    });
  });

  test('live, from now and from a revision to come', async () => {
    const now = await revisionOf();
    const watches = await Promise.all(
      apis.map(async (api) => {
        const watch = api.watch();
        watch.create({ key, rangeEnd });
        watch.create({ key, rangeEnd, startRevision: now + 3n, prevKv: true });
        await watch.next();
        await watch.next();
        return watch;
      }),
    );
    for (const value of ['1', '2', '3', '4']) await same(value, doPut(put('w/live', value)));
    await same('delete', doRemove(remove('w/live')));
    const seen = await Promise.all(
      watches.map(async (watch) => {
        let left = 8;
        const messages = await watch.until(({ events }) => {
          left -= events.length;
          return left === 0;
        });
        watch.end();
        const events = watched(messages) as { watchId: string }[];
        return events.toSorted((a, b) => a.watchId.localeCompare(b.watchId));
      }),
    );
    assert.deepEqual(seen[1], seen[0]);
  });

  test('progress on request', async () => {
    await same('progress', async (api) => {
      const watch = api.watch();
      watch.create({ key });
      await watch.next();
      watch.askProgress();
      const message = await watch.next();
      watch.end();
      return watched([message]);
    });
  });

  test('a start that is compacted', async () => {
    const revision = await revisionOf();
    await same('compact', doCompact(revision));
    await sameWatch('before it', 1, (watch) => watch.create({ key, rangeEnd, startRevision: revision - 1n }));
    await same('one more', doPut(put('w/z', 'after')));
    await sameWatch('after it', 1, (watch) => watch.create({ key, rangeEnd, startRevision: revision + 1n }));
    await sameWatch('prev_kv that is compacted', 1, (watch) =>
      watch.create({ key, rangeEnd, startRevision: revision + 1n, prevKv: true }),
    );
  });
});
