import { join } from 'node:path';
import type { LabComponents } from '#src/lab/components.ts';
import { until } from '#src/sys/until.ts';

const NAMESPACES = '/run/netns';
const CGROUPS = '/sys/fs/cgroup';
/** Time for the programs of the hosts to end by themselves, in milliseconds. */
const GRACE_MS = 3_000;
/** Time for the kernel to end a killed process, in milliseconds. */
const KILL_MS = 10_000;

/** The names of a lab's namespaces and control groups. Everything with such a name belongs to the lab, so no list is needed. */
export const namespacePrefix = (lab: string): string => `weft-${lab}-`;
export const cgroupName = (lab: string): string => `weft-${lab}`;

/**
 * Ends all processes of the lab of this name and removes its namespaces, its control groups and its folder, in any state.
 * It may be called twice.
 */
export async function tearDown(
  components: LabComponents,
  lab: { name: string; folder: string },
): Promise<void> {
  const { commands, folders, clock } = components;
  const prefix = namespacePrefix(lab.name);
  const namespaces = (await folders.list(NAMESPACES)).filter((name) => name.startsWith(prefix));
  const cgroups = await cgroupsCalled(components, cgroupName(lab.name));
  const what = `end of the processes of lab ${lab.name}`;

  const killContainers = () =>
    until(async () => signalAll(components, await pidsInCgroups(components, cgroups), 'SIGKILL') === 0, {
      what,
      timeoutMs: KILL_MS,
    });
  // Containers first: dockerd would give each of them ten seconds.
  await killContainers();
  // A frozen process handles SIGTERM only after SIGCONT.
  for (const name of ['SIGTERM', 'SIGCONT'] as const) {
    signalAll(components, await pidsInNamespaces(components, namespaces), name);
  }
  const deadline = clock.monotonic() + GRACE_MS;
  await until(
    async () => {
      const pids = await pidsInNamespaces(components, namespaces);
      return (
        pids.length === 0 || (clock.monotonic() > deadline && signalAll(components, pids, 'SIGKILL') === 0)
      );
    },
    { what, timeoutMs: GRACE_MS + KILL_MS },
  );
  await killContainers();

  for (const namespace of namespaces) await commands.run(['ip', 'netns', 'delete', namespace]);
  for (const cgroup of cgroups) await folders.removeTree(cgroup);
  await folders.remove(lab.folder);
}

/** How many of them got the signal. */
function signalAll({ processes }: LabComponents, pids: readonly number[], name: NodeJS.Signals): number {
  const ids = pids.map((pid) => processes.find(pid)).filter((id) => id !== undefined);
  return ids.filter((id) => processes.signal(id, name)).length;
}

async function pidsInNamespaces(components: LabComponents, namespaces: readonly string[]): Promise<number[]> {
  const pids: number[] = [];
  for (const namespace of namespaces) {
    const { stdout } = await components.commands.run(['ip', 'netns', 'pids', namespace]);
    pids.push(...numbers(stdout));
  }
  // A zombie that was not reaped is listed as well.
  return pids.filter((pid) => components.processes.find(pid) !== undefined);
}

async function pidsInCgroups(components: LabComponents, cgroups: readonly string[]): Promise<number[]> {
  const pids: number[] = [];
  for (const cgroup of cgroups) {
    pids.push(...numbers((await components.files.read(join(cgroup, 'cgroup.procs'))) ?? ''));
    const children = await components.folders.listFolders(cgroup);
    pids.push(
      ...(await pidsInCgroups(
        components,
        children.map((child) => join(cgroup, child)),
      )),
    );
  }
  return pids;
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
