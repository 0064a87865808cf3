import { existsSync, globSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { systemCommands } from '#src/sys/command.ts';
import { removeGroup } from './control-groups.ts';

/** Names of what machines, underlays and hosts with systemd are made of: the process that made it, and a number. */
const NAME = /^weft-test-(\d+)-[mus]\d+$/;

const isLeft = (name: string): boolean => {
  const maker = NAME.exec(name)?.[1];
  return maker !== undefined && !existsSync(`/proc/${maker}`);
};

/** Takes away the namespaces, control groups and disks of runs that were killed. Their processes and mounts have ended with them. */
export async function removeLeftovers(): Promise<void> {
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns').filter(isLeft) : [];
  for (const name of namespaces) await systemCommands.run(['ip', 'netns', 'delete', name]);
  const groups = globSync(['/sys/fs/cgroup/weft-test-*', '/sys/fs/cgroup/*/weft-test-*']);
  for (const group of groups.filter((path) => isLeft(basename(path)))) removeGroup(group);
  for (const name of readdirSync(tmpdir()).filter(isLeft))
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
}
