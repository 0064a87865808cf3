import { type RunningContainer, readContainers } from '#src/diagnose/facts/containers.ts';
import type { NetworkPlace } from '#src/diagnose/known-network.ts';
import { type FoundEnd, localEnds } from '#src/diagnose/trace/find-ends.ts';
import { watchHost } from '#src/diagnose/trace/live/watch-host.ts';
import type { WatchRequest } from '#src/diagnose/trace/live/watch-part.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import { type OpenedHost, openLocalHost } from '#src/diagnose/trace/open-local-host.ts';
import type { PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { walkPart } from '#src/diagnose/trace/walk-part.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

export interface TraceHandlerComponents {
  /** Opens this host for one question. */
  readonly open: () => Promise<OpenedHost>;
  readonly containers: () => Promise<readonly RunningContainer[] | undefined>;
  readonly clock: Clock;
}

/** What a responder answers to traces of peers, by method and path. */
export interface TraceHandlers {
  readonly 'POST /v1/trace': (body: unknown, from: unknown, signal: AbortSignal) => Promise<PartAnswer>;
  readonly 'POST /v1/watch': (body: unknown, from: unknown, signal: AbortSignal) => Promise<WatchAnswer>;
  readonly 'POST /v1/find': (body: unknown) => Promise<FoundEnd[]>;
}

/** Watches at one time: each has packet sockets on all devices. */
const MOST_WATCHES = 4;

/** Those of this process's host, for one network. */
export const systemTraceHandlers = (place: NetworkPlace): TraceHandlers =>
  traceHandlers({
    open: () => openLocalHost({ netlink: systemNetlink, files: systemFiles }, place),
    containers: () => readContainers({ http: systemUnixHttp }),
    clock: systemClock,
  });

export function traceHandlers({ open, containers, clock }: TraceHandlerComponents): TraceHandlers {
  let watches = 0;
  const withHost = async <T>(work: (host: OpenedHost) => Promise<T>): Promise<T> => {
    const host = await open();
    try {
      return await work(host);
    } finally {
      host.close();
    }
  };
  return {
    'POST /v1/trace': (body) => withHost((host) => walkPart(host, requestIn<PartRequest>(body, PART_FIELDS))),
    async 'POST /v1/watch'(body, _from, signal) {
      const request = requestIn<WatchRequest>(body, WATCH_FIELDS);
      if (watches >= MOST_WATCHES)
        throw new WeftError('trace-watch', 'cannot watch for a packet: others are watched for', {
          remedy: 'try again in some seconds',
        });
      watches++;
      try {
        return await withHost((host) => watchHost(host, clock, request, { signal }));
      } finally {
        watches--;
      }
    },
    'POST /v1/find': (body) =>
      withHost(async (host) => {
        const { name } = requestIn<{ readonly name: string }>(body, { name: 'string' });
        return localEnds({ host, containers: await containers() }, name);
      }),
  };
}

const PART_FIELDS = { part: 'string', way: 'string', from: 'string', to: 'string' };
const WATCH_FIELDS = {
  token: 'string',
  own: 'string',
  other: 'string',
  timeoutMs: 'number',
  send: 'boolean',
};

/** The body, when its fields are of these types. Throws WeftError `trace-request`. */
function requestIn<T>(body: unknown, fields: Readonly<Record<string, string>>): T {
  const record = (body ?? {}) as Readonly<Record<string, unknown>>;
  const { tenant } = record;
  const isGood =
    Object.entries(fields).every(([name, type]) => typeof record[name] === type) &&
    (tenant === undefined || Number.isSafeInteger(tenant));
  if (isGood) return body as T;
  throw new WeftError(
    'trace-request',
    `a trace's request must have the fields ${Object.keys(fields).join(', ')}`,
  );
}
