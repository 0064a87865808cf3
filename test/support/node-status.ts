import { join } from 'node:path';
import type { Host } from '#src/lab/host.ts';
import { askNode } from '#src/observe/ask-status.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { patience, until } from '#src/sys/until.ts';

const STATE = '/var/lib/weft';
/** On a busy machine a node that works takes seconds to answer. */
const SILENCE_MS = 10_000;

/**
 * What `weft status --json` prints on a host, of each network that answers. The sockets are asked from this process: to
 * start the command takes a processor a hundred times as long, and a test that waits asks often.
 */
export async function statusesOf(host: Host): Promise<NodeStatus[]> {
  const folder = host.path(STATE);
  const names = await host.components.folders.list(folder);
  const sockets = names.filter((name) => /^network-[0-9a-f]{12}\.sock$/.test(name));
  const answers = await Promise.all(
    sockets.map((name) => askNode(join(folder, name), { silenceMs: SILENCE_MS * patience() })),
  );
  return answers.filter((answer) => answer !== undefined && answer !== 'silent');
}

/** The same of a host with one network. */
export async function statusOf(host: Host): Promise<NodeStatus> {
  const [status, ...more] = await statusesOf(host);
  if (status === undefined) throw new Error(`no flanneld of ${host.name} answers`);
  if (more.length > 0) throw new Error(`${host.name} has ${more.length + 1} networks`);
  return status;
}

/** Waits until a host with one network is ready: some parts of it are there a moment after its start. */
export async function readyOn(host: Host): Promise<NodeStatus> {
  let last: NodeStatus | undefined;
  const ask = async (): Promise<NodeStatus | undefined> => {
    last = await statusOf(host);
    return last.ready ? last : undefined;
  };
  return until(ask, { what: `ready flanneld on ${host.name}`, signal: host.signal }).catch((error: Error) => {
    throw new Error(`${error.message}: ${last?.troubles.join('; ')}`, { cause: error });
  });
}
