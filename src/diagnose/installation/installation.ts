import { type Dockerd, readDockerd, readDockerOptions } from '#src/diagnose/facts/dockerd.ts';
import type { Fact } from '#src/diagnose/facts/fact.ts';
import { type CertificatesSeen, readCertificates } from '#src/diagnose/installation/certificates.ts';
import { type InstalledPackage, readInstalledPackage } from '#src/diagnose/installation/installed-package.ts';
import { type KernelSettings, readKernelSettings } from '#src/diagnose/installation/kernel-settings.ts';
import { type RunningFlanneld, readRunningFlanneld } from '#src/diagnose/installation/running-flanneld.ts';
import {
  readSettingsFiles,
  readSettingsTwice,
  type SettingsFile,
} from '#src/diagnose/installation/settings-files.ts';
import { readStateFolder, type StateFolder } from '#src/diagnose/installation/state-folder.ts';
import { readUnits, type UnitSeen } from '#src/diagnose/installation/units-seen.ts';
import { runningVersions } from '#src/observe/running-versions.ts';
import type { TlsFiles } from '#src/registry/tls.ts';
import type { Capability } from '#src/sys/capabilities.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { FileLook } from '#src/sys/file-look.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import type { ProcessList } from '#src/sys/process-list.ts';
import type { Installed } from '#src/sys/runtime.ts';

/** What is installed on a host, whether it is a node of a network or not. Reading changes nothing. */
export interface InstallationFacts {
  readonly version: string;
  readonly installed: Installed;
  readonly package: Fact<InstalledPackage>;
  /** The programs that a unit starts by their name alone, and where they are. */
  readonly programs: readonly ProgramFound[];
  readonly settings: readonly SettingsFile[];
  /** Variables that the two files of flanneld's settings have with different values. */
  readonly settingsTwice: readonly string[];
  readonly state: Fact<StateFolder>;
  readonly flanneld: Fact<RunningFlanneld>;
  /** Of the flanneld that answers; absent where none does. */
  readonly runningVersion?: string;
  readonly certificates: Fact<CertificatesSeen>;
  readonly kernel: KernelSettings;
  /** Which programs for rules there are, with their versions. */
  readonly filters: readonly string[];
  readonly units: Fact<ReadonlyMap<string, UnitSeen>>;
  readonly dockerd: Fact<Dockerd>;
  /** Names of the options in Docker's file, whether dockerd runs or not. */
  readonly dockerOptions: readonly string[];
  readonly plugin: PluginSocket;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** A program by its name, as the first one in systemd's path. */
export interface ProgramFound {
  readonly name: string;
  /** `undefined`: there is none. */
  readonly path: string | undefined;
  /** It is this installation's. */
  readonly isOurs: boolean;
}

/** The socket at which dockerd looks for the driver. */
export interface PluginSocket {
  readonly path: string;
  /** The file is there; a process listens. */
  readonly isThere: boolean;
  readonly isServed: boolean;
}

export interface InstallationComponents {
  readonly files: Files;
  readonly folders: Pick<Folders, 'list'>;
  readonly look: FileLook;
  readonly commands: CommandRunner;
  readonly processes: ProcessList;
}

export interface InstallationOptions {
  readonly version: string;
  readonly installed: Installed;
  readonly stateDir: string;
  readonly tls: TlsFiles;
  /** What the flags of flanneld ask for. */
  readonly docker: 'auto' | 'on' | 'off';
  readonly probes: boolean;
  readonly fastPath: 'on' | 'off';
  readonly pluginSocket: string;
  readonly kernelRelease: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What a name without a path is looked up in (systemd.exec(5), `ExecSearchPath=`). */
export const UNIT_PATH: readonly string[] = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];
const PROGRAMS = ['flanneld', 'mk-docker-opts'];
export const UNITS = ['flanneld.service', 'docker.service', 'weft-docker.socket', 'flannel.service'];

export async function readInstallation(
  components: InstallationComponents,
  options: InstallationOptions,
): Promise<InstallationFacts> {
  const { files, look, commands, processes } = components;
  const { version, installed, stateDir, tls, pluginSocket, kernelRelease, now } = options;
  // What runs programs takes longest, and is started first.
  const owner = readInstalledPackage(commands, installed.path);
  const filters = readFilters(commands);
  const running = runningVersions(components, stateDir);
  const programs = processes.here();
  const units = await readUnits(components, UNITS);
  const needed = neededBy({
    probes: options.probes,
    driver: servesDriver(options.docker, units),
    fastPath: options.fastPath === 'on',
  });
  const [runs] = await running;
  return {
    version,
    installed,
    programs: await Promise.all(PROGRAMS.map((name) => findProgram(look, name, installed))),
    settings: await readSettingsFiles(components, tls.keyFile ?? ''),
    settingsTwice: await readSettingsTwice(files),
    state: await readStateFolder(components, stateDir),
    flanneld: await readRunningFlanneld(components, programs, needed),
    ...(runs !== undefined && { runningVersion: runs.version }),
    certificates: await readCertificates(files, tls),
    kernel: await readKernelSettings(files, kernelRelease),
    units,
    dockerd: await readDockerd(files, programs),
    dockerOptions: await readDockerOptions(files),
    plugin: await readPluginSocket(components, pluginSocket),
    package: await owner,
    filters: await filters,
    now,
  };
}

/** docs/guides/systemd.md has the table of rights. */
const neededBy = ({
  probes,
  driver,
  fastPath,
}: Readonly<Record<'probes' | 'driver' | 'fastPath', boolean>>): Capability[] => [
  'CAP_NET_ADMIN',
  ...(probes ? (['CAP_NET_RAW'] as const) : []),
  ...(driver ? (['CAP_SYS_ADMIN', 'CAP_NET_BIND_SERVICE'] as const) : []),
  ...(fastPath ? (['CAP_BPF', 'CAP_PERFMON'] as const) : []),
];

/** With `auto` flanneld serves the driver where it can; a host that has enabled the socket wants it to. */
const servesDriver = (docker: 'auto' | 'on' | 'off', units: InstallationFacts['units']): boolean =>
  docker === 'on' ||
  (docker === 'auto' && units.kind === 'known' && units.value.get('weft-docker.socket')?.isEnabled === true);

async function findProgram(look: FileLook, name: string, installed: Installed): Promise<ProgramFound> {
  for (const folder of UNIT_PATH) {
    const path = `${folder}/${name}`;
    const real = await look.resolve(path);
    if (real === undefined) continue;
    const own = installed.as === 'executable' ? installed.path : `${installed.path}/bin/${name}`;
    return { name, path, isOurs: real === own };
  }
  return { name, path: undefined, isOurs: false };
}

/** /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path`; SO_ACCEPTCON of a listener is 0x10000. */
async function readPluginSocket(
  { files, look }: Pick<InstallationComponents, 'files' | 'look'>,
  path: string,
): Promise<PluginSocket> {
  const lines = ((await files.read('/proc/net/unix').catch(() => undefined)) ?? '').split('\n');
  const isServed = lines.some((line) => {
    const [, , , flags = '0', , , , name] = line.trim().split(/\s+/);
    return name === path && (Number.parseInt(flags, 16) & 0x1_00_00) !== 0;
  });
  return { path, isThere: (await look.see(path)) !== undefined, isServed };
}

async function readFilters(commands: CommandRunner): Promise<string[]> {
  const answers = await Promise.all(
    ['nft', 'iptables'].map((name) => commands.run([name, '--version'], { timeoutMs: 2_000 })),
  );
  return answers.flatMap(({ code, stdout }) => (code === 0 ? [stdout.trim()] : []));
}
