import type { Endpoint } from '#src/registry/endpoints.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';
import type { WatchSiblings } from '#src/registry/watch-siblings.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface EtcdComponents {
  readonly clock: Clock;
  readonly random: Random;
  /** All watches of the process. Default: each is alone. */
  readonly siblings?: WatchSiblings | undefined;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** What both of etcd's APIs need to know. */
export interface EtcdOptions {
  /** At least one. */
  readonly endpoints: readonly Endpoint[];
  /** As `--etcd-prefix` gives it; joined with key names as Go's `path.Join` does. */
  readonly prefix: string;
  readonly tls: TlsMaterial;
  readonly auth?: Credentials;
  /** How long one endpoint may take to answer one call. Default 4,000. */
  readonly callTimeoutMs?: number;
}
