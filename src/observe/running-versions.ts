import { join } from 'node:path';
import { askHost } from '#src/observe/ask-status.ts';
import type { Folders } from '#src/sys/folders.ts';

/** A version of flanneld that runs on this host. */
export interface RunningVersion {
  /** The path of the socket on which its API answered. */
  readonly socket: string;
  readonly version: string;
}

/** A daemon that hangs is left out. */
const ANSWER = { silenceMs: 700, answerMs: 1_500 };

/**
 * Asks every API of this host. One flanneld of several networks has several sockets, and is one entry, as are two of one
 * version.
 */
export async function runningVersions(
  { folders }: { readonly folders: Pick<Folders, 'list'> },
  stateDir: string,
): Promise<RunningVersion[]> {
  const names = await folders.list(stateDir).catch((): string[] => []);
  // Those of networks, then the driver's (node/network-id.ts).
  const sockets = [/^network-[0-9a-f]{12}\.sock$/, /^docker-driver\.sock$/].flatMap((pattern) =>
    names.filter((name) => pattern.test(name)),
  );
  const answers = await Promise.all(
    sockets.map(async (name) => {
      const socket = join(stateDir, name);
      return { socket, answer: await askHost(socket, ANSWER).catch(() => undefined) };
    }),
  );
  const running = new Map<string, RunningVersion>();
  for (const { socket, answer } of answers) {
    if (answer === undefined || answer === 'silent' || running.has(answer.version)) continue;
    running.set(answer.version, { socket, version: answer.version });
  }
  return [...running.values()];
}
