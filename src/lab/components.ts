import { WeftError } from '#src/lib/errors.ts';
import { type ByteFiles, systemByteFiles } from '#src/sys/byte-files.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { type CommandResult, type CommandRunner, systemCommands } from '#src/sys/command.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';
import { type Folders, systemFolders } from '#src/sys/folders.ts';
import { type Processes, systemProcesses } from '#src/sys/process.ts';
import { programPath } from '#src/sys/program-path.ts';
import { systemUnixHttp, type UnixHttpClient } from '#src/sys/unix-http.ts';

/** The parts of a lab. It makes its hosts with iproute2 and never with our own netlink code, which its tests verify. */
export interface LabComponents {
  readonly commands: CommandRunner;
  readonly processes: Processes;
  readonly files: Files;
  readonly byteFiles: ByteFiles;
  readonly folders: Folders;
  readonly clock: Clock;
  readonly http: UnixHttpClient;
  /** The program that sends echoes. */
  readonly weft: string;
}

export const systemLabComponents = (weft = programPath('weft')): LabComponents => ({
  weft,
  commands: systemCommands,
  processes: systemProcesses(),
  files: systemFiles,
  byteFiles: systemByteFiles,
  folders: systemFolders,
  clock: systemClock,
  http: systemUnixHttp,
});

/** The command's standard output; throws `lab-command` with its last words when it failed. */
export function outputOf(argv: readonly string[], result: CommandResult): string {
  if (result.code === 0) return result.stdout;
  const said = result.stderr.trim() || result.stdout.trim() || 'no output';
  throw new WeftError('lab-command', `${argv.join(' ')}: exit code ${result.code}: ${said}`);
}
