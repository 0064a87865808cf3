import {
  type InstallationFacts,
  type InstallationOptions,
  readInstallation,
} from '#src/diagnose/installation/installation.ts';
import { PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { VERSION } from '#src/lib/version.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemFileLook } from '#src/sys/file-look.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { kernelRelease } from '#src/sys/kernel-release.ts';
import { systemProcessList } from '#src/sys/process-list.ts';
import { readInstalled } from '#src/sys/runtime.ts';

/** What is installed on this host. `options`: of the flanneld that runs; where none does, those of its unit. */
export const lookAtInstallation = (options: FlanneldOptions): Promise<InstallationFacts> =>
  readInstallation(
    {
      files: systemFiles,
      folders: systemFolders,
      look: systemFileLook,
      commands: systemCommands,
      processes: systemProcessList,
    },
    installationOptions(options),
  );

const installationOptions = (options: FlanneldOptions): InstallationOptions => ({
  version: VERSION,
  installed: readInstalled(),
  stateDir: options.stateDir,
  tls: { caFile: options.etcdCafile, certFile: options.etcdCertfile, keyFile: options.etcdKeyfile },
  docker: options.dockerDriver,
  probes: options.probes,
  fastPath: options.fastPath,
  pluginSocket: PLUGIN_SOCKET,
  kernelRelease: kernelRelease(),
  now: systemClock.now(),
});
