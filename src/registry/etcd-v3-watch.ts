import { type Event, WatchRequest, type WatchResponse, WatchService } from '#src/etcd/rpc.ts';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { statusFailure } from '#src/registry/etcd-v3-status.ts';
import { type Failure, isLocal, registryError } from '#src/registry/failure.ts';
import { Pulse } from '#src/registry/pulse.ts';

export interface WatchOptions {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  /** The first revision whose events are wanted. */
  readonly startRevision: bigint;
  /** A watch that is silent for so long asks the server for a sign of life. */
  readonly quietMs: number;
  /** How long the sign may take before the server counts as frozen. */
  readonly answerMs: number;
}

export interface WatchProgress {
  readonly events: readonly Event[];
  /** All events up to here have been delivered; `undefined` when the message only shows that the server lives. */
  readonly revision: bigint | undefined;
}

/**
 * One watch on one endpoint, until it ends. Events of one revision are never split, so that the caller may resume
 * after the last revision it was given. Ends by throwing: the signal's reason, CompactedError or RegistryError.
 *
 * The user's token is taken as it is. The caller has just made a call with it, which renews one that etcd forgot.
 */
export async function* watchRange(
  connection: EtcdConnection,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchProgress, never> {
  const { endpoint, stream } = await connection.open(WatchService.watch, 'watch the leases', signal);
  const fail = (failure: Omit<Failure, 'endpoint'>): never => {
    if (isLocal(failure.reason)) connection.giveUp(endpoint);
    throw registryError('watch the leases', [{ endpoint, ...failure }]);
  };
  const pulse = new Pulse({
    quietMs: options.quietMs,
    answerMs: options.answerMs,
    ask: () => stream.write(progressRequest),
    onSilence: () => stream.cancel(),
  });
  const abort = () => stream.cancel();
  signal.addEventListener('abort', abort, { once: true });
  // The loop sees the same error; this keeps one that comes after it from being an uncaught exception.
  stream.on('error', () => {});
  try {
    signal.throwIfAborted();
    stream.write(createRequest(options));
    pulse.expect(connection.callTimeoutMs);
    let fragments: Event[] = [];
    for await (const response of stream as AsyncIterable<WatchResponse>) {
      // While the caller digests, nothing is read, so that nothing can be missed.
      pulse.stop();
      if (response.compactRevision > 0n) {
        throw new CompactedError(`etcd has compacted the events before revision ${response.compactRevision}`);
      }
      if (response.canceled) fail(canceled(response));
      fragments = fragments.concat(response.events);
      if (!response.fragment) {
        yield { events: fragments, revision: deliveredUpTo(response, fragments) };
        fragments = [];
      }
      pulse.felt();
    }
    return fail({ reason: 'unreachable', why: 'the server ended the watch' });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CompactedError || error instanceof RegistryError) throw error;
    if (pulse.silent)
      return fail({ reason: 'timeout', why: 'no sign of life: frozen or cut off', cause: error });
    return fail(statusFailure(endpoint, error, connection.callTimeoutMs));
  } finally {
    pulse.stop();
    signal.removeEventListener('abort', abort);
    stream.cancel();
  }
}

const progressRequest = WatchRequest.create({
  requestUnion: { $case: 'progressRequest', progressRequest: {} },
});

const createRequest = ({ key, rangeEnd, startRevision }: WatchOptions): WatchRequest =>
  WatchRequest.create({
    requestUnion: {
      $case: 'createRequest',
      createRequest: { key, rangeEnd, startRevision, progressNotify: true, fragment: true },
    },
  });

/**
 * With events, the newest of them: the header may already tell of later ones that are still on their way. Without,
 * only the notice that etcd sends to this very watch counts. The answer to a progress request (watch id -1) may
 * overtake events before etcd 3.4.25 and 3.5.8 (etcd issue 15220): it is a sign of life and no more.
 */
function deliveredUpTo(response: WatchResponse, events: readonly Event[]): bigint | undefined {
  if (events.length > 0) {
    return events.reduce(
      (max, { kv }) => (kv !== undefined && kv.modRevision > max ? kv.modRevision : max),
      0n,
    );
  }
  const isNotice = !response.created && response.watchId >= 0n;
  return isNotice ? response.header?.revision : undefined;
}

function canceled({ cancelReason }: WatchResponse): Omit<Failure, 'endpoint'> {
  const why = cancelReason.replace(/^.*etcdserver: /, '') || 'the server canceled the watch';
  if (/permission denied/.test(cancelReason)) return { reason: 'denied', why };
  if (/auth|user name is empty/.test(cancelReason)) return { reason: 'unauthenticated', why };
  return { reason: 'refused', why };
}
