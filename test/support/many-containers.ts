import { refused } from '#src/docker/docker-calls.ts';
import { type Docker, IMAGE } from '#src/lab/docker.ts';

/** Of a start, while its dockerd has many. */
const CALL_MS = 60_000;

/** Does something for many containers, some at once. */
export async function forEach(
  names: readonly string[],
  atOnce: number,
  act: (name: string) => Promise<unknown>,
): Promise<void> {
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) await act(name);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/** As `docker create` of the lab's image. */
export async function create(docker: Docker, name: string, network = 'default'): Promise<void> {
  const container = { Image: IMAGE, Cmd: ['sleep', '100000'], StopSignal: 'SIGKILL' };
  const body = JSON.stringify({ ...container, HostConfig: { NetworkMode: network } });
  const answer = await docker.call(
    { method: 'POST', path: `/containers/create?name=${name}`, body },
    CALL_MS,
  );
  if (answer.status !== 201) throw refused(`make ${name} on ${docker.host.name}`, answer);
}

/** As `docker start`. */
export async function start(docker: Docker, name: string): Promise<void> {
  const answer = await docker.call({ method: 'POST', path: `/containers/${name}/start` }, CALL_MS);
  if (answer.status !== 204 && answer.status !== 304)
    throw refused(`start ${name} on ${docker.host.name}`, answer);
}
