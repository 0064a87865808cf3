import { join } from 'node:path';
import type { LabComponents } from '#src/lab/components.ts';
import type { ProcessId } from '#src/sys/process.ts';
import { until } from '#src/sys/until.ts';

const NAMESPACES = '/run/netns';
const CGROUPS = '/sys/fs/cgroup';
/** Time for the programs of the hosts to end by themselves, in milliseconds. */
const GRACE_MS = 3_000;
/** Time for the kernel to end a killed process, in milliseconds. */
const KILL_MS = 30_000;

/** The names of a lab's namespaces and control groups. Everything with such a name belongs to the lab, so no list is needed. */
export const namespacePrefix = (lab: string): string => `weft-${lab}-`;
export const cgroupName = (lab: string): string => `weft-${lab}`;
/** A mount of its own, whose files hold the mount and UTS namespaces of the hosts. */
export const heldFolder = (folder: string): string => join(folder, 'held');

/**
 * Ends all processes of the lab of this name and removes its namespaces, its mounts, its control groups and its folder,
 * in any state. It may be called twice.
 */
export async function tearDown(
  components: LabComponents,
  lab: { name: string; folder: string },
): Promise<void> {
  const { commands, folders, processes, clock } = components;
  const prefix = namespacePrefix(lab.name);
  const namespaces = (await folders.list(NAMESPACES)).filter((name) => name.startsWith(prefix));
  const held = heldFolder(lab.folder);
  // A host's programs may be in network namespaces that the host made; they stay in its UTS namespace.
  const holders = [
    ...namespaces.map((name) => join(NAMESPACES, name)),
    ...(await folders.list(held)).map((name) => join(held, name)),
  ];
  const cgroups = await cgroupsCalled(components, cgroupName(lab.name));
  const what = `end of the processes of lab ${lab.name}`;

  const killContainers = () =>
    until(async () => signalAll(components, await inCgroups(components, cgroups), 'SIGKILL') === 0, {
      what,
      timeoutMs: KILL_MS,
    });
  // Containers first: dockerd would give each of them ten seconds.
  await killContainers();
  // A frozen process handles SIGTERM only after SIGCONT.
  for (const name of ['SIGTERM', 'SIGCONT'] as const) {
    signalAll(components, processes.inNamespaces(holders), name);
  }
  const deadline = clock.monotonic() + GRACE_MS;
  await until(
    () => {
      const left = processes.inNamespaces(holders);
      return (
        left.length === 0 || (clock.monotonic() > deadline && signalAll(components, left, 'SIGKILL') === 0)
      );
    },
    { what, timeoutMs: GRACE_MS + KILL_MS },
  );
  await killContainers();

  for (const namespace of namespaces) await commands.run(['ip', 'netns', 'delete', namespace]);
  // With it go the mounts of the hosts and the namespaces that they made. There is none where `up` ended early.
  await commands.run(['umount', '-n', '-l', held]);
  // A group is busy until the kernel has let go of the last of its processes.
  await until(() => removeAll(components, cgroups), {
    what: `end of the control groups of lab ${lab.name}`,
    timeoutMs: KILL_MS,
  });
  await folders.remove(lab.folder);
}

/** Whether they are gone. */
async function removeAll({ folders }: LabComponents, cgroups: readonly string[]): Promise<boolean> {
  try {
    for (const cgroup of cgroups) await folders.removeTree(cgroup);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
    return false;
  }
}

/** How many of them got the signal. */
function signalAll({ processes }: LabComponents, ids: readonly ProcessId[], name: NodeJS.Signals): number {
  return ids.filter((id) => processes.signal(id, name)).length;
}

async function inCgroups(components: LabComponents, cgroups: readonly string[]): Promise<ProcessId[]> {
  const ids: ProcessId[] = [];
  for (const cgroup of cgroups) {
    const pids = numbers((await components.files.read(join(cgroup, 'cgroup.procs')).catch(ifGone)) ?? '');
    ids.push(...pids.map((pid) => components.processes.find(pid)).filter((id) => id !== undefined));
    const children = (await components.folders.listFolders(cgroup).catch(ifGone)) ?? [];
    ids.push(
      ...(await inCgroups(
        components,
        children.map((child) => join(cgroup, child)),
      )),
    );
  }
  return ids;
}

/** dockerd removes a container's group when the container has ended; a read of it that is under way fails so. */
function ifGone(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
}

/** A control group by name in every hierarchy: version 2 has one, at the root, version 1 one per controller. */
async function cgroupsCalled({ folders }: LabComponents, name: string): Promise<string[]> {
  const found: string[] = [];
  for (const hierarchy of ['', ...(await folders.listFolders(CGROUPS))]) {
    const children = await folders.listFolders(join(CGROUPS, hierarchy));
    if (children.includes(name)) found.push(join(CGROUPS, hierarchy, name));
  }
  return found;
}

const numbers = (text: string): number[] => text.split('\n').filter(Boolean).map(Number);
