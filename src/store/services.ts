import {
  type handleUnaryCall,
  type Metadata,
  type Server,
  type ServerDuplexStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { AlarmAction } from '#src/etcd/names.ts';
import {
  type AuthServer,
  AuthService,
  type ClusterServer,
  ClusterService,
  type KVServer,
  KVService,
  type LeaseKeepAliveRequest,
  type LeaseKeepAliveResponse,
  type LeaseServer,
  LeaseService,
  type MaintenanceServer,
  MaintenanceService,
  type WatchRequest,
  WatchService,
} from '#src/etcd/rpc.ts';
import type { AuthTokens } from '#src/store/auth-tokens.ts';
import { EtcdError, etcdError } from '#src/store/etcd-error.ts';
import type { RevisionStore } from '#src/store/revision-store.ts';
import type { WatchHub } from '#src/store/watch-hub.ts';
import { WatchStream } from '#src/store/watch-stream.ts';

/** etcd's default `--max-request-bytes`. */
export const MAX_REQUEST_BYTES = 1536 * 1024;

export interface ServiceComponents {
  readonly store: RevisionStore;
  readonly hub: WatchHub;
  readonly tokens: AuthTokens;
  /** Told of a failure that is ours; the client is told only that there was one. */
  readonly failed: (error: unknown) => void;
}

export interface ServiceOptions {
  /** For `endpoint status`. */
  readonly version: string;
  /** Where clients reach the store, for `member list`; known once it listens. */
  readonly clientUrl: () => string;
}

export interface Services {
  /** Tells the watchers that asked for it how far the store is. */
  progressTick(): void;
  /** Ends every stream. */
  close(): void;
}

/** Everything of etcd's API that is served. What is not named here grpc-js answers with UNIMPLEMENTED. */
export function addServices(
  server: Server,
  components: ServiceComponents,
  { version, clientUrl }: ServiceOptions,
): Services {
  const { store, tokens } = components;
  const open = <Request, Response>(answer: Answer<Request, Response>): handleUnaryCall<Request, Response> =>
    unary(components, (request) => answer(request));
  const guarded = <Request, Response>(
    answer: Answer<Request, Response>,
  ): handleUnaryCall<Request, Response> =>
    unary(components, (request, metadata) => {
      tokens.check(tokenOf(metadata));
      return answer(request);
    });

  const kv: KVServer = {
    range: guarded((request) => store.range(request)),
    put: guarded((request) => store.put(request)),
    deleteRange: guarded((request) => store.deleteRange(request)),
    txn: guarded((request) => store.txn(request)),
    compact: guarded((request) => store.compact(request)),
  };
  const lease: LeaseServer = {
    leaseGrant: guarded((request) => store.leaseGrant(request)),
    leaseRevoke: guarded((request) => store.leaseRevoke(request)),
    leaseTimeToLive: guarded((request) => store.leaseTimeToLive(request)),
    leaseLeases: guarded(() => ({ header: store.header(), leases: store.leaseIds().map((ID) => ({ ID })) })),
    leaseKeepAlive: (call) => serveKeepAlive(call, components),
  };
  const cluster: ClusterServer = {
    memberList: open(() => {
      const header = store.header();
      const member = { ID: header.memberId, name: 'weft', clientURLs: [clientUrl()] };
      return { header, members: [{ ...member, peerURLs: [], isLearner: false }] };
    }),
  };
  const maintenance: MaintenanceServer = {
    alarm: guarded(({ action }) => {
      if (action !== AlarmAction.ACTIVATE) return { header: store.header(), alarms: [] };
      throw new EtcdError(status.UNIMPLEMENTED, 'weft store: alarms cannot be raised by hand');
    }),
    status: open(() => statusOf(store, version)),
  };
  const auth: AuthServer = {
    authenticate: open(({ name, password }) => ({
      header: store.header(),
      token: tokens.authenticate(name, password),
    })),
  };
  const streams = new Set<WatchStream>();
  server.addService(limitedKv, kv);
  server.addService(LeaseService, lease);
  server.addService(ClusterService, cluster);
  server.addService(MaintenanceService, maintenance);
  server.addService(AuthService, auth);
  server.addService(encodedWatch, {
    watch: (call: ServerDuplexStream<WatchRequest, Buffer>) => serveWatch(call, components, streams),
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

type Answer<Request, Response> = (request: Request) => Response | Promise<Response>;

function unary<Request, Response>(
  { failed }: ServiceComponents,
  answer: (request: Request, metadata: Metadata) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  const answerCall = async (request: Request, metadata: Metadata): Promise<Response> => {
    if (request instanceof EtcdError) throw request;
    return answer(request, metadata);
  };
  return (call, respond) => {
    answerCall(call.request, call.metadata).then(
      (response) => respond(null, response),
      (error: unknown) => respond(serviceError(error, failed)),
    );
  };
}

function serviceError(error: unknown, failed: (error: unknown) => void): Partial<ServiceError> {
  if (error instanceof EtcdError) return { code: error.code, details: error.message };
  failed(error);
  return { code: status.INTERNAL, details: 'weft store: internal error, see its log' };
}

function tokenOf(metadata: Metadata): string | undefined {
  // Clients of etcd before 3.3 send it as `authorization`.
  return (metadata.get('token').at(0) ?? metadata.get('authorization').at(0))?.toString();
}

/** A write over etcd's limit is refused with etcd's error before it is decoded. */
const limitedKv: typeof KVService = {
  ...KVService,
  put: { ...KVService.put, requestDeserialize: limited(KVService.put.requestDeserialize) },
  deleteRange: {
    ...KVService.deleteRange,
    requestDeserialize: limited(KVService.deleteRange.requestDeserialize),
  },
  txn: { ...KVService.txn, requestDeserialize: limited(KVService.txn.requestDeserialize) },
};

/** grpc-js has one answer, INTERNAL, for a deserializer that throws; so the error travels in place of the request. */
function limited<Request>(deserialize: (bytes: Buffer) => Request): (bytes: Buffer) => Request {
  return (bytes) =>
    bytes.length > MAX_REQUEST_BYTES ? (etcdError('requestTooLarge') as Request) : deserialize(bytes);
}

/** Watch responses arrive here as bytes: an event is encoded once for all its watchers. */
const encodedWatch = {
  watch: { ...WatchService.watch, responseSerialize: (message: Buffer): Buffer => message },
};

function serveWatch(
  call: ServerDuplexStream<WatchRequest, Buffer>,
  { hub, tokens, failed }: ServiceComponents,
  streams: Set<WatchStream>,
): void {
  const stream = new WatchStream(hub, (message, taken) => call.write(message, taken));
  streams.add(stream);
  const close = (): void => {
    streams.delete(stream);
    stream.close();
  };
  call.on('cancelled', close);
  call.on('error', close);
  call.on('end', () => {
    close();
    call.end();
  });
  call.on('data', (request: WatchRequest) => {
    try {
      tokens.check(tokenOf(call.metadata));
      stream.handle(request);
    } catch (error) {
      close();
      call.emit('error', serviceError(error, failed));
    }
  });
}

function serveKeepAlive(
  call: ServerDuplexStream<LeaseKeepAliveRequest, LeaseKeepAliveResponse>,
  { store, tokens, failed }: ServiceComponents,
): void {
  call.on('error', () => {});
  call.on('end', () => call.end());
  call.on('data', ({ ID }: LeaseKeepAliveRequest) => {
    try {
      tokens.check(tokenOf(call.metadata));
      call.write({ header: store.header(), ID, TTL: store.leaseKeepAlive(ID) });
    } catch (error) {
      call.emit('error', serviceError(error, failed));
    }
  });
}

function statusOf(store: RevisionStore, version: string) {
  const { total, used } = store.size();
  const header = store.header();
  return {
    header,
    version,
    dbSize: total,
    dbSizeInUse: used,
    leader: header.memberId,
    raftTerm: header.raftTerm,
    // There is no raft log; the revision tells how much has been done.
    raftIndex: header.revision,
    raftAppliedIndex: header.revision,
    errors: [],
    isLearner: false,
  };
}
