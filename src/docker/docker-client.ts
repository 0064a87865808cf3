import {
  EVENT_FILTERS,
  fieldsOf,
  networkBody,
  readContainer,
  readEndpoints,
  readEvent,
  readNetworks,
  readNetworksInUse,
  textOf,
} from '#src/docker/docker-answers.ts';
import type {
  DockerApi,
  DockerContainer,
  DockerEndpoint,
  DockerEvent,
  DockerNetwork,
  NewDockerNetwork,
} from '#src/docker/docker-api.ts';
import { negotiate } from '#src/docker/docker-version.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { HttpCall, HttpText, UnixHttpClient } from '#src/sys/unix-http.ts';

export interface DockerClientComponents {
  readonly http: UnixHttpClient;
  readonly clock: Clock;
}

export interface DockerClientOptions {
  /** The path of the engine's socket. */
  readonly socket: string;
}

/** For what Docker answers from memory. */
const ANSWER_MS = 10_000;
/** It calls its drivers meanwhile, and tries each call for 15 s. */
const CHANGE_MS = 60_000;
const MOST_EVENT_BYTES = 1 << 20;

/** {@link DockerApi} over the engine's socket, in the latest version of the API that both speak. */
export class DockerClient implements DockerApi {
  readonly #components: DockerClientComponents;
  readonly #socket: string;
  /** `/v1.47`; asked for again when the engine was away, for another may have come. */
  #prefix: string | undefined;

  constructor(components: DockerClientComponents, { socket }: DockerClientOptions) {
    this.#components = components;
    this.#socket = socket;
  }

  async networks(driver: string, signal: AbortSignal): Promise<readonly DockerNetwork[]> {
    const what = `list Docker's networks of the driver ${driver}`;
    return readNetworks(await this.#get(what, `/networks?${filters({ driver: [driver] })}`, signal));
  }

  async networksInUse(signal: AbortSignal): Promise<ReadonlySet<string>> {
    return readNetworksInUse(await this.#get("list Docker's containers", '/containers/json', signal));
  }

  async endpoints(networkId: string, signal: AbortSignal): Promise<readonly DockerEndpoint[]> {
    const path = `/networks/${encodeURIComponent(networkId)}`;
    return readEndpoints(await this.#get(`look at Docker's network ${networkId}`, path, signal));
  }

  async createNetwork(network: NewDockerNetwork, signal: AbortSignal): Promise<string> {
    const what = `make Docker's network ${network.name}`;
    const body = JSON.stringify(networkBody(network));
    const answer = await this.#call(what, { method: 'POST', path: '/networks/create', body }, signal);
    if (answer.status === 409) {
      throw new WeftError('docker-exists', `could not ${what}: ${reasonOf(answer)}`, {
        remedy: `"docker network inspect ${network.name}" shows it; remove it, or choose another name`,
      });
    }
    if (answer.status !== 201) throw refused(what, answer);
    const id = textOf(fieldsOf(parsed(what, answer.body)).Id);
    if (id === '') throw refused(what, { ...answer, body: 'an answer without an ID' });
    return id;
  }

  async removeNetwork(id: string, signal: AbortSignal): Promise<boolean> {
    const what = `remove Docker's network ${id}`;
    const path = `/networks/${encodeURIComponent(id)}`;
    const answer = await this.#call(what, { method: 'DELETE', path }, signal);
    if (answer.status === 204 || answer.status === 404) return true;
    // 403, as for networks that can't be removed at all.
    if (reasonOf(answer).includes('active endpoints')) return false;
    throw refused(what, answer);
  }

  async container(id: string, signal: AbortSignal): Promise<DockerContainer | undefined> {
    const path = `/containers/${encodeURIComponent(id)}/json`;
    const answer = await this.#get(`look at Docker's container ${id}`, path, signal);
    return answer === undefined ? undefined : readContainer(answer);
  }

  events(signal: AbortSignal): AsyncIterable<DockerEvent> {
    return this.#events(this.#components.clock.now(), signal);
  }

  /** @param since milliseconds since the epoch; the engine keeps its last 256 events. */
  async *#events(since: number, signal: AbortSignal): AsyncGenerator<DockerEvent> {
    const what = `follow Docker's events`;
    try {
      const prefix = await this.#version(what, signal);
      const path = `${prefix}/events?since=${(since / 1000).toFixed(3)}&${filters(EVENT_FILTERS)}`;
      const options = { timeoutMs: ANSWER_MS, signal, mostBytes: MOST_EVENT_BYTES };
      const { status, lines } = await this.#components.http.lines(this.#socket, path, options);
      for await (const line of lines) {
        if (status !== 200) throw refused(what, { status, body: line });
        const event = readEvent(parsed(what, line));
        if (event !== undefined) yield event;
      }
      throw new Error('it closed the connection');
    } catch (error) {
      throw this.#failed(what, error, signal);
    }
  }

  /** The answer's JSON; `undefined` for what is not there. */
  async #get(what: string, path: string, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#call(what, { method: 'GET', path }, signal);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw refused(what, answer);
    return parsed(what, answer.body);
  }

  async #call(what: string, call: HttpCall, signal: AbortSignal): Promise<HttpText> {
    try {
      const prefix = await this.#version(what, signal);
      const timeoutMs = call.method === 'GET' ? ANSWER_MS : CHANGE_MS;
      const versioned = { ...call, path: `${prefix}${call.path}` };
      return await this.#components.http.call(this.#socket, versioned, { timeoutMs, signal });
    } catch (error) {
      throw this.#failed(what, error, signal);
    }
  }

  async #version(what: string, signal: AbortSignal): Promise<string> {
    if (this.#prefix !== undefined) return this.#prefix;
    const call = { method: 'GET', path: '/version' } as const;
    const answer = await this.#components.http.call(this.#socket, call, { timeoutMs: ANSWER_MS, signal });
    if (answer.status !== 200) throw refused(what, answer);
    this.#prefix = `/v${negotiate(parsed(what, answer.body))}`;
    return this.#prefix;
  }

  #failed(what: string, error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof WeftError) return error;
    this.#prefix = undefined;
    const message = `could not ${what}: Docker at ${this.#socket}: ${messageOf(error)}`;
    return new WeftError('docker-api', message, {
      remedy: 'see that Docker runs, and that --docker-host names its socket',
      cause: error,
    });
  }
}

const filters = (wanted: Readonly<Record<string, readonly string[]>>): string =>
  `filters=${encodeURIComponent(JSON.stringify(wanted))}`;

/** Docker's own words. */
function reasonOf({ status, body }: HttpText): string {
  let text = body;
  try {
    text = textOf(fieldsOf(JSON.parse(body)).message) || body;
  } catch {
    // Plain text.
  }
  return (
    text
      .trim()
      .replaceAll(/\s*\n\s*/g, ' ')
      .slice(0, LONGEST_REASON) || `HTTP status ${status}`
  );
}

const LONGEST_REASON = 1_000;

const refused = (what: string, answer: HttpText): WeftError =>
  new WeftError('docker-refused', `could not ${what}: Docker says: ${reasonOf(answer)}`);

function parsed(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('docker-api', `could not ${what}: Docker's answer is not JSON`, { cause });
  }
}
