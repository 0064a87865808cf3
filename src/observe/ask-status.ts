import { type AskOptions, askSocket, excerptOf, notFlanneld, readJson } from '#src/observe/ask-socket.ts';
import type { HostStatus, NodeStatus } from '#src/observe/node-status.ts';

/**
 * Asks the node that holds the socket for its status: `silent` when it holds the socket and gives
 * no whole answer in time, `undefined` when no process holds it. Throws WeftError `not-flanneld`
 * when the answer is not a flanneld's, and `local-api` when this user must not ask. Daemons from
 * before version 1 of the local API answer, too.
 */
export const askNode = (path: string, options?: AskOptions): Promise<NodeStatus | 'silent' | undefined> =>
  ask<NodeStatus>(path, options);

/** The same of the socket that has the host's status only; see node/network-id.ts. */
export const askHost = (path: string, options?: AskOptions): Promise<HostStatus | 'silent' | undefined> =>
  ask<HostStatus>(path, options);

async function ask<S extends HostStatus>(
  path: string,
  options: AskOptions = {},
): Promise<S | 'silent' | undefined> {
  const answer = await askSocket(path, '/status', options);
  if (answer === undefined || answer === 'silent') return answer;
  if (answer.status !== 200) return notFlanneld(path, `HTTP status ${answer.status}`);
  const value = readJson(path, answer.body);
  return isStatus<S>(value) ? value : notFlanneld(path, `not a status: ${excerptOf(answer.body.toString())}`);
}

const isStatus = <S extends HostStatus>(value: unknown): value is S =>
  typeof value === 'object' &&
  value !== null &&
  'version' in value &&
  'ready' in value &&
  typeof value.ready === 'boolean' &&
  'troubles' in value &&
  Array.isArray(value.troubles);
