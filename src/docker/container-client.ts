import {
  creationBody,
  endpointConfig,
  readDescription,
  readEngine,
  readIds,
  readImage,
  readPorts,
} from '#src/docker/container-answers.ts';
import type {
  ContainerApi,
  DescribedContainer,
  DescribedEngine,
  DescribedImage,
  NewContainer,
  PublishedPort,
} from '#src/docker/container-api.ts';
import { fieldsOf, listOf, textOf } from '#src/docker/docker-answers.ts';
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

/** Beyond the grace of a container: Docker calls its drivers. */
const STOP_MS = 60_000;
/** Memory goes to a disk, or comes from it. */
const CHECKPOINT_MS = 240_000;

/** {@link ContainerApi} over the engine's socket. */
export class ContainerClient implements ContainerApi {
  readonly #calls: DockerCalls;

  constructor(components: DockerCallsComponents, options: DockerCallsOptions) {
    this.#calls = new DockerCalls(components, options);
  }

  async describe(container: string, signal: AbortSignal): Promise<DescribedContainer | undefined> {
    const answer = await this.#calls.get(
      `look at Docker's container ${container}`,
      pathOf(container, 'json'),
      signal,
    );
    return answer === undefined ? undefined : readDescription(answer);
  }

  async create(container: NewContainer, signal: AbortSignal): Promise<string> {
    const { name, further } = container;
    const what = `make Docker's container ${name}`;
    const body = JSON.stringify(creationBody(container));
    const path = `/containers/create?name=${encodeURIComponent(name)}`;
    const answer = await this.#calls.call(what, { method: 'POST', path, body }, signal);
    if (answer.status === 409) {
      throw new WeftError('docker-exists', `could not ${what}: ${reasonOf(answer)}`, {
        remedy: 'remove that container, or rename it',
      });
    }
    if (answer.status !== 201) throw refused(what, answer);
    const id = textOf(fieldsOf(parsed(what, answer.body)).Id);
    if (id === '') throw refused(what, { ...answer, body: 'an answer without an ID' });
    try {
      for (const attachment of further) {
        const connection = { Container: id, EndpointConfig: endpointConfig(attachment) };
        const path = `/networks/${encodeURIComponent(attachment.network)}/connect`;
        await this.#do(`connect ${name} to Docker's network ${attachment.network}`, path, signal, connection);
      }
    } catch (error) {
      await this.remove(id, signal);
      throw error;
    }
    return id;
  }

  async start(container: string, signal: AbortSignal, checkpoint?: string): Promise<void> {
    const what = `start Docker's container ${container}`;
    if (checkpoint === undefined) return this.#do(what, pathOf(container, 'start'), signal);
    const path = `${pathOf(container, 'start')}?checkpoint=${encodeURIComponent(checkpoint)}`;
    const answer = await this.#calls.call(what, { method: 'POST', path }, signal, CHECKPOINT_MS);
    if (answer.status !== 204 && answer.status !== 304) throw refused(what, answer);
  }

  async freeze(
    container: string,
    { folder, name }: { readonly folder: string; readonly name: string },
    signal: AbortSignal,
  ): Promise<void> {
    const what = `freeze Docker's container ${container}`;
    const body = JSON.stringify({ CheckpointID: name, CheckpointDir: folder, Exit: true });
    const call = { method: 'POST', path: pathOf(container, 'checkpoints'), body } as const;
    const answer = await this.#calls.call(what, call, signal, CHECKPOINT_MS);
    if (answer.status !== 201) throw refused(what, answer);
  }

  async engine(signal: AbortSignal): Promise<DescribedEngine> {
    return readEngine(await this.#calls.get('look at Docker', '/info', signal));
  }

  async stop(container: string, graceSeconds: number, signal: AbortSignal): Promise<void> {
    const what = `stop Docker's container ${container}`;
    const path = `${pathOf(container, 'stop')}?t=${graceSeconds}`;
    const timeoutMs = graceSeconds * 1_000 + STOP_MS;
    const answer = await this.#calls.call(what, { method: 'POST', path }, signal, timeoutMs);
    if (answer.status !== 204 && answer.status !== 304) throw refused(what, answer);
  }

  async remove(container: string, signal: AbortSignal): Promise<void> {
    const what = `remove Docker's container ${container}`;
    const path = `/containers/${encodeURIComponent(container)}?force=true`;
    const answer = await this.#calls.call(what, { method: 'DELETE', path }, signal);
    if (answer.status !== 204 && answer.status !== 404) throw refused(what, answer);
  }

  async retire(container: string, name: string, signal: AbortSignal): Promise<void> {
    const never = { RestartPolicy: { Name: 'no', MaximumRetryCount: 0 } };
    await this.#do(`change Docker's container ${container}`, pathOf(container, 'update'), signal, never);
    const path = `${pathOf(container, 'rename')}?name=${encodeURIComponent(name)}`;
    await this.#do(`rename Docker's container ${container}`, path, signal);
  }

  async changedFiles(container: string, signal: AbortSignal): Promise<number> {
    const what = `look at the files of Docker's container ${container}`;
    const changes = listOf(await this.#calls.get(what, pathOf(container, 'changes'), signal));
    const paths = changes.map((change) => textOf(fieldsOf(change).Path));
    // A folder counts as changed for what is in it.
    return paths.filter((path) => !paths.some((other) => other.startsWith(`${path}/`))).length;
  }

  async image(image: string, signal: AbortSignal): Promise<DescribedImage | undefined> {
    const answer = await this.#calls.get(
      `look at Docker's image ${image}`,
      `/images/${encodeURIComponent(image)}/json`,
      signal,
    );
    return answer === undefined ? undefined : readImage(answer);
  }

  async publishedPorts(signal: AbortSignal): Promise<readonly PublishedPort[]> {
    return readPorts(await this.#calls.get("list Docker's containers", '/containers/json', signal));
  }

  async withLabel(label: string, signal: AbortSignal): Promise<readonly string[]> {
    const path = `/containers/json?all=true&${filters({ label: [label] })}`;
    return readIds(await this.#calls.get("list Docker's containers", path, signal));
  }

  /** A call that answers nothing. */
  async #do(what: string, path: string, signal: AbortSignal, fields?: object): Promise<void> {
    const body = fields === undefined ? {} : { body: JSON.stringify(fields) };
    const answer = await this.#calls.call(what, { method: 'POST', path, ...body }, signal);
    if (![200, 201, 204, 304].includes(answer.status)) throw refused(what, answer);
  }
}

const pathOf = (container: string, action: string): string =>
  `/containers/${encodeURIComponent(container)}/${action}`;
