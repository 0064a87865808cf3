import { parseEnv } from 'node:util';
import { isFlanneld } from '#src/diagnose/checks/daemon-checks.ts';
import {
  type InstallationFacts,
  type InstallationOptions,
  readInstallation,
} from '#src/diagnose/installation/installation.ts';
import { SETTINGS } from '#src/diagnose/installation/settings-files.ts';
import { PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { addEnvironment, optionsOf } from '#src/lib/go-flags.ts';
import { VERSION } from '#src/lib/version.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemFileLook } from '#src/sys/file-look.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { kernelRelease } from '#src/sys/kernel-release.ts';
import { systemProcessList } from '#src/sys/process-list.ts';
import { readInstalled } from '#src/sys/runtime.ts';

/** What is installed on this host. `options`: of the flanneld that runs; where none does, the files of settings say more. */
export async function lookAtInstallation(options: FlanneldOptions): Promise<InstallationFacts> {
  const runs = systemProcessList.here().some(isFlanneld);
  const judged = runs ? options : await settingsOf(systemFiles, options);
  return readInstallation(
    {
      files: systemFiles,
      folders: systemFolders,
      look: systemFileLook,
      commands: systemCommands,
      processes: systemProcessList,
    },
    installationOptions(judged),
  );
}

const installationOptions = (options: FlanneldOptions): InstallationOptions => ({
  version: VERSION,
  installed: readInstalled(),
  stateDir: options.stateDir,
  tls: { caFile: options.etcdCafile, certFile: options.etcdCertfile, keyFile: options.etcdKeyfile },
  docker: options.dockerDriver,
  probes: options.probes,
  pluginSocket: PLUGIN_SOCKET,
  kernelRelease: kernelRelease(),
  now: systemClock.now(),
});

/** The files of settings as the unit reads them; what was given on the command line wins where it is no default. */
async function settingsOf(files: Pick<Files, 'read'>, given: FlanneldOptions): Promise<FlanneldOptions> {
  const texts = await Promise.all(SETTINGS.map((path) => files.read(path).catch(() => undefined)));
  const variables = Object.assign({}, ...texts.map((text) => parseEnv(text ?? '')));
  const read = addEnvironment(FLANNELD_FLAGS, new Map(), ENVIRONMENT_PREFIX, variables);
  const written = optionsOf(FLANNELD_FLAGS, read.given);
  const fallback = optionsOf(FLANNELD_FLAGS, new Map());
  const isGiven = (name: string, value: unknown): boolean =>
    value !== fallback[name as keyof FlanneldOptions];
  const own = Object.entries(given).filter(([name, value]) => isGiven(name, value));
  return { ...written, ...Object.fromEntries(own) };
}
