import type { Files } from '#src/sys/files.ts';

/** What the package's files ask of the kernel, and it does not have. */
export interface KernelSettings {
  /** Of {@link SYSCTL_FILE}: `net.ipv4.ip_forward` is 0 and not 1. */
  readonly sysctls: readonly { readonly name: string; readonly wanted: string; readonly found: string }[];
  /** Of {@link MODULES_FILE}: neither loaded, nor built in, nor there to be loaded. */
  readonly modules: readonly string[];
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
    return found === undefined || found === wanted ? [] : [{ name, wanted, found }];
  });
  const wanted = linesOf(await read(MODULES_FILE));
  return {
    sysctls: (await Promise.all(sysctls)).flat(),
    modules: await missingModules(read, wanted, kernelRelease),
  };
}

/** A built-in module without parameters shows in no list where the kernel's package is not on the disk. */
const SIGNS: Readonly<Record<string, string>> = {
  br_netfilter: '/proc/sys/net/bridge/bridge-nf-call-iptables',
};

/**
 * Those that this kernel has not and can't load. A module that is only not loaded yet is none of them: the boot loads it, or
 * flanneld.service.
 */
async function missingModules(
  read: (path: string) => Promise<string | undefined>,
  wanted: readonly string[],
  kernelRelease: string,
): Promise<string[]> {
  const folder = `/lib/modules/${kernelRelease}`;
  const lists = ['/proc/modules', `${folder}/modules.builtin`, `${folder}/modules.dep`];
  const text = (await Promise.all(lists.map(read))).join('\n').replaceAll('-', '_');
  const found = wanted.map(async (module) => {
    const name = module.replaceAll('-', '_');
    if (new RegExp(`^${name} |/${name}\\.ko`, 'm').test(text)) return true;
    const signs = [`/sys/module/${name}/uevent`, `/sys/module/${name}/version`, SIGNS[name] ?? ''];
    return (await Promise.all(signs.map(read))).some((sign) => sign !== undefined);
  });
  const all = await Promise.all(found);
  return wanted.filter((_, n) => !all[n]);
}

const linesOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^[#;]/.test(line));
