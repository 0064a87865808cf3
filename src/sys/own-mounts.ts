import type { Files } from '#src/sys/files.ts';

/**
 * Whether this process is a service of systemd whose sandbox has mounts of its own (ProtectSystem=, PrivateTmp= and others
 * of systemd.exec(5)): nobody else sees what it mounts, and that goes when it ends. Other programs that give a process
 * mounts of its own, such as unshare(1), keep these for the next process.
 */
export async function hasOwnMounts(
  files: Pick<Files, 'read'>,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<boolean> {
  if (!environment.NOTIFY_SOCKET) return false;
  const [own, host] = await Promise.all(['self', '1'].map((process) => rootMount(files, process)));
  // Only a sandbox hides the first process from root (ProtectProc=).
  return own !== undefined && own !== host;
}

/** The number of the mount at `/`, which no other mount of the machine has (proc(5), mountinfo). */
async function rootMount(files: Pick<Files, 'read'>, process: string): Promise<string | undefined> {
  const text = await files.read(`/proc/${process}/mountinfo`).catch(() => undefined);
  return /^(\d+) \d+ \S+ \S+ \/ /m.exec(text ?? '')?.[1];
}
