import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { OpenRegistryOptions } from '#src/registry/open-registry.ts';

/** The flags that say where the registry is. */
export const registryOptions = (options: FlanneldOptions): OpenRegistryOptions => ({
  endpoints: options.etcdEndpoints.join(','),
  prefix: options.etcdPrefix,
  api: options.etcdApi,
  tls: { certFile: options.etcdCertfile, keyFile: options.etcdKeyfile, caFile: options.etcdCafile },
  username: options.etcdUsername,
  password: options.etcdPassword,
});
