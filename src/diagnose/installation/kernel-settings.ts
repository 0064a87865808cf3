import type { Files } from '#src/sys/files.ts';

/** What the package's files ask of the kernel, and it does not have. */
export interface KernelSettings {
  /** Of {@link SYSCTL_FILE}: `net.ipv4.ip_forward` is 0 and not 1. */
  readonly sysctls: readonly { readonly name: string; readonly wanted: string; readonly found: string }[];
  /** Of {@link MODULES_FILE}: neither loaded nor built in. */
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
  const builtIn = (await read(`/lib/modules/${kernelRelease}/modules.builtin`)) ?? '';
  const loaded = (await read('/proc/modules')) ?? '';
  const modules = linesOf(await read(MODULES_FILE)).filter((module) => {
    const name = module.replaceAll('-', '_');
    return (
      !new RegExp(`^${name} `, 'm').test(loaded) && !builtIn.replaceAll('-', '_').includes(`/${name}.ko`)
    );
  });
  const evidence = await Promise.all(
    modules.map((module) => read(`/sys/module/${module.replaceAll('-', '_')}/uevent`)),
  );
  return {
    sysctls: (await Promise.all(sysctls)).flat(),
    modules: modules.filter((_, n) => evidence[n] === undefined),
  };
}

const linesOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^[#;]/.test(line));
