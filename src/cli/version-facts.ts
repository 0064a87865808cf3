import { join } from 'node:path';
import type { Build } from '#src/lib/build.ts';
import { STATE_FORMAT } from '#src/membership/remembered.ts';
import { driverSocket } from '#src/node/network-id.ts';
import { askHost } from '#src/observe/ask-status.ts';
import { STORE_FORMAT } from '#src/store/store-format.ts';
import type { Folders } from '#src/sys/folders.ts';
import type { Installed, Runtime } from '#src/sys/runtime.ts';

/** What `weft version --json` prints. Fields are added, and keep their meaning (docs/reference/support.md). */
export interface VersionFacts extends Build {
  readonly installed: Installed;
  readonly runtime: Runtime;
  /** What this version reads and writes. */
  readonly formats: typeof FORMATS;
  /** Versions of flannel that it forms one network with, both included (docs/guides/drop-in.md). */
  readonly flannel: typeof FLANNEL;
  /** The flanneld processes of this host: those whose API answers. */
  readonly running: readonly RunningVersion[];
}

export interface RunningVersion {
  /** Where its API answered. */
  readonly socket: string;
  readonly version: string;
  /** It is the version of this program. */
  readonly isThis: boolean;
}

export const FORMATS = { localApi: 'v1', stateFile: STATE_FORMAT, store: STORE_FORMAT } as const;
export const FLANNEL = { first: 'v0.9.1', last: 'v0.28' } as const;

/** A daemon that hangs is left out. */
const ANSWER = { silenceMs: 700, answerMs: 1_500 };

/** Asks every API of this host. One flanneld of several networks has several sockets, and is one entry. */
export async function readRunning(
  { folders }: { readonly folders: Pick<Folders, 'list'> },
  { stateDir, version }: { readonly stateDir: string; readonly version: string },
): Promise<RunningVersion[]> {
  const names = await folders.list(stateDir).catch((): string[] => []);
  const networks = names.filter((name) => /^network-[0-9a-f]{12}\.sock$/.test(name));
  const sockets = [...networks.map((name) => join(stateDir, name)), driverSocket({ stateDir })];
  const answers = await Promise.all(
    sockets.map(async (socket) => ({ socket, answer: await askHost(socket, ANSWER).catch(() => undefined) })),
  );
  const running = new Map<string, RunningVersion>();
  for (const { socket, answer } of answers) {
    if (answer === undefined || answer === 'silent' || running.has(answer.version)) continue;
    running.set(answer.version, { socket, version: answer.version, isThis: answer.version === version });
  }
  return [...running.values()];
}

/** What `weft version` prints. */
export function formatVersion(facts: VersionFacts): string[] {
  const { version, commit, committedAt, installed, runtime, formats, flannel, running } = facts;
  const { node, v8, openssl, koffi = 'not to be loaded', architecture } = runtime;
  const source =
    commit === undefined
      ? `from a ${installed.as}`
      : `${commit}${committedAt === undefined ? '' : ` of ${committedAt}`}`;
  return [
    `weft ${version}`,
    `  commit     ${source}`,
    `  installed  ${installed.as === 'checkout' ? 'a checkout, ' : ''}${installed.path}`,
    `  runs on    ${architecture}, Node ${node}, V8 ${v8}, OpenSSL ${openssl}, koffi ${koffi}`,
    `  formats    local API ${formats.localApi}, state file ${formats.stateFile}, store ${formats.store}`,
    `  flannel    ${flannel.first} to ${flannel.last} in one network`,
    ...(running.length === 0 ? ['  flanneld   none answers on this host'] : running.map(runningLine)),
  ];
}

const runningLine = ({ version, isThis }: RunningVersion): string =>
  isThis
    ? `  flanneld   ${version} runs`
    : `  flanneld   ${version} runs, which is not this version: systemctl restart flanneld (no packet is lost)`;
