import { isFlanneld } from '#src/diagnose/checks/daemon-checks.ts';
import { absentFact, type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { type Capability, missingCapabilities } from '#src/sys/capabilities.ts';
import type { FileLook } from '#src/sys/file-look.ts';
import type { Files } from '#src/sys/files.ts';
import type { RunningProgram } from '#src/sys/process-list.ts';

/** The process of flanneld on this host. */
export interface RunningFlanneld {
  readonly pid: number;
  /** The file that it runs from was replaced or removed since it started. */
  readonly isReplaced: boolean;
  /** Of those that the features in use need. */
  readonly missing: readonly Capability[];
  /** System calls are filtered (seccomp(2), mode 2). */
  readonly isFiltered: boolean;
  /** The unit that it runs in; absent outside of one. */
  readonly unit?: string;
}

/** `needed`: what the features in use need. */
export async function readRunningFlanneld(
  { files, look }: { readonly files: Pick<Files, 'read'>; readonly look: FileLook },
  programs: readonly RunningProgram[],
  needed: readonly Capability[],
): Promise<Fact<RunningFlanneld>> {
  const found = programs.find(isFlanneld);
  if (found === undefined) return absentFact('no flanneld runs on this host');
  const { pid } = found;
  const [status, groups, program] = await Promise.all([
    files.read(`/proc/${pid}/status`).catch(() => undefined),
    files.read(`/proc/${pid}/cgroup`).catch(() => undefined),
    look.target(`/proc/${pid}/exe`),
  ]);
  if (status === undefined) return unknownFact(`/proc/${pid}/status can't be read`);
  // The last part of a line of cgroups(7): 0::/system.slice/flanneld.service
  const unit = /\/([^/\n]+\.service)$/m.exec(groups ?? '')?.[1];
  return knownFact({
    pid,
    isReplaced: program?.endsWith(' (deleted)') === true,
    missing: await missingCapabilities(files, needed, pid),
    isFiltered: /^Seccomp:\s*2$/m.test(status),
    ...(unit !== undefined && { unit }),
  });
}
