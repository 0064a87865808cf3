import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';

/** What this program runs on. */
export interface Runtime {
  /** `26.10.0` */
  readonly node: string;
  readonly v8: string;
  readonly openssl: string;
  /** Absent where the native part can't be loaded: programs that touch the kernel do not run then. */
  readonly koffi?: string;
  /** As Node names it: `x64`, `arm64`. */
  readonly architecture: string;
}

/** How this program came to the host. */
export interface Installed {
  readonly as: 'executable' | 'checkout';
  /** The executable, or the checkout's folder; links are followed. */
  readonly path: string;
}

export async function readRuntime(): Promise<Runtime> {
  const koffi = await import('koffi').then(
    ({ version }) => version,
    () => undefined,
  );
  const { node, v8, openssl } = process.versions;
  return { node, v8, openssl, architecture: process.arch, ...(koffi !== undefined && { koffi }) };
}

export const readInstalled = (): Installed =>
  isSea()
    ? { as: 'executable', path: process.execPath }
    : { as: 'checkout', path: fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '') };
