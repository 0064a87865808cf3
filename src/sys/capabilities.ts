import type { Files } from '#src/sys/files.ts';

/** linux/capability.h */
export const CAPABILITIES = {
  CAP_NET_BIND_SERVICE: 10n,
  CAP_NET_ADMIN: 12n,
  CAP_NET_RAW: 13n,
  CAP_SYS_ADMIN: 21n,
  CAP_PERFMON: 38n,
  CAP_BPF: 39n,
} as const;
export type Capability = keyof typeof CAPABILITIES;

/**
 * Those that this process lacks, or another one, by its number (proc(5), `CapEff` of /proc/PID/status). A file that can't be
 * read grants none.
 */
export async function missingCapabilities(
  files: Pick<Files, 'read'>,
  wanted: readonly Capability[],
  pid: number | 'self' = 'self',
): Promise<Capability[]> {
  const status = (await files.read(`/proc/${pid}/status`).catch(() => undefined)) ?? '';
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return wanted.filter((name) => ((effective >> CAPABILITIES[name]) & 1n) === 0n);
}
