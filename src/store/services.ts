import { AlarmAction, AlarmType } from '#src/etcd/names.ts';
import {
  type AlarmRequest,
  type AlarmResponse,
  AuthService,
  ClusterService,
  KVService,
  LeaseService,
  MaintenanceService,
  WatchService,
} from '#src/etcd/rpc.ts';
import { status } from '#src/grpc/grpc-status.ts';
import type { AuthTokens } from '#src/store/auth-tokens.ts';
import { EtcdError, etcdError } from '#src/store/etcd-error.ts';
import type { GrpcServer, Method } from '#src/store/grpc-server.ts';
import { hashHistory } from '#src/store/history-hash.ts';
import type { LoginPauses } from '#src/store/login-pauses.ts';
import type { RevisionStore } from '#src/store/revision-store.ts';
import type { Snapshots } from '#src/store/snapshot.ts';
import { serveKeepAlive, serveWatch } from '#src/store/stream-services.ts';
import type { WatchHub } from '#src/store/watch-hub.ts';
import type { WatchStream } from '#src/store/watch-stream.ts';
import { WatcherQuotas } from '#src/store/watcher-quotas.ts';

/** Some 10,000 watchers with short keys on each connection, and ten times as many in all. */
const WATCHER_BYTES = { perConnection: 12 << 20, total: 128 << 20 };

export interface ServiceComponents {
  readonly store: RevisionStore;
  readonly hub: WatchHub;
  readonly tokens: AuthTokens;
  readonly logins: LoginPauses;
  readonly snapshots: Snapshots;
}

export interface ServiceOptions {
  /** For `endpoint status`. */
  readonly version: string;
  /** Where clients reach the store, for `member list`; known once it listens. */
  readonly clientUrl: () => string;
  /** Bytes of the largest write. */
  readonly maxRequestBytes: number;
}

export interface Services {
  /** Sends progress to the watchers that asked for it. */
  progressTick(): void;
  /** Ends every stream. */
  close(): void;
}

/** Everything of etcd's API that is served. What is not named here is UNIMPLEMENTED. */
export function addServices(
  server: GrpcServer,
  { store, hub, tokens, logins, snapshots }: ServiceComponents,
  { version, clientUrl, maxRequestBytes }: ServiceOptions,
): Services {
  const streams = new Set<WatchStream>();
  const watchers = new WatcherQuotas(WATCHER_BYTES);
  server.unary(KVService.range, (request) => store.range(request));
  server.unary(limited(KVService.put, maxRequestBytes), (request) => store.put(request));
  server.unary(limited(KVService.deleteRange, maxRequestBytes), (request) => store.deleteRange(request));
  server.unary(limited(KVService.txn, maxRequestBytes), (request) => store.txn(request));
  server.unary(KVService.compact, (request) => store.compact(request));

  server.unary(LeaseService.leaseGrant, (request) => store.leaseGrant(request));
  server.unary(LeaseService.leaseRevoke, (request) => store.leaseRevoke(request));
  server.unary(LeaseService.leaseTimeToLive, (request) => store.leaseTimeToLive(request));
  server.unary(LeaseService.leaseLeases, () => ({
    header: store.header(),
    leases: store.leaseIds().map((ID) => ({ ID })),
  }));
  server.stream(LeaseService.leaseKeepAlive, (call, connection) =>
    serveKeepAlive(call, store, () => server.check(call, connection)),
  );

  server.stream(WatchService.watch, (call, connection) => {
    const stream = serveWatch(
      call,
      { hub, quota: watchers.of(connection) },
      { check: () => server.check(call, connection), closed: () => streams.delete(stream) },
    );
    streams.add(stream);
  });

  server.open(ClusterService.memberList, () => {
    const header = store.header();
    const member = { ID: header.memberId, name: 'weft', clientURLs: [clientUrl()] };
    return { header, members: [{ ...member, peerURLs: [], isLearner: false }] };
  });
  server.unary(MaintenanceService.alarm, (request) => serveAlarm(store, request));
  server.unary(MaintenanceService.defragment, () => {
    store.defragment();
    return { header: undefined };
  });
  server.unary(MaintenanceService.hashKv, async ({ revision }) => {
    const { hash, compactRevision } = await hashHistory(store, revision);
    return { header: store.header(), hash, compactRevision };
  });
  server.unary(MaintenanceService.hash, async () => {
    const { hash } = await hashHistory(store, 0n);
    return { header: store.header(), hash };
  });
  server.stream(MaintenanceService.snapshot, (call) => {
    let asked = false;
    call.listen({
      message() {
        if (asked) return;
        asked = true;
        snapshots.send(call).catch((error: unknown) => call.throw(error));
      },
      ended() {},
      closed() {},
    });
  });
  server.open(MaintenanceService.status, () => statusOf(store, version));
  server.open(AuthService.authenticate, async ({ name, password }, { remoteAddress }) => {
    if (!tokens.enabled) throw etcdError('authNotEnabled');
    const token = await logins.attempt(remoteAddress, () => tokens.authenticate(name, password));
    return { header: store.header(), token };
  });
  return {
    progressTick() {
      for (const stream of streams) stream.progressTick();
    },
    close() {
      for (const stream of streams) stream.close();
      streams.clear();
    },
  };
}

/** A write over etcd's limit is refused with etcd's error before it is decoded. */
function limited<Request, Response>(
  method: Method<Request, Response>,
  maxBytes: number,
): Method<Request, Response> {
  return {
    ...method,
    requestDeserialize(bytes) {
      if (bytes.length > maxBytes) throw etcdError('requestTooLarge');
      return method.requestDeserialize(bytes);
    },
  };
}

/** The answer holds the alarms that there are, or that were raised or disarmed by this. etcd gives it no header. */
function serveAlarm(store: RevisionStore, { action, alarm, memberID }: AlarmRequest): AlarmResponse {
  const own = store.header().memberId;
  const nospace = { memberID: own, alarm: AlarmType.NOSPACE };
  const answer = (raised: boolean): AlarmResponse => ({ header: undefined, alarms: raised ? [nospace] : [] });
  switch (action) {
    case AlarmAction.ACTIVATE:
      if (alarm !== AlarmType.NOSPACE) {
        throw new EtcdError(status.UNIMPLEMENTED, 'weft store: NOSPACE is the only alarm there is');
      }
      store.space.raise();
      return answer(true);
    case AlarmAction.DEACTIVATE:
      return answer(alarm === AlarmType.NOSPACE && memberID === own && store.space.disarm());
    default:
      return answer(alarm !== AlarmType.CORRUPT && store.space.alarmed);
  }
}

function statusOf(store: RevisionStore, version: string) {
  const { total, used } = store.space.size;
  const header = store.header();
  return {
    header,
    version,
    dbSize: total,
    dbSizeInUse: used,
    leader: header.memberId,
    raftTerm: header.raftTerm,
    // There is no raft log; the revision counts what has been done.
    raftIndex: header.revision,
    raftAppliedIndex: header.revision,
    errors: store.space.alarmed ? [`memberID:${header.memberId} alarm:NOSPACE `] : [],
    isLearner: false,
  };
}
