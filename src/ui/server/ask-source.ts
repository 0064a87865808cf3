import type { Peers } from '#src/observe/api.ts';
import type { HostStatus, NodeStatus } from '#src/observe/node-status.ts';
import type { UnixHttpClient } from '#src/sys/unix-http.ts';
import type { Link, Own } from '#src/ui/model/feed.ts';
import { leaseNameOf, linkOf } from '#src/ui/server/link-of.ts';
import type { UiSource } from '#src/ui/server/ui-source.ts';

export type SourceAnswer =
  | { readonly kind: 'answer'; readonly own: Own; readonly links: readonly Link[] }
  | { readonly kind: 'none'; readonly why: string };

const ANSWER_MS = 5_000;

/** Asks a source for its status and its peers. An API without the second answers with the status, or with 404. */
export async function askSource(
  http: UnixHttpClient,
  { socket, kind }: UiSource,
  signal: AbortSignal,
): Promise<SourceAnswer> {
  const options = { timeoutMs: ANSWER_MS, signal };
  const get = async (path: string): Promise<unknown> => {
    const { status, body } = await http.call(socket, { method: 'GET', path }, options);
    return status === 200 ? JSON.parse(body) : undefined;
  };
  try {
    const [status, peers] = await Promise.all([
      get('/v1/status'),
      kind === 'network' ? get('/v1/peers') : undefined,
    ]);
    if (!isStatus(status)) return { kind: 'none', why: 'its answer is no status' };
    return { kind: 'answer', own: ownOf(status), links: isPeers(peers) ? peers.peers.map(linkOf) : [] };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'none', why: reasonOf(error) };
  }
}

const isStatus = (value: unknown): value is NodeStatus | HostStatus =>
  typeof value === 'object' && value !== null && 'ready' in value && 'troubles' in value;

const isPeers = (value: unknown): value is Peers =>
  typeof value === 'object' && value !== null && 'peers' in value && Array.isArray(value.peers);

function ownOf(status: NodeStatus | HostStatus): Own {
  const { version, node, ready, troubles } = status;
  const base = { version, node, ready, troubles };
  if (!('registry' in status)) return base;
  const { network, registry, kernel, eventLoopDelayMs } = status;
  const lease = network === undefined ? undefined : leaseNameOf(network.subnet);
  return {
    ...base,
    ...(lease !== undefined && { lease }),
    ...(network !== undefined && {
      subnet: network.subnet,
      publicIp: network.publicIp,
      range: network.network,
      backend: network.backend,
      mtu: network.mtu,
    }),
    registry: `${registry.description}: ${registry.state}`,
    wanted: kernel.wanted,
    failing: kernel.failing.length,
    repairs: kernel.repairs,
    eventLoopDelayMs: Math.round(eventLoopDelayMs),
  };
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'flanneld does not run: its socket is not there',
  ECONNREFUSED: 'flanneld does not run: nobody listens on its socket',
  EACCES: 'this user may not ask: run weft ui as root',
};

function reasonOf(error: unknown): string {
  const { code = '', name, message } = error as NodeJS.ErrnoException;
  return WHY[code] ?? (name === 'TimeoutError' ? 'flanneld holds its socket but does not answer' : message);
}
