import { posix } from 'node:path';

/** The folder of keys that records are read from, and what they are called in errors. */
export interface RecordPlace {
  /** With its slash at the end: `<prefix>/subnets-extra/x` is no lease, though flannel takes it for one. */
  readonly folder: string;
  /** A key for a small read, which shows whether the server lives. */
  readonly probeKey: string;
  /** `the leases`, as in "cannot list the leases". */
  readonly all: string;
  /** `the lease 10.0.65.0-24`, as in "cannot write the lease 10.0.65.0-24". */
  one(name: string): string;
}

/** `prefix` as `--etcd-prefix` gives it. v2 has no keys without a leading slash; v3 has, and keeps them apart. */
export const leasesBelow = (prefix: string, api: 'v2' | 'v3'): RecordPlace => ({
  folder: joined(prefix, api, 'subnets', '/'),
  probeKey: joined(prefix, api, 'config'),
  all: 'the leases',
  one: (name) => `the lease ${name}`,
});

/** Leases that no flannel may see: the folder's name must not begin with `subnets`. */
export const ipv6LeasesBelow = (prefix: string, api: 'v2' | 'v3'): RecordPlace => ({
  ...leasesBelow(prefix, api),
  folder: joined(prefix, api, 'ipv6-subnets', '/'),
});

/** Any folder: `tenants/networks`. */
export function folderBelow(prefix: string, api: 'v2' | 'v3', path: string): RecordPlace {
  const folder = joined(prefix, api, path, '/');
  const probeKey = folder.slice(0, -1);
  return { folder, probeKey, all: `the keys below ${probeKey}`, one: (name) => `the key ${folder}${name}` };
}

/** As Go's `path.Join` does. */
const joined = (prefix: string, api: 'v2' | 'v3', ...parts: readonly string[]): string =>
  posix.join(...(api === 'v2' ? ['/'] : []), prefix, ...parts);
