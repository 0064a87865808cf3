import type { Kernel } from '#src/kernel/kernel.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { formatFinding, type PreflightOptions, preflight } from '#src/node/preflight.ts';
import type { Link } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import { kernelRelease } from '#src/sys/kernel-release.ts';

export interface HostCheckComponents {
  readonly kernel: Kernel;
  readonly files: Files;
  readonly commands: CommandRunner;
  readonly log: Logger;
}

/** Warns of what the host lacks. Throws WeftError `host` with everything that makes a start impossible. */
export async function checkHost(
  { kernel, files, commands, log }: HostCheckComponents,
  options: PreflightOptions,
  signal: AbortSignal,
): Promise<void> {
  const tryDevice = async (probe: Link): Promise<KernelError | undefined> => {
    const [made] = await kernel.apply([{ verb: 'add', object: probe }]);
    // Another network's start may try at the same moment, and a start that was killed leaves its device behind.
    if (made !== undefined && !made.done && made.error.errno !== 'EEXIST') return made.error;
    await kernel.apply([{ verb: 'remove', object: probe }]);
    return undefined;
  };
  const findings = await preflight(
    { files, commands, tryDevice, kernelRelease: kernelRelease() },
    options,
    signal,
  );
  const fatal = findings.filter(({ severity }) => severity === 'fatal');
  for (const finding of findings) if (!fatal.includes(finding)) log.warning(formatFinding(finding));
  if (fatal.length > 0)
    throw new WeftError('host', `this host can't run an overlay: ${fatal.map(formatFinding).join(' | ')}`);
}
