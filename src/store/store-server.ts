import type { RequestListener } from 'node:http';
import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { AuthTokens } from '#src/store/auth-tokens.ts';
import { AutoCompactor } from '#src/store/auto-compactor.ts';
import { ConnectionListener, type ServerTls } from '#src/store/connection-listener.ts';
import { openDatabase } from '#src/store/database.ts';
import { GrpcServer } from '#src/store/grpc-server.ts';
import { LoginPauses } from '#src/store/login-pauses.ts';
import { RevisionStore } from '#src/store/revision-store.ts';
import { addServices } from '#src/store/services.ts';
import { Snapshots } from '#src/store/snapshot.ts';
import { Space } from '#src/store/space.ts';
import { WatchHub } from '#src/store/watch-hub.ts';
import { systemByteFiles } from '#src/sys/byte-files.ts';
import type { Clock } from '#src/sys/clock.ts';
import { fileReserve } from '#src/sys/disk-reserve.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { startInterval, type Timer } from '#src/sys/timer.ts';

/**
 * The etcd whose behaviour this is. From 3.4.31 on (3.5.13), a requested progress notification comes after the events
 * before it (etcd-io/etcd#15220), also for a watcher that gets none (#17507). From 3.4.34 on (3.5.15), a watch sees the
 * deletions at the very revision that was compacted (#18089). Kubernetes' API server asks for the first two.
 */
const API_VERSION = '3.4.34';
/** And who speaks it: build metadata in the sense of semver, which clients that compare versions ignore. */
const STORE_VERSION = `${API_VERSION}+weft`;

/** etcd's own: leases are looked at twice a second, idle watchers hear of progress every ten minutes. */
const EXPIRY_INTERVAL_MS = 500;
const PROGRESS_INTERVAL_MS = 600_000;
/** What etcd lets gRPC read above its request limit, so that its own error can be the answer. */
const GRPC_OVERHEAD_BYTES = 512 * 1024;

/** etcd's default for `--max-request-bytes`. */
const MAX_REQUEST_BYTES = 1536 * 1024;
/** etcd's default for `--quota-backend-bytes`. */
const DEFAULT_QUOTA = 2n << 30n;
/** What deletions and a compaction need on a full disk: SQLite's log is some 4 MB before it is written back. */
const RESERVE_BYTES = 8 << 20;
const SPACE_INTERVAL_MS = 5_000;

export interface StoreServerComponents {
  readonly clock: Clock;
  readonly log: Logger;
  /** Called once when the disk failed: nothing more is acknowledged, and the process should start over. */
  readonly fatal: (error: unknown) => void;
}

export interface StoreServerOptions {
  /** The SQLite file; made when there is none. */
  readonly data: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls?: ServerTls | undefined;
  /** Name to password; without users there is no authentication. */
  readonly users?: ReadonlyMap<string, string> | undefined;
  /** History older than this is compacted, milliseconds; 0 or absent keeps it all, as etcd does. */
  readonly retentionMs?: number | undefined;
  /** Bytes that keys, their history and leases may take before NOSPACE is raised; etcd's default when absent. */
  readonly quota?: bigint | undefined;
  /** Bytes of the largest write, and operations in a txn; etcd's defaults when absent. */
  readonly maxRequestBytes?: number | undefined;
  readonly maxTxnOps?: number | undefined;
}

export interface StoreServer {
  readonly url: string;
  readonly port: number;
  readonly revision: bigint;
  /** Commits what has arrived, ends all calls and closes the file. */
  close(): Promise<void>;
}

/**
 * Starts the embedded store: etcd's v3 API over a file of its own, and `/version` and `/health` on the same port.
 * Throws {@link WeftError} when the file cannot be opened or the port not be had.
 */
export async function startStoreServer(
  { clock, log, fatal }: StoreServerComponents,
  {
    data,
    host,
    port,
    tls,
    users = new Map(),
    retentionMs = 0,
    quota = DEFAULT_QUOTA,
    maxRequestBytes = MAX_REQUEST_BYTES,
    maxTxnOps,
  }: StoreServerOptions,
): Promise<StoreServer> {
  const failed = (error: unknown): void => log.error(`store: ${messageOf(error)}`);
  const db = openDatabase(data);
  const space = new Space({ db, reserve: fileReserve(`${data}-reserve`, RESERVE_BYTES) }, { quota });
  const store = new RevisionStore({ db, clock, space, failed, fatal }, { maxTxnOps });
  const hub = new WatchHub(store);
  const snapshots = new Snapshots({ db, files: systemByteFiles }, data);
  const tokens = new AuthTokens(users, clock);
  let listener: ConnectionListener | undefined;
  const grpc = new GrpcServer(
    {
      clock,
      failed,
      admit(token, { socket }) {
        tokens.check(token);
        listener?.admitted(socket);
      },
    },
    { maxMessageBytes: maxRequestBytes + GRPC_OVERHEAD_BYTES },
  );
  let url = '';
  const services = addServices(
    grpc,
    { store, hub, tokens, logins: new LoginPauses(clock), snapshots },
    { version: STORE_VERSION, clientUrl: () => url, maxRequestBytes },
  );
  const timers: Timer[] = [];
  const close = async (): Promise<void> => {
    for (const timer of timers) timer.stop();
    services.close();
    hub.close();
    store.close();
    // The answers to what was just committed leave before the connections do.
    await nextTurn();
    grpc.close();
    await listener?.close();
  };
  try {
    listener = new ConnectionListener(
      { http2: (connection) => grpc.accept(connection), http1: plainPages(space) },
      { tls },
    );
    const bound = await listener.listen(host, port);
    url = `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${bound}`;
    const every = (ms: number, task: () => Promise<void> | void): void => {
      timers.push(startInterval(clock, ms, () => Promise.try(task).catch(failed)));
    };
    every(EXPIRY_INTERVAL_MS, () => store.revokeExpired());
    every(SPACE_INTERVAL_MS, () => space.tick());
    every(PROGRESS_INTERVAL_MS, () => services.progressTick());
    if (retentionMs > 0) {
      const compactor = new AutoCompactor(store, clock, retentionMs);
      every(compactor.intervalMs, () => compactor.tick());
    }
    return {
      url,
      port: bound,
      get revision() {
        return store.revision;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What etcd answers over plain HTTP/1.1. Its JSON gateway (`/v3/…`) and `/metrics` are not served. */
function plainPages(space: Space): RequestListener {
  return ({ url, method }, response) => {
    const health = space.alarmed ? 'false' : 'true';
    const pages: Readonly<Record<string, unknown>> = {
      '/version': { etcdserver: STORE_VERSION, etcdcluster: API_VERSION },
      '/health': { health },
    };
    const path = url?.split('?')[0] ?? '';
    const page = pages[path];
    if (page === undefined || (method !== 'GET' && method !== 'HEAD')) {
      response.writeHead(page === undefined ? 404 : 405).end();
      return;
    }
    const code = path === '/health' && space.alarmed ? 503 : 200;
    response.writeHead(code, { 'Content-Type': 'application/json' }).end(JSON.stringify(page));
  };
}
