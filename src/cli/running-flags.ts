import { addInstalledFlags } from '#src/cli/installed-flags.ts';
import { isFlanneld } from '#src/diagnose/checks/daemon-checks.ts';
import { addEnvironment, type FlagValue, parseFlags } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import type { Files } from '#src/sys/files.ts';
import type { ProcessList, RunningProgram } from '#src/sys/process-list.ts';

export interface RunningFlagsComponents {
  readonly processes: ProcessList;
  readonly files: Pick<Files, 'read'>;
}

type Given = ReadonlyMap<string, FlagValue>;

/**
 * Adds the flags and variables with which this host's flanneld was started to those that a user gave, so that a user need not
 * repeat them. A user's come first. Where several run, one counts that has the prefix that the user gave. Where none runs, the
 * settings of its unit do.
 */
export async function addRunningFlags(components: RunningFlagsComponents, given: Given): Promise<Given> {
  const running = components.processes.here().filter(isFlanneld);
  if (running.length === 0) return addInstalledFlags(components.files, given);
  const all = await Promise.all(running.map((program) => flagsOf(components, program)));
  const prefix = given.get('etcd-prefix');
  const meant = all.filter((flags) => prefix === undefined || prefixOf(flags) === prefix);
  const [only, second] = meant;
  return only === undefined || second !== undefined ? given : new Map([...only, ...given]);
}

const prefixOf = (flags: Given): FlagValue =>
  flags.get('etcd-prefix') ?? FLANNELD_FLAGS['etcd-prefix'].default;

/** Nothing for a flanneld that has flags of its own: another make, another version. */
async function flagsOf({ files }: RunningFlagsComponents, program: RunningProgram): Promise<Given> {
  const { argv, pid } = program;
  const at = argv.findIndex((word) => isFlanneld({ ...program, argv: [word] }));
  const parsed = parseFlags(FLANNELD_FLAGS, argv.slice(at + 1));
  const given = parsed.outcome === 'parsed' ? parsed.given : new Map<string, FlagValue>();
  const text = await files.read(`/proc/${pid}/environ`).catch(() => undefined);
  const variables = (text ?? '').split('\0').map((variable) => {
    const at = variable.indexOf('=');
    return [variable.slice(0, at), variable.slice(at + 1)] as const;
  });
  return addEnvironment(FLANNELD_FLAGS, given, ENVIRONMENT_PREFIX, Object.fromEntries(variables)).given;
}
