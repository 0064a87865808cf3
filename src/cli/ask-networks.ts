import { join } from 'node:path';
import { WeftError } from '#src/lib/errors.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { artefactsOf, type NetworkId } from '#src/node/network-id.ts';
import type { Answers } from '#src/observe/api.ts';
import type { Folders } from '#src/sys/folders.ts';

/** Asks a daemon over its socket; see observe/api-client.ts. */
export type AskApi = <P extends keyof Answers>(
  socket: string,
  path: P,
  options?: { readonly signal?: AbortSignal },
) => Promise<Answers[P]>;

export interface AskNetworksComponents {
  readonly ask: AskApi;
  readonly folders: Pick<Folders, 'list'>;
}

export interface NetworksRequest {
  readonly options: Pick<FlanneldOptions, 'stateDir' | 'subnetFile' | 'etcdPrefix'>;
  /** The network that was asked for; `undefined` for all that this host serves. */
  readonly id: NetworkId | undefined;
}

/** What one network of this host answered. */
export interface NetworkAnswer<T> {
  readonly socket: string;
  /** Of a network among several. */
  readonly name?: string;
  readonly answer: T;
  /** Why somebody else than the daemon was asked. */
  readonly note?: string;
}

/**
 * Asks each network of this host that was meant, and returns those that answered, in the order of their names. Where there
 * are several, each has its name. Throws as {@link askSockets}.
 */
export async function askNetworks<P extends keyof Answers>(
  components: AskNetworksComponents,
  request: NetworksRequest,
  path: P,
  signal: AbortSignal,
): Promise<NetworkAnswer<Answers[P]>[]> {
  const answers = await askSockets(components, await socketsOf(components, request), path, signal);
  if (answers.length === 1) return answers;
  const named = await Promise.all(
    answers.map(async (it) => {
      const { name } = await components.ask(it.socket, '/v1/status', { signal });
      return { ...it, ...(name !== undefined && { name }) };
    }),
  );
  return named.sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1));
}

/** Those that answered. Throws the WeftError of the first one, or of one that is silent, when none did. */
export async function askSockets<P extends keyof Answers>(
  { ask }: Pick<AskNetworksComponents, 'ask'>,
  sockets: readonly string[],
  path: P,
  signal: AbortSignal,
): Promise<NetworkAnswer<Answers[P]>[]> {
  const outcomes = await Promise.all(
    sockets.map(async (socket): Promise<NetworkAnswer<Answers[P]> | WeftError> => {
      try {
        return { socket, answer: await ask(socket, path, { signal }) };
      } catch (error) {
        if (isAbsence(error)) return error;
        throw error;
      }
    }),
  );
  const answers = outcomes.flatMap((it) => (it instanceof WeftError ? [] : [it]));
  if (answers.length === 0) throw mostTelling(outcomes.filter((it) => it instanceof WeftError));
  return answers;
}

/** The sockets of the networks that were meant. Some may be left from a daemon that has ended. */
export async function socketsOf(
  { folders }: Pick<AskNetworksComponents, 'folders'>,
  { options, id }: NetworksRequest,
): Promise<string[]> {
  const { socket } = artefactsOf(id ?? { prefix: options.etcdPrefix }, options);
  if (id !== undefined) return [socket];
  const names = await folders.list(options.stateDir).catch((): string[] => []);
  const there = names.filter((name) => /^network-[0-9a-f]{12}\.sock$/.test(name));
  return [...new Set([socket, ...there.map((name) => join(options.stateDir, name))])];
}

const isAbsence = (error: unknown): error is WeftError =>
  error instanceof WeftError && (error.code === 'not-running' || error.code === 'silent');

/** A daemon that is silent says more than one that is not there. */
function mostTelling(errors: readonly WeftError[]): Error {
  const found = errors.find(({ code }) => code === 'silent') ?? errors[0];
  return found ?? new WeftError('not-running', 'no flanneld serves a network on this host');
}
