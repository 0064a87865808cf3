import type { MoveOffers, MoveWish } from '#src/driver/moves/move-offers.ts';
import type { OutgoingMoves } from '#src/driver/moves/outgoing-moves.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';
import { deadlineIn } from '#src/sys/timer.ts';
import { type HttpAnswer, type HttpRequest, UnixHttpServer } from '#src/sys/unix-http-server.ts';
import { type JsonFields, ofBoolean, ofPattern, ofText, parseFields } from '#src/tenant/json-fields.ts';

export interface MoveServerComponents {
  readonly offers: Pick<MoveOffers, 'offer' | 'begin' | 'cancel'>;
  readonly outgoing: Pick<OutgoingMoves, 'progress'>;
  /** A move was begun: it has to be taken to its end. */
  readonly onBegun: (id: string) => void;
  readonly signal: AbortSignal;
  readonly locks: HostLocks;
}

export interface MoveServerOptions {
  readonly socket: string;
}

const MOST_BODY_BYTES = 64 * 1024;
/** The other host is waited for meanwhile. */
const CALL_MS = 40_000;

/**
 * What `weft move` asks of the daemon of its host, on a socket that only root may use:
 *
 *     POST   /moves           {"container", "to", "keep", "anyImage", "checkpointDir"}   200 {"id", "lines"}
 *     POST   /moves/ID/begin                                              200 {}
 *     DELETE /moves/ID                                                    200 {}
 *     GET    /moves/ID                                                    200 {"steps", "end"}
 *
 * Any other status comes with {"error"}, in words for the user.
 */
export class MoveServer {
  readonly #components: MoveServerComponents;
  readonly #server: UnixHttpServer;

  constructor(components: MoveServerComponents, { socket }: MoveServerOptions) {
    this.#components = components;
    this.#server = new UnixHttpServer(
      { answer: (request) => this.answer(request), locks: components.locks },
      { socket, mostBodyBytes: MOST_BODY_BYTES },
    );
  }

  /** Throws node's error, or SocketTaken, when the socket can't be made. */
  start(): Promise<void> {
    return this.#server.start();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  async answer(request: HttpRequest): Promise<HttpAnswer> {
    try {
      const fields = await this.#do(request, deadlineIn(CALL_MS, this.#components.signal));
      if (fields === undefined) return error(404, `there is no ${request.method} ${request.path}`);
      return { status: 200, body: JSON.stringify(fields) };
    } catch (failure) {
      return error(failure instanceof WeftError ? 409 : 500, messageOf(failure));
    }
  }

  async #do({ method, path, body }: HttpRequest, signal: AbortSignal): Promise<object | undefined> {
    const { offers, outgoing, onBegun } = this.#components;
    if (method === 'POST' && path === '/moves') return offers.offer(readWish(body), signal);
    const [, id, action] = /^\/moves\/([a-z0-9-]{1,64})(?:\/(begin))?$/.exec(path) ?? [];
    if (id === undefined) return undefined;
    if (method === 'GET' && action === undefined) return outgoing.progress(id);
    if (method === 'DELETE' && action === undefined) {
      await offers.cancel(id, signal);
      return {};
    }
    if (method !== 'POST' || action !== 'begin') return undefined;
    await offers.begin(id, signal);
    onBegun(id);
    return {};
  }
}

function readWish(body: Buffer | 'too-long'): MoveWish {
  const read = parseFields(
    body === 'too-long' ? '' : body.toString(),
    MOST_BODY_BYTES,
    (fields: JsonFields) => ({
      container: fields.read(
        'container',
        'a container',
        ofText((text) => text || undefined),
      ),
      to: fields.read(
        'to',
        'a host',
        ofText((text) => text || undefined),
      ),
      keep: fields.read('keep', 'true or false', ofBoolean),
      anyImage: fields.read('anyImage', 'true or false', ofBoolean),
      checkpointDir: fields.read('checkpointDir', 'a path, or nothing', ofPattern(/^$|^\/./)),
    }),
  );
  if (read.ok) return read.value;
  throw new WeftError('move', `the call can't be read: ${read.reason}`);
}

const error = (status: number, text: string): HttpAnswer => ({
  status,
  body: JSON.stringify({ error: text }),
});
