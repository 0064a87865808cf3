import type { Files } from '#src/sys/files.ts';

/** What the package's files ask of the kernel, and it does not have. */
export interface KernelSettings {
  /** Of {@link SYSCTL_FILE}: `net.ipv4.ip_forward` is 0 and not 1. */
  readonly sysctls: readonly { readonly name: string; readonly wanted: string; readonly found: string }[];
  /** Of {@link MODULES_FILE}: neither loaded nor built in. None where the kernel's modules are not on this host. */
  readonly modules: readonly {
    readonly name: string;
    /** Its file is there. */
    readonly isInstalled: boolean;
  }[];
}

/** sysctl.d(5), modules-load.d(5): conffiles of the package. */
export const SYSCTL_FILE = '/etc/sysctl.d/60-weft.conf';
export const MODULES_FILE = '/etc/modules-load.d/weft.conf';

export async function readKernelSettings(
  files: Pick<Files, 'read'>,
  kernelRelease: string,
): Promise<KernelSettings> {
  const read = (path: string) => files.read(path).catch(() => undefined);
  const sysctls = linesOf(await read(SYSCTL_FILE)).map(async (line) => {
    const [, name = '', wanted = ''] = /^-?([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
    const found = (await read(`/proc/sys/${name.replaceAll('.', '/')}`))?.trim();
    // A name that this kernel lacks, or one with a pattern, is not judged.
    return found === undefined || spaced(found) === spaced(wanted) ? [] : [{ name, wanted, found }];
  });
  return {
    sysctls: (await Promise.all(sysctls)).flat(),
    modules: await missingModules(read, linesOf(await read(MODULES_FILE)), kernelRelease),
  };
}

/** The kernel writes tabs between several numbers. */
const spaced = (value: string): string => value.trim().split(/\s+/).join(' ');

/** modules.dep(5), modules.builtin, and /proc/modules for those that are loaded. `-` and `_` are the same in a name. */
async function missingModules(
  read: (path: string) => Promise<string | undefined>,
  wanted: readonly string[],
  kernelRelease: string,
): Promise<KernelSettings['modules']> {
  const folder = `/lib/modules/${kernelRelease}`;
  const installed = await read(`${folder}/modules.dep`);
  if (installed === undefined) return [];
  const builtIn = (await read(`${folder}/modules.builtin`)) ?? '';
  const loaded = (await read('/proc/modules')) ?? '';
  const has = (list: string, name: string): boolean => list.replaceAll('-', '_').includes(`/${name}.ko`);
  return wanted
    .map((module) => module.replaceAll('-', '_'))
    .filter((name) => !new RegExp(`^${name} `, 'm').test(loaded) && !has(builtIn, name))
    .map((name) => ({ name, isInstalled: has(installed, name) }));
}

const linesOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^[#;]/.test(line));
