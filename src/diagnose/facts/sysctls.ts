import type { Files } from '#src/sys/files.ts';

/** Values of /proc/sys by their path below it, `net/ipv4/ip_forward`; `undefined` where there is no such file. */
export type Sysctls = ReadonlyMap<string, string | undefined>;

/** Those of the whole host. */
const OF_THE_HOST = [
  'net/ipv4/ip_forward',
  'net/ipv4/conf/all/rp_filter',
  'net/ipv4/neigh/default/gc_thresh3',
  'net/ipv6/conf/all/forwarding',
  'net/netfilter/nf_conntrack_count',
  'net/netfilter/nf_conntrack_max',
] as const;
/** Those of a device. */
const OF_A_DEVICE = ['forwarding', 'rp_filter'] as const;

/** Whether a device takes routes from router advertisements: 1 is not on a host that forwards, 2 is always. */
export const acceptRa = (device: string): string => `net/ipv6/conf/${device}/accept_ra`;

/** Equals `sysctl NAME`. What may not be read is left out. */
export async function readSysctls(files: Pick<Files, 'read'>, devices: readonly string[]): Promise<Sysctls> {
  const paths = [
    ...OF_THE_HOST,
    ...devices.flatMap((device) => OF_A_DEVICE.map((name) => `net/ipv4/conf/${device}/${name}`)),
    ...devices.map(acceptRa),
  ];
  const values = await Promise.all(
    paths.map((path) => files.read(`/proc/sys/${path}`).catch(() => undefined)),
  );
  return new Map(paths.map((path, n) => [path, values[n]?.trim()]));
}

/** A number of /proc/sys. */
export function sysctlNumber(sysctls: Sysctls, path: string): number | undefined {
  const text = sysctls.get(path);
  return text === undefined || text === '' ? undefined : Number(text);
}

/** What the kernel does on a device: the larger one of the device's value and that of `all` (ip-sysctl.rst, rp_filter). */
export const reversePathFilter = (sysctls: Sysctls, device: string): number =>
  Math.max(
    sysctlNumber(sysctls, 'net/ipv4/conf/all/rp_filter') ?? 0,
    sysctlNumber(sysctls, `net/ipv4/conf/${device}/rp_filter`) ?? 0,
  );

/** How a user sets one: a device's point is a slash in sysctl(8)'s names. */
export const sysctlCommand = (path: string, value: number): string =>
  `sysctl -w ${path
    .split('/')
    .map((part) => part.replaceAll('.', '/'))
    .join('.')}=${value}`;
