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
import {
  DockerCalls,
  type DockerCallsComponents,
  type DockerCallsOptions,
  filters,
  parsed,
  reasonOf,
  refused,
} from '#src/docker/docker-calls.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';

const MOST_EVENT_BYTES = 1 << 20;

/** {@link DockerApi} over the engine's socket, in the latest version of the API that both speak. */
export class DockerClient implements DockerApi {
  readonly #calls: DockerCalls;
  readonly #clock: Clock;

  constructor(components: DockerCallsComponents, options: DockerCallsOptions) {
    this.#calls = new DockerCalls(components, options);
    this.#clock = components.clock;
  }

  async networks(driver: string, signal: AbortSignal): Promise<readonly DockerNetwork[]> {
    const what = `list Docker's networks of the driver ${driver}`;
    return readNetworks(await this.#calls.get(what, `/networks?${filters({ driver: [driver] })}`, signal));
  }

  async networksInUse(signal: AbortSignal): Promise<ReadonlySet<string>> {
    return readNetworksInUse(await this.#calls.get("list Docker's containers", '/containers/json', signal));
  }

  async endpoints(networkId: string, signal: AbortSignal): Promise<readonly DockerEndpoint[]> {
    const path = `/networks/${encodeURIComponent(networkId)}`;
    return readEndpoints(await this.#calls.get(`look at Docker's network ${networkId}`, path, signal));
  }

  async createNetwork(network: NewDockerNetwork, signal: AbortSignal): Promise<string> {
    const what = `make Docker's network ${network.name}`;
    const body = JSON.stringify(networkBody(network));
    const answer = await this.#calls.call(what, { method: 'POST', path: '/networks/create', body }, signal);
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
    const answer = await this.#calls.call(what, { method: 'DELETE', path }, signal);
    if (answer.status === 204 || answer.status === 404) return true;
    // 403, as for networks that can't be removed at all.
    if (reasonOf(answer).includes('active endpoints')) return false;
    throw refused(what, answer);
  }

  async container(id: string, signal: AbortSignal): Promise<DockerContainer | undefined> {
    const path = `/containers/${encodeURIComponent(id)}/json`;
    const answer = await this.#calls.get(`look at Docker's container ${id}`, path, signal);
    return answer === undefined ? undefined : readContainer(answer);
  }

  events(signal: AbortSignal): AsyncIterable<DockerEvent> {
    return this.#events(this.#clock.now(), signal);
  }

  /** @param since milliseconds since the epoch; the engine keeps its last 256 events. */
  async *#events(since: number, signal: AbortSignal): AsyncGenerator<DockerEvent> {
    const what = `follow Docker's events`;
    const path = `/events?since=${(since / 1000).toFixed(3)}&${filters(EVENT_FILTERS)}`;
    for await (const line of this.#calls.lines(what, path, { signal, mostBytes: MOST_EVENT_BYTES })) {
      const event = readEvent(line);
      if (event !== undefined) yield event;
    }
  }
}
