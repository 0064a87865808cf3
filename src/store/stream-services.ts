import { LeaseKeepAliveRequest, LeaseKeepAliveResponse, WatchRequest } from '#src/etcd/rpc.ts';
import type { GrpcCall } from '#src/store/grpc-call.ts';
import { decode } from '#src/store/grpc-server.ts';
import type { RevisionStore } from '#src/store/revision-store.ts';
import type { WatchHub } from '#src/store/watch-hub.ts';
import { type WatcherQuota, type WatchOutput, WatchStream } from '#src/store/watch-stream.ts';
import { inNextTurn } from '#src/sys/next-turn.ts';

/**
 * Serves one Watch call. `check` throws when the client may not go on; `closed` is called when the call is over.
 * Responses arrive here as bytes: an event is encoded once for all its watchers.
 */
export function serveWatch(
  call: GrpcCall,
  { hub, quota }: { readonly hub: WatchHub; readonly quota: WatcherQuota },
  { check, closed }: { readonly check: () => void; readonly closed: () => void },
): WatchStream {
  const output: WatchOutput = {
    get congested() {
      return call.output.congested;
    },
    send: (pieces) => call.send(...pieces),
    whenClear: (task) => call.output.whenClear(() => call.attempt(task)),
    later: (task) => inNextTurn(() => call.attempt(task)),
  };
  const stream = new WatchStream(hub, output, quota);
  call.listen({
    message(bytes) {
      check();
      stream.handle(decode(WatchRequest.decode, bytes));
    },
    ended: () => call.end(),
    closed() {
      stream.close();
      closed();
    },
  });
  return stream;
}

export function serveKeepAlive(call: GrpcCall, store: RevisionStore, check: () => void): void {
  call.listen({
    message(bytes) {
      check();
      const { ID } = decode(LeaseKeepAliveRequest.decode, bytes);
      const answer = { header: store.header(), ID, TTL: store.leaseKeepAlive(ID) };
      call.send(Buffer.from(LeaseKeepAliveResponse.encode(answer).finish()));
    },
    ended: () => call.end(),
    closed() {},
  });
}
