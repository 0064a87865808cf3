import { DOCKER_SOCKET } from '#src/docker/docker-engine.ts';
import type { UnixHttp } from '#src/sys/unix-http.ts';

/** A container of this host that runs. */
export interface RunningContainer {
  /** 64 hex digits. */
  readonly id: string;
  readonly name: string;
  /** By the name of Docker's network; that of IPv4 first, where there is one. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

const ANSWER_MS = 2_000;

/** Asks Docker for its containers that run; `undefined` when there is no Docker, or it does not answer. */
export async function readContainers(
  { http }: { readonly http: UnixHttp },
  { socket = DOCKER_SOCKET, signal }: { readonly socket?: string; readonly signal?: AbortSignal } = {},
): Promise<readonly RunningContainer[] | undefined> {
  const options = { timeoutMs: ANSWER_MS, ...(signal && { signal }) };
  const answer = await http.get(socket, '/containers/json', options);
  return answer === undefined ? undefined : parseContainers(answer);
}

/** Reads the answer to `GET /containers/json` (API 1.40 to 1.56); nothing of what is none. */
export function parseContainers(answer: string): RunningContainer[] {
  const list: unknown = JSON.parse(answer);
  return Array.isArray(list) ? list.flatMap((it) => containerOf(it) ?? []) : [];
}

function containerOf(value: unknown): RunningContainer | undefined {
  const { Id, Names, NetworkSettings } = (value ?? {}) as {
    readonly Id?: unknown;
    readonly Names?: readonly unknown[];
    readonly NetworkSettings?: {
      readonly Networks?: Readonly<
        Record<string, { readonly IPAddress?: unknown; readonly GlobalIPv6Address?: unknown } | null>
      >;
    };
  };
  if (typeof Id !== 'string') return undefined;
  const name = String(Names?.[0] ?? '').replace(/^\//, '');
  const networks = Object.entries(NetworkSettings?.Networks ?? {});
  const addresses = networks.map(([network, it]) => {
    const both = [it?.IPAddress, it?.GlobalIPv6Address];
    return [network, both.filter((one): one is string => typeof one === 'string' && one !== '')] as const;
  });
  return { id: Id, name, addresses: new Map(addresses) };
}

/** The container that a user means by a name, or by an ID or its beginning of 4 digits at least. */
export const containerCalled = (
  containers: readonly RunningContainer[],
  word: string,
): RunningContainer | undefined =>
  containers.find(({ name, id }) => name === word || id === word) ??
  (word.length >= 4 ? containers.find(({ id }) => id.startsWith(word)) : undefined);
