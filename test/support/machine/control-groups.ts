import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { until } from '#src/sys/until.ts';

/** linux/magic.h */
const CGROUP2_SUPER_MAGIC = 0x63677270;
const MOUNTED = '/sys/fs/cgroup';

/**
 * A control group in each hierarchy of this machine, which are the roots that a systemd of a test's own sees. One that saw the root
 * of a hierarchy would remove the empty groups of other tests when it ends (manager_shutdown_cgroup, src/core/cgroup.c).
 */
export interface ControlGroups {
  readonly version: 'v1' | 'v2';
  /** A line for a shell, which goes into all of them. */
  readonly enter: string;
  /** Waits for the end of the processes in them. */
  remove(): Promise<void>;
}

export function makeControlGroups(name: string): ControlGroups {
  const version = statfsSync(MOUNTED).type === CGROUP2_SUPER_MAGIC ? 'v2' : 'v1';
  const folders = (version === 'v2' ? [MOUNTED] : hierarchies()).map((folder) => join(folder, name));
  for (const folder of folders) {
    mkdirSync(folder);
    // A new one has no processors and no memory, and takes no process before it has (cgroup-v1/cpusets.rst).
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      if (version === 'v1' && existsSync(join(folder, file)))
        writeFileSync(join(folder, file), readFileSync(join(folder, '..', file)));
  }
  return {
    version,
    enter: folders.map((folder) => `echo $$ > ${folder}/cgroup.procs`).join('; '),
    async remove() {
      await until(() => folders.every(removeGroup), {
        what: `end of the processes in ${name}`,
        timeoutMs: 60_000,
      });
    },
  };
}

/** Those that are mounted: `unified` is a hierarchy of version 2 beside those of version 1. */
const hierarchies = (): string[] =>
  readdirSync(MOUNTED, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(MOUNTED, name));

/** Whether it is gone, with those in it: one with a process stays. */
export function removeGroup(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory() && !removeGroup(join(folder, entry.name))) return false;
    rmdirSync(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY') return false;
    throw error;
  }
}
