import type { Build } from '#src/lib/build.ts';
import { STATE_FORMAT } from '#src/membership/remembered.ts';
import { type RunningVersion, runningVersions } from '#src/observe/running-versions.ts';
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
  readonly running: readonly RunningFact[];
}

/** A flanneld that runs, and whether it is the version of this program. */
export interface RunningFact extends RunningVersion {
  readonly isThis: boolean;
}

export const FORMATS = { localApi: 'v1', stateFile: STATE_FORMAT, store: STORE_FORMAT } as const;
export const FLANNEL = { first: 'v0.9.1', last: 'v0.28' } as const;

export async function readRunning(
  components: { readonly folders: Pick<Folders, 'list'> },
  { stateDir, version }: { readonly stateDir: string; readonly version: string },
): Promise<RunningFact[]> {
  const running = await runningVersions(components, stateDir);
  return running.map((one) => ({ ...one, isThis: one.version === version }));
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

const runningLine = ({ version, isThis }: RunningFact): string =>
  isThis
    ? `  flanneld   ${version} runs`
    : `  flanneld   ${version} runs, which is not this version: systemctl restart flanneld (no packet is lost)`;
