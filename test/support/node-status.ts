import { join } from 'node:path';
import type { Host } from '#src/lab/host.ts';
import { askNode } from '#src/observe/ask-status.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { patience } from '#src/sys/until.ts';

const STATE = '/var/lib/weft';

/**
 * What `weft status --json` prints on a host, of each network that answers. The sockets are asked from this process: to
 * start the command takes a processor a hundred times as long, and a test that waits asks often.
 */
export async function statusesOf(host: Host): Promise<NodeStatus[]> {
  const folder = host.path(STATE);
  const names = await host.components.folders.list(folder);
  const sockets = names.filter((name) => /^network-[0-9a-f]{12}\.sock$/.test(name));
  const answers = await Promise.all(
    sockets.map((name) => askNode(join(folder, name), { silenceMs: 2_000 * patience() })),
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
