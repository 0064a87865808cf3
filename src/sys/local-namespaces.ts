import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Where files of network namespaces are, apart from those of processes: iproute2's, and Docker's sandboxes. */
const FOLDERS = ['/run/netns', '/run/docker/netns'];

/**
 * The network namespaces of this machine as paths, each once: those that have a name, and those of processes. One that has
 * neither can't be found. Equals `lsns -t net`, and `ip netns list`.
 */
export function listLocalNamespaces(): string[] {
  const byInode = new Map<number, string>();
  for (const folder of FOLDERS) {
    for (const name of namesIn(folder)) {
      const path = join(folder, name);
      const inode = inodeOf(path);
      if (inode !== undefined && !byInode.has(inode)) byInode.set(inode, path);
    }
  }
  for (const name of namesIn('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const path = `/proc/${name}/ns/net`;
    const inode = numberIn(path);
    if (inode !== undefined && !byInode.has(inode)) byInode.set(inode, path);
  }
  return [...byInode.values()];
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}

/** From `net:[4026531840]`: cheaper than to open it. A process may have ended. */
function numberIn(path: string): number | undefined {
  try {
    return Number(/\[(\d+)\]/.exec(readlinkSync(path))?.[1]);
  } catch {
    return undefined;
  }
}
