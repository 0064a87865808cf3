import {
  AlarmRequest,
  AuthenticateRequest,
  AuthService,
  CompactionRequest,
  DeleteRangeRequest,
  HashKVRequest,
  KVService,
  LeaseGrantRequest,
  LeaseKeepAliveRequest,
  LeaseRevokeRequest,
  LeaseService,
  LeaseTimeToLiveRequest,
  MaintenanceService,
  PutRequest,
  RangeRequest,
  type RequestOp,
  TxnRequest,
  WatchRequest,
  WatchService,
} from '#src/etcd/rpc.ts';
import type { Random } from './random.ts';

/** Requests whose every field may hold anything. Keys are few, so that they meet; none is that of the sentinel. */

const key = (random: Random): Buffer =>
  random.once(12)
    ? random.bytes(300)
    : Buffer.from(random.pick(['', 'a', 'a\0', 'b', 'b/1', 'c', '\0', '\xff']));

/** Ranges that begin here end before the sentinel's key. */
const end = (random: Random): Buffer => Buffer.from(random.pick(['', '', 'a', 'b', 'b0', 'c', 'd']));
const value = (random: Random): Buffer =>
  random.once(30) ? Buffer.alloc(random.int(1_600_000)) : random.bytes(40);
const flag = (random: Random): boolean => random.once(3);

function range(random: Random): RangeRequest {
  return RangeRequest.create({
    key: key(random),
    rangeEnd: random.once(6) ? Buffer.of(0) : end(random),
    limit: random.int64(),
    revision: random.once(2) ? 0n : random.int64(),
    sortOrder: random.int(4) - 1,
    sortTarget: random.int(6) - 1,
    serializable: flag(random),
    keysOnly: flag(random),
    countOnly: flag(random),
    minModRevision: random.once(2) ? 0n : random.int64(),
    maxModRevision: random.once(2) ? 0n : random.int64(),
    minCreateRevision: random.once(2) ? 0n : random.int64(),
    maxCreateRevision: random.once(2) ? 0n : random.int64(),
  });
}

function put(random: Random): PutRequest {
  return PutRequest.create({
    key: key(random),
    value: value(random),
    lease: random.once(2) ? 0n : random.int64(),
    prevKv: flag(random),
    ignoreValue: random.once(10),
    ignoreLease: random.once(10),
  });
}

function remove(random: Random): DeleteRangeRequest {
  return DeleteRangeRequest.create({ key: key(random), rangeEnd: end(random), prevKv: flag(random) });
}

function txn(random: Random, depth: number): TxnRequest {
  const ops = (): RequestOp[] =>
    Array.from({ length: random.int(random.once(20) ? 140 : 4) }, () => op(random, depth));
  const compare = Array.from({ length: random.int(3) }, () => ({
    result: random.int(5) - 1,
    target: random.int(6) - 1,
    key: key(random),
    rangeEnd: random.once(3) ? end(random) : Buffer.alloc(0),
    targetUnion: random.pick([
      undefined,
      { $case: 'version', version: random.int64() } as const,
      { $case: 'createRevision', createRevision: random.int64() } as const,
      { $case: 'modRevision', modRevision: random.int64() } as const,
      { $case: 'lease', lease: random.int64() } as const,
      { $case: 'value', value: value(random) } as const,
    ]),
  }));
  return TxnRequest.create({ compare, success: ops(), failure: ops() });
}

function op(random: Random, depth: number): RequestOp {
  switch (random.int(depth > 0 ? 4 : 3)) {
    case 0:
      return { request: { $case: 'requestRange', requestRange: range(random) } };
    case 1:
      return { request: { $case: 'requestPut', requestPut: put(random) } };
    case 2:
      return { request: { $case: 'requestDeleteRange', requestDeleteRange: remove(random) } };
    case 3:
      return { request: undefined };
    default:
      return { request: { $case: 'requestTxn', requestTxn: txn(random, depth - 1) } };
  }
}

export function txnRequest(random: Random): Buffer {
  return Buffer.from(TxnRequest.encode(txn(random, random.int(4))).finish());
}

export function watchRequest(random: Random): Buffer {
  const request = random.int(4);
  if (request === 0) {
    return encoded(WatchRequest, {
      requestUnion: { $case: 'cancelRequest', cancelRequest: { watchId: random.int64() } },
    });
  }
  if (request === 1)
    return encoded(WatchRequest, { requestUnion: { $case: 'progressRequest', progressRequest: {} } });
  const createRequest = {
    key: key(random),
    rangeEnd: random.once(3) ? Buffer.of(0) : end(random),
    startRevision: random.int64(),
    progressNotify: flag(random),
    filters: Array.from({ length: random.int(3) }, () => random.int(3) - 1),
    prevKv: flag(random),
    watchId: random.int64(),
    fragment: flag(random),
  };
  return encoded(WatchRequest, { requestUnion: { $case: 'createRequest', createRequest } });
}

function encoded<Message>(
  type: { encode(message: Message): { finish(): Uint8Array } },
  message: Message,
): Buffer {
  return Buffer.from(type.encode(message).finish());
}

export function anyRequest(random: Random): { readonly path: string; readonly bytes: Buffer } {
  const id = random.int64();
  switch (random.int(14)) {
    case 0:
      return { path: KVService.range.path, bytes: encoded(RangeRequest, range(random)) };
    case 1:
      return { path: KVService.put.path, bytes: encoded(PutRequest, put(random)) };
    case 2:
      return { path: KVService.deleteRange.path, bytes: encoded(DeleteRangeRequest, remove(random)) };
    case 3:
      return { path: KVService.txn.path, bytes: txnRequest(random) };
    case 4:
      return {
        path: KVService.compact.path,
        bytes: encoded(CompactionRequest, { revision: id, physical: flag(random) }),
      };
    case 5:
      return {
        path: LeaseService.leaseGrant.path,
        bytes: encoded(LeaseGrantRequest, { ID: id, TTL: random.int64() }),
      };
    case 6:
      return { path: LeaseService.leaseRevoke.path, bytes: encoded(LeaseRevokeRequest, { ID: id }) };
    case 7:
      return { path: LeaseService.leaseKeepAlive.path, bytes: encoded(LeaseKeepAliveRequest, { ID: id }) };
    case 8:
      return {
        path: LeaseService.leaseTimeToLive.path,
        bytes: encoded(LeaseTimeToLiveRequest, { ID: id, keys: true }),
      };
    case 9:
      return {
        path: AuthService.authenticate.path,
        bytes: encoded(AuthenticateRequest, { name: 'a', password: '\0' }),
      };
    case 10:
      return {
        path: MaintenanceService.alarm.path,
        bytes: encoded(AlarmRequest, { action: random.pick([0, 2, 3]), memberID: 0n, alarm: random.int(3) }),
      };
    case 11:
      return { path: MaintenanceService.hashKv.path, bytes: encoded(HashKVRequest, { revision: id }) };
    case 12:
      return {
        path: random.pick([
          MaintenanceService.snapshot.path,
          MaintenanceService.defragment.path,
          MaintenanceService.hash.path,
          LeaseService.leaseLeases.path,
        ]),
        bytes: Buffer.alloc(0),
      };
    default:
      return { path: WatchService.watch.path, bytes: watchRequest(random) };
  }
}
