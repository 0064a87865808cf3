import {
  type Event,
  KVService,
  RangeRequest,
  WatchRequest,
  type WatchResponse,
  WatchService,
} from '#src/etcd/rpc.ts';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { statusFailure } from '#src/registry/etcd-v3-status.ts';
import { type Failure, isLocal, registryError } from '#src/registry/failure.ts';
import { Pulse } from '#src/registry/pulse.ts';

/** Keys from `key` (included) to `rangeEnd` (excluded); `key` alone where `rangeEnd` is empty. */
export interface KeyRange {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
}

/** The first key after all that begin with `prefix`, whose last byte is not 255. */
export function endOf(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** When a watch that has nothing to say counts as one of a server that is frozen or cut off. */
export interface WatchPatience {
  /** A watch that is silent for so long asks the server for a sign of life. */
  readonly quietMs: number;
  /** How long the sign may take before the server counts as frozen. */
  readonly answerMs: number;
  /** In place of `quietMs` where the sign is a call of its own, which costs the cluster more. */
  readonly quietForCallMs: number;
}

export interface WatchOptions {
  /** It may change while the watch runs. */
  readonly patience: WatchPatience;
  /** What is done, for the error: `watch the leases`. */
  readonly what: string;
  /** Of several, the events of one revision may come apart. */
  readonly ranges: readonly KeyRange[];
  /** The first revision whose events are wanted. */
  readonly startRevision: bigint;
  /** A key for a small read, where the server answers no progress requests. */
  readonly probeKey: Buffer;
}

export interface WatchProgress {
  readonly events: readonly Event[];
  /** All events up to here have been delivered; `undefined` when the message only shows that the server lives. */
  readonly revision: bigint | undefined;
}

/**
 * We choose the watch's id. A server that answers with it is an etcd of 3.4 or later, which answers progress requests.
 * One that answers with an id of its own is etcd's gRPC proxy (etcd-io/etcd#19710), or an older etcd: the proxy before
 * 3.4.19 and 3.5.3 even ends by such a request (etcd-io/etcd#14151), so that it is asked by a call.
 */
const FIRST_WATCH_ID = 1n;

/**
 * One watch on one endpoint, until it ends. Events of one revision are never split, so that the caller may resume
 * after the last revision it was given. Ends by throwing: the signal's reason, CompactedError or RegistryError.
 *
 * The user's token is taken as it is. The caller has just made a call with it, which renews one that etcd forgot.
 */
export async function* watchRanges(
  connection: EtcdConnection,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchProgress, never> {
  const { what, probeKey, ranges, patience } = options;
  const { siblings } = connection;
  const { endpoint, stream } = await connection.open(WatchService.watch, what, signal);
  const fail = (failure: Omit<Failure, 'endpoint'>): never => {
    if (isLocal(failure.reason)) {
      connection.giveUp(endpoint);
      siblings?.alarm();
    }
    throw registryError(what, [{ endpoint, ...failure }]);
  };
  const ended = new AbortController();
  const probe = RangeRequest.create({ key: probeKey, countOnly: true });
  const probing = AbortSignal.any([signal, ended.signal]);
  let answersProgress = true;
  let probed = Promise.resolve();
  const pulse = new Pulse(connection.clock, {
    answerMs: patience.answerMs,
    ask: () => {
      if (answersProgress) stream.write(progressRequest);
      else probed = connection.callAt(endpoint, KVService.range, probe, probing).then(() => felt(), noAnswer);
    },
    onSilence: () => stream.cancel(),
  });
  const felt = (): void => {
    const quietMs = answersProgress ? patience.quietMs : patience.quietForCallMs;
    pulse.felt(Math.max(quietMs, siblings?.quietMs ?? 0));
  };
  const leave = siblings?.join(() => pulse.askNow());
  // The time that the answer may take ends by itself.
  const noAnswer = (): void => {};
  const abort = () => stream.cancel();
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    ranges.forEach((range, at) => {
      stream.write(createRequest(range, FIRST_WATCH_ID + BigInt(at), options.startRevision));
    });
    pulse.expect(connection.callTimeoutMs);
    let fragments: Event[] = [];
    for await (const response of stream) {
      // While the caller digests, nothing is read, so that nothing can be missed.
      pulse.pause();
      if (response.compactRevision > 0n) {
        throw new CompactedError(`etcd has compacted the events before revision ${response.compactRevision}`);
      }
      if (response.canceled) fail(canceled(response));
      if (response.created && response.watchId < FIRST_WATCH_ID) answersProgress = false;
      fragments = fragments.concat(response.events);
      if (!response.fragment) {
        yield { events: fragments, revision: deliveredUpTo(response, fragments) };
        fragments = [];
      }
      felt();
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
    leave?.();
    ended.abort();
    signal.removeEventListener('abort', abort);
    stream.cancel();
    await probed;
  }
}
const progressRequest = WatchRequest.create({
  requestUnion: { $case: 'progressRequest', progressRequest: {} },
});

const createRequest = (range: KeyRange, watchId: bigint, startRevision: bigint): WatchRequest =>
  WatchRequest.create({
    requestUnion: {
      $case: 'createRequest',
      createRequest: { ...range, watchId, startRevision, progressNotify: true, fragment: true },
    },
  });

/**
 * With events, the newest of them: the header may have the revision of later ones that are still on their way. Without,
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
